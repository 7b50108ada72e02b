package watch

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

func TestNewRefusesWhatIsNoRoot(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", "")
	for _, root := range []string{"relative", filepath.Join(dir, "missing"), filepath.Join(dir, "file")} {
		if _, err := New(Options{Root: root}); err == nil {
			t.Errorf("New(%q) succeeded", root)
		}
	}
}

func TestChangesOfFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, "there", "1")
	write(t, root, "d/there", "1")
	r := record(t, Options{Root: root})

	write(t, root, "new", "1")
	r.settled("new")
	write(t, root, "there", "2")
	r.settled("there")
	must(t, os.Chmod(filepath.Join(root, "there"), 0o755))
	r.settled("there")
	must(t, os.Symlink("there", filepath.Join(root, "link")))
	r.settled("link")
	must(t, os.Symlink("nowhere", filepath.Join(root, "dangling")))
	r.settled("dangling")
	must(t, os.Link(filepath.Join(root, "there"), filepath.Join(root, "hard")))
	r.settled("hard")
	must(t, os.Remove(filepath.Join(root, "new")))
	r.settled("new")
	must(t, os.RemoveAll(filepath.Join(root, "d")))
	r.settled("d", "d/there")
}

func TestNamesAreBytes(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	r := record(t, Options{Root: root})
	names := []string{"with space", "-dash", "new\nline", "\xff\xfe not UTF-8", "...", "..../...", "quo\"te", "back\\slash", "a←b", " "}
	for _, n := range names {
		if n != "..." {
			write(t, root, n, "1")
		}
	}
	write(t, root, ".../in a directory named so", "1")
	r.settled(append(slices.DeleteFunc(names, func(n string) bool { return n == "..." }), ".../in a directory named so")...)
	for _, n := range names {
		must(t, os.Rename(filepath.Join(root, n), filepath.Join(root, n+"\x80\"")))
		r.settled(n, n+"\x80\"")
	}
}

func TestARenameIsOneBatch(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, "a", "1")
	write(t, root, "dir/one", "1")
	write(t, root, "dir/sub/two", "1")
	r := recordWatcher(t, patient(t, root))
	must(t, os.Rename(filepath.Join(root, "a"), filepath.Join(root, "b")))
	if e := r.awaitKind(Settled); !slices.Equal(e.Paths, []string{"a", "b"}) {
		t.Errorf("rename of a file: %q", e.Paths)
	}
	must(t, os.Rename(filepath.Join(root, "dir"), filepath.Join(root, "moved")))
	if e := r.awaitKind(Settled); !slices.Equal(e.Paths, []string{"dir", "moved/one", "moved/sub/two"}) {
		t.Errorf("rename of a directory: %q", e.Paths)
	}
}

// TestRenamedFrom holds fsnotify to what renamedFrom reads out of it.
func TestRenamedFrom(t *testing.T) {
	dir := t.TempDir()
	n, err := fsnotify.NewBufferedWatcher(16)
	must(t, err)
	defer n.Close()
	from, to := filepath.Join(dir, "a\xff\" ← \"b"), filepath.Join(dir, "c ← d\n")
	must(t, os.WriteFile(from, nil, 0o644))
	must(t, n.Add(dir))
	must(t, os.Rename(from, to))
	for e := range n.Events {
		if !e.Has(fsnotify.Create) {
			continue
		}
		if got, ok := renamedFrom(e); !ok || got != from {
			t.Errorf("renamedFrom = %q, %v; want %q", got, ok, from)
		}
		return
	}
}

// TestRenamedDirectories: fsnotify goes on to name the old path of what is below a renamed directory.
func TestRenamedDirectories(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, "a/b/c/f", "1")
	r := record(t, Options{Root: root})
	at := "a"
	for i := range 20 {
		to := fmt.Sprintf("to%d", i)
		must(t, os.Rename(filepath.Join(root, at), filepath.Join(root, to)))
		r.settled(at, to+"/b/c/f")
		write(t, root, to+"/b/c/g", fmt.Sprint(i))
		write(t, root, to+"/b/c/h/i", fmt.Sprint(i))
		r.settled(to+"/b/c/g", to+"/b/c/h/i")
		at = to
	}
	// Without waiting in between: there, away and back, swapped, into one another.
	p := func(s string) string { return filepath.Join(root, s) }
	write(t, root, "x/deep/f", "x")
	write(t, root, "y/deep/f", "y")
	for range 10 {
		must(t, os.Rename(p("x"), p("t")))
		must(t, os.Rename(p("y"), p("x")))
		must(t, os.Rename(p("t"), p("y")))
		must(t, os.Rename(p("x"), p("y/x")))
		must(t, os.Rename(p("y/x"), p("x")))
	}
	r.flush()
	for i, f := range []string{"x/deep/new", "y/deep/new", "x/new", "y/new", "x/deep/f", "y/deep/f"} {
		write(t, root, f, fmt.Sprint(i))
		r.settled(f)
	}
	r.nothing(func(p string) bool { return strings.HasPrefix(p, "t/deep/n") || strings.HasPrefix(p, "y/x/n") })
}

func TestNewTreesAreComplete(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	r := record(t, Options{Root: root})
	tree := func(top string) (paths []string) {
		for d := range 300 {
			dir := fmt.Sprintf("%s/%d/%d/%d", top, d%5, d%20, d)
			for f := range 5 {
				paths = append(paths, fmt.Sprintf("%s/f%d", dir, f))
			}
		}
		return paths
	}
	paths := tree("made")
	for _, p := range paths {
		write(t, root, p, p)
	}
	r.settled(paths...)

	outside := t.TempDir()
	for _, p := range tree("moved") {
		write(t, outside, p, p)
	}
	must(t, os.Rename(filepath.Join(outside, "moved"), filepath.Join(root, "moved")))
	r.settled(tree("moved")...)

	must(t, os.Rename(filepath.Join(root, "moved"), filepath.Join(outside, "moved")))
	r.settled("moved")
	write(t, outside, "moved/0/0/0/unseen", "")
	r.nothing(func(p string) bool { return strings.HasSuffix(p, "unseen") })
}

func TestOpenFilesAreNotTaken(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	r := record(t, Options{Root: root})
	f, err := os.Create(filepath.Join(root, "f"))
	must(t, err)
	defer f.Close()
	for i := range 5 {
		_, err = fmt.Fprintln(f, i)
		must(t, err)
		r.nothing(func(p string) bool { return p == "f" })
		if !r.w.Writing("f") {
			t.Error("Writing is false for an open file")
		}
	}
	must(t, f.Close()) // raises no event that fsnotify passes on
	r.settled("f")
	if r.w.Writing("f") || r.w.Writing("missing") || r.w.Writing(".") {
		t.Error("Writing is true for what nobody writes")
	}
}

// TestWritersWithPauses: many programs write with pauses of all lengths; none is taken between its open and its close.
func TestWritersWithPauses(t *testing.T) {
	t.Parallel()
	const writers = 150
	root := t.TempDir()
	r := record(t, Options{Root: root})
	var open [writers]atomic.Bool
	done := make(chan error, writers)
	for i := range writers {
		go func() {
			done <- func() error {
				f, err := os.Create(filepath.Join(root, fmt.Sprint(i)))
				if err != nil {
					return err
				}
				open[i].Store(true)
				for j := range 3 + i%5 {
					if _, err := fmt.Fprintln(f, j); err != nil {
						return err
					}
					pause(t.Context(), time.Duration(1<<((i+j*3)%10))*time.Millisecond)
				}
				open[i].Store(false)
				return f.Close()
			}()
		}()
	}
	seen := map[string]bool{}
	for len(seen) < writers {
		e := r.awaitKind(Settled)
		for _, p := range e.Paths {
			var i int
			if _, err := fmt.Sscan(p, &i); err != nil {
				t.Fatal(err)
			}
			if open[i].Load() {
				t.Errorf("%s was taken while open", p)
			}
			seen[p] = true
		}
	}
	for range writers {
		must(t, <-done)
	}
}

// TestMappedWrites: a write through a mapping raises no event; a file that is mapped is not taken, and one that was
// reported a while ago is found by the sweep.
func TestMappedWrites(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	w, err := New(Options{Root: root})
	must(t, err)
	w.machine.sweepMin = 50 * ms
	r := recordWatcher(t, w)
	write(t, root, "db", strings.Repeat("x", 1<<16))
	r.settled("db")

	f, err := os.OpenFile(filepath.Join(root, "db"), os.O_RDWR, 0)
	must(t, err)
	m, err := syscall.Mmap(int(f.Fd()), 0, 1<<16, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	must(t, err)
	must(t, f.Close())
	m[1000]++
	if !w.Writing("db") {
		t.Error("Writing is false for a file that is mapped")
	}
	r.got = nil
	r.nothing(func(p string) bool { return p == "db" })
	must(t, syscall.Munmap(m))
	r.settled("db")
}

func TestIgnored(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, "out/a/f", "")
	var all atomic.Bool
	all.Store(true)
	r := record(t, Options{Root: root, Ignored: func(paths ...string) []bool {
		ignored := make([]bool, len(paths))
		for i, p := range paths {
			ignored[i] = all.Load() && (strings.HasSuffix("/"+p, "/out/") || strings.HasSuffix(p, ".o"))
		}
		return ignored
	}})
	write(t, root, "out/a/g", "")
	write(t, root, "out/b/c/f", "")
	write(t, root, "src/out/f", "")
	write(t, root, "src/f.o", "")
	write(t, root, "src/f", "")
	r.settled("src/f")
	must(t, os.Remove(filepath.Join(root, "src/f.o")))
	noOutput := func(p string) bool { return strings.Contains(p, "out/") || strings.HasSuffix(p, ".o") }
	r.nothing(noOutput)
	for _, p := range []string{"out", "src/out"} {
		if r.watches(p) {
			t.Errorf("%s is watched", p)
		}
	}

	all.Store(false)
	r.w.Reconsider("")
	if e := r.awaitKind(Rescan); e.Dir != "" {
		t.Errorf("after Reconsider: %+v", e)
	}
	write(t, root, "out/b/c/g", "")
	write(t, root, "src/out/g", "")
	r.settled("out/b/c/g", "src/out/g")

	// A directory that is asked for is watched too, when the rules let it.
	all.Store(true)
	write(t, root, "third/out/f", "")
	write(t, root, "third/f", "")
	r.settled("third/f")
	all.Store(false)
	r.w.Settle("third/out")
	r.settled("third/out/f")
	write(t, root, "third/out/g", "")
	r.settled("third/out/g")

	all.Store(true)
	r.got = nil
	r.w.Reconsider("src/out")
	if e := r.awaitKind(Rescan); e.Dir != "src/out" {
		t.Errorf("after Reconsider: %+v", e)
	}
	write(t, root, "src/out/h", "")
	r.nothing(func(p string) bool { return p == "src/out/h" })
}

// watches reports whether fsnotify has a watch on the path.
func (r *recorder) watches(p string) bool {
	return slices.Contains(r.w.tree.notifier.WatchList(), filepath.Join(r.root, p))
}

func TestNestedRepositories(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, ".git/HEAD", "")
	write(t, root, "sub/.git/HEAD", "")
	write(t, root, "sub/deep/f", "")
	write(t, root, "module/.git", "gitdir: ../.git/modules/module")
	r := record(t, Options{Root: root})
	inside := func(p string) bool {
		return strings.HasPrefix(p, ".git") || strings.HasPrefix(p, "sub/") || strings.HasPrefix(p, "module/") || strings.HasPrefix(p, "late/deep/g")
	}
	write(t, root, ".git/index", "")
	write(t, root, "sub/deep/g", "")
	write(t, root, "sub/g", "")
	write(t, root, "sub/new/g", "")
	write(t, root, "module/g", "")
	r.nothing(inside)

	// One that becomes a repository, and is none any more.
	write(t, root, "late/deep/f", "")
	r.settled("late/deep/f")
	write(t, root, "late/.git/HEAD", "")
	r.flush()
	write(t, root, "late/deep/g", "")
	r.nothing(inside)
	must(t, os.RemoveAll(filepath.Join(root, "late/.git")))
	r.settled("late/deep/f", "late/deep/g")
	write(t, root, "late/deep/h", "")
	r.settled("late/deep/h")

	// One that arrives whole, and goes.
	outside := t.TempDir()
	write(t, outside, "repo/.git/HEAD", "")
	write(t, outside, "repo/sub/f", "")
	must(t, os.Rename(filepath.Join(outside, "repo"), filepath.Join(root, "sub2")))
	r.nothing(func(p string) bool { return strings.HasPrefix(p, "sub2/") })
	must(t, os.RemoveAll(filepath.Join(root, "sub")))
	r.settled("sub")
}

func TestLinksAreNotFollowed(t *testing.T) {
	t.Parallel()
	root, outside := t.TempDir(), t.TempDir()
	write(t, outside, "d/f", "")
	must(t, os.Symlink(outside, filepath.Join(root, "early")))
	write(t, root, "real/d/f", "")
	r := record(t, Options{Root: root})
	must(t, os.Symlink(outside, filepath.Join(root, "late")))
	r.settled("late")
	// A directory that is replaced by a link: what was below is gone, though the name leads somewhere.
	must(t, os.RemoveAll(filepath.Join(root, "real")))
	must(t, os.Symlink(outside, filepath.Join(root, "real")))
	r.settled("real", "real/d/f")
	write(t, outside, "d/g", "")
	write(t, outside, "h", "")
	r.nothing(func(p string) bool { return strings.HasSuffix(p, "/g") || strings.HasSuffix(p, "/h") })
}

func TestWhatReplacesWhat(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	in := func(n string) string { return filepath.Join(root, n) }
	write(t, root, "file", "")
	write(t, root, "dir/f", "")
	write(t, root, "dir2/f", "")
	r := recordWatcher(t, patient(t, root))

	must(t, os.Remove(in("file")))
	write(t, root, "file/now", "a directory")
	e := r.awaitKind(Rescan)
	if e.Dir != "file" {
		t.Errorf("a directory in place of a file: %+v", e)
	}
	must(t, os.RemoveAll(in("dir")))
	write(t, root, "dir", "a file")
	r.settled("dir")

	outside := t.TempDir()
	must(t, os.Rename(in("dir2"), filepath.Join(outside, "dir2")))
	write(t, root, "dir2/other", "")
	if e := r.awaitKind(Rescan); e.Dir != "dir2" {
		t.Errorf("a directory in place of another: %+v", e)
	}
	write(t, root, "dir2/later", "")
	r.settled("dir2/later")

	must(t, os.Remove(in("dir")))
	must(t, syscall.Mkfifo(in("dir"), 0o600))
	r.settled("dir")
	must(t, syscall.Mkfifo(in("pipe"), 0o600))
	r.nothing(func(p string) bool { return p == "pipe" })
}

func TestSettle(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, "d/there", "")
	r := record(t, Options{Root: root})
	r.w.Settle("d/there", "missing", "", "/abs", "../out", "d//there", ".")
	counts := r.settled("d/there", "missing")
	if len(counts) != 2 {
		t.Errorf("settled %v", counts)
	}
	f, err := os.OpenFile(filepath.Join(root, "d/there"), os.O_WRONLY, 0)
	must(t, err)
	r.got = nil
	r.w.Settle("d/there")
	r.nothing(func(p string) bool { return p == "d/there" })
	must(t, f.Close())
	r.settled("d/there")
}

// TestASlowReaderLosesNothing: while nobody reads the events, batches merge.
func TestASlowReaderLosesNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	r := record(t, Options{Root: root})
	var paths []string
	for i := range 500 {
		paths = append(paths, fmt.Sprintf("d%d/%d", i%7, i))
		write(t, root, paths[i], "")
		if i%100 == 0 {
			pause(t.Context(), 20*time.Millisecond)
		}
	}
	r.settled(paths...)
}

func TestOverflowIsARescan(t *testing.T) {
	root := t.TempDir()
	stuck, release := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	r := record(t, Options{Root: root, Ignored: func(paths ...string) []bool {
		if slices.Contains(paths, "stuck") && once.CompareAndSwap(false, true) {
			close(stuck)
			<-release
		}
		return make([]bool, len(paths))
	}})
	write(t, root, "stuck", "")
	<-stuck
	limit := queueLimit(t)
	write(t, root, "flood", "")
	for i := range limit {
		// Neighbouring equal events are merged by the kernel: alternate.
		must(t, os.Chmod(filepath.Join(root, []string{"flood", "stuck"}[i%2]), fs.FileMode(0o600+i%2)))
	}
	write(t, root, "unseen/sub/f", "")
	close(release)
	if e := r.awaitKind(Rescan); e.Dir != "" || e.Reason != "event queue overflow" {
		t.Errorf("after an overflow: %+v", e)
	}
	write(t, root, "unseen/sub/g", "")
	r.settled("unseen/sub/g")
}

func queueLimit(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	var n int
	_, err = fmt.Sscan(string(b), &n)
	must(t, err)
	return n + 10_000 // and what is on its way to fsnotify
}
