package watch

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// follower keeps a copy of a tree by what a watcher tells, and only that, as the reader of the events does.
type follower struct {
	t     *testing.T
	root  string
	files map[string]string
}

func (f *follower) take(e Event) {
	f.t.Helper()
	switch e.Kind {
	case Settled:
		for _, p := range e.Paths {
			f.at(p)
		}
	case Rescan:
		maps.DeleteFunc(f.files, func(p, _ string) bool { return within(p, e.Dir) })
		maps.Copy(f.files, scan(f.t, f.root, e.Dir))
	default:
		f.t.Errorf("unexpected %+v", e)
	}
}

// at takes over what is at p: a file, a link or nothing; all of them leave nothing below p.
func (f *follower) at(p string) {
	f.t.Helper()
	if fi, err := os.Lstat(filepath.Join(f.root, p)); err == nil && fi.IsDir() {
		delete(f.files, p) // it became a directory since: more is to come
		return
	}
	maps.DeleteFunc(f.files, func(q, _ string) bool { return within(q, p) })
	if content, ok := read(f.t, filepath.Join(f.root, p)); ok {
		f.files[p] = content
	}
}

// read returns what is at a path that does not lead through a link.
func read(t *testing.T, abs string) (string, bool) {
	t.Helper()
	if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err != nil || dir != filepath.Dir(abs) {
		return "", false
	}
	fi, err := os.Lstat(abs)
	if err != nil {
		return "", false
	}
	switch fi.Mode().Type() {
	case 0:
		f, err := os.OpenFile(abs, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may be a pipe by now
		if err != nil {
			return "", false
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, 1<<20))
		return fmt.Sprintf("%o %s", fi.Mode().Perm(), b), err == nil
	case fs.ModeSymlink:
		to, err := os.Readlink(abs)
		return "-> " + to, err == nil
	}
	return "", false
}

// scan reads everything in dir that is content. It may change meanwhile.
func scan(t *testing.T, root, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	// The error is about what vanished while it was walked: events follow.
	_ = filepath.WalkDir(filepath.Join(root, dir), func(abs string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if abs != root && d.IsDir() {
			if _, err := os.Lstat(filepath.Join(abs, ".git")); err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if content, ok := read(t, abs); ok {
			p, err := filepath.Rel(root, abs)
			must(t, err)
			files[p] = content
		}
		return nil
	})
	return files
}

// mischief does random things to the tree in root, fast and without regard. Each error is that of something that is
// not there any more, or in the way.
type mischief struct {
	*rand.Rand
	root    string
	outside string
	n       int
	open    []*os.File
}

// path makes paths that often meet.
func (m *mischief) path() string {
	depth := 1 + m.IntN(4)
	parts := make([]string, depth)
	for i := range parts {
		parts[i] = string(rune('a' + m.IntN(4)))
	}
	return filepath.Join(m.root, filepath.Join(parts...))
}

func (m *mischief) write(p string) {
	m.n++
	_ = os.MkdirAll(filepath.Dir(p), 0o755)
	if f, err := os.OpenFile(p, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|syscall.O_NONBLOCK, 0o644); err == nil {
		_, _ = fmt.Fprint(f, m.n)
		_ = f.Close()
	}
}

// removeAll is os.RemoveAll, which would wait for the writer of a pipe that is in place of the parent.
func (m *mischief) removeAll(p string) {
	if filepath.Dir(p) == m.root && m.IntN(4) > 0 {
		return // leave something
	}
	if fi, err := os.Lstat(filepath.Dir(p)); err == nil && fi.IsDir() {
		_ = os.RemoveAll(p)
	}
}

func (m *mischief) act() {
	p := m.path()
	switch m.IntN(20) {
	case 0, 1, 2, 3:
		m.write(p)
	case 4:
		_ = os.Remove(p)
	case 5:
		m.removeAll(p)
	case 6, 7, 8:
		_ = os.Rename(p, m.path())
	case 9:
		m.n++
		away := filepath.Join(m.outside, fmt.Sprint(m.n))
		if os.Rename(p, away) == nil {
			_ = os.Rename(away, m.path())
		}
	case 10:
		_ = os.Rename(p, filepath.Join(m.outside, fmt.Sprint("gone", m.n)))
		m.write(filepath.Join(p, "in its place"))
	case 11:
		m.removeAll(p)
		_ = os.Symlink(m.path(), p)
	case 12:
		_ = os.Remove(p)
		m.write(p)
	case 13:
		m.write(p + ".tmp")
		_ = os.Rename(p+".tmp", p)
	case 14:
		_ = os.Chmod(p, 0o755)
	case 15:
		if f, err := os.OpenFile(p, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NONBLOCK, 0o644); err == nil {
			m.open = append(m.open, f)
		}
	case 16:
		for _, f := range m.open {
			m.n++
			_, _ = fmt.Fprint(f, m.n)
			if m.IntN(2) == 0 {
				_ = f.Close()
			}
		}
		if len(m.open) > 10 {
			m.closeAll()
		}
	case 17:
		for i := range 20 {
			m.write(filepath.Join(p, fmt.Sprint(i%4), fmt.Sprint(i)))
		}
	case 18:
		m.removeAll(p)
		_ = syscall.Mkfifo(p, 0o600)
	case 19:
		git := filepath.Join(p, ".git")
		if os.Mkdir(git, 0o755) == nil && m.IntN(3) > 0 {
			_ = os.Remove(git)
		}
	}
}

func (m *mischief) closeAll() {
	for _, f := range m.open {
		_ = f.Close()
	}
	m.open = nil
}

// TestFollower: whatever happens to a tree, and however fast, who acts on the events ends with the same tree.
func TestFollower(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			root, err := filepath.EvalSymlinks(t.TempDir())
			must(t, err)
			m := &mischief{Rand: rand.New(rand.NewPCG(seed, 0)), root: root, outside: t.TempDir()}
			for range 50 {
				m.act()
			}
			r := recordWatcher(t, impatient(t, root))
			f := &follower{t: t, root: root, files: scan(t, root, "")}

			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := range 600 {
					m.act()
					if i%20 == 0 {
						pause(t.Context(), time.Duration(m.IntN(40))*time.Millisecond)
					}
				}
				m.closeAll()
			}()
			for acting := true; acting; {
				select {
				case e := <-r.w.Events():
					f.take(e)
				case <-done:
					acting = false
				}
			}
			f.converge(r)
			// Now every directory must be watched, by its name of today.
			for _, dir := range directories(t, root) {
				m.write(filepath.Join(dir, "late"))
				m.write(filepath.Join(dir, "new directory", "late"))
			}
			f.converge(r)
		})
	}
}

// converge takes events until the follower's tree is the tree: what is reported all the time waits for its turn.
func (f *follower) converge(r *recorder) {
	f.t.Helper()
	end := time.NewTimer(deadline)
	defer end.Stop()
	for {
		want := scan(f.t, f.root, "")
		diff := cmp.Diff(want, visible(f.files, want, f.root))
		if diff == "" {
			return
		}
		select {
		case e := <-r.w.Events():
			f.take(e)
		case <-end.C:
			f.t.Fatalf("the follower's tree (-want +got):\n%s", diff)
		}
	}
}

// directories lists all directories but nested repositories.
func directories(t *testing.T, root string) (dirs []string) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(abs string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if _, err := os.Lstat(filepath.Join(abs, ".git")); err == nil {
			return fs.SkipDir
		}
		dirs = append(dirs, abs)
		return nil
	}))
	return dirs
}

// visible leaves out what is in repositories that were nested meanwhile: nobody tells about them, and nobody asks.
func visible(files, want map[string]string, root string) map[string]string {
	seen := map[string]string{}
	for p, content := range files {
		if _, ok := want[p]; ok || !inNested(root, p) {
			seen[p] = content
		}
	}
	return seen
}

func inNested(root, p string) bool {
	for i, c := range p {
		if c != '/' {
			continue
		}
		if _, err := os.Lstat(filepath.Join(root, p[:i], ".git")); err == nil && !strings.HasPrefix(p[i:], "/.git") {
			return true
		}
	}
	return false
}
