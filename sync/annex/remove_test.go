package annex

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// removed removes content as the agent does, once it has been proven elsewhere.
func removed(t testing.TB, r *Repo, k Key, paths ...string) []gitrepo.IndexEntry {
	t.Helper()
	l, err := r.LockForRemoval(k)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	entries, err := l.Remove(t.Context(), paths)
	if err != nil {
		t.Fatal(err)
	}
	record(t, r, Location{Key: k, UUID: r.UUID()})
	return entries
}

// refresh puts entries into the index.
func refresh(t testing.TB, r *Repo, entries []gitrepo.IndexEntry) {
	t.Helper()
	ref, head, err := r.git.Head(t.Context())
	if err == nil {
		err = r.git.Advance(t.Context(), gitrepo.Advance{Ref: ref, Old: head, New: head, Index: entries})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// elsewhere has git-annex believe that another repository has the content, so that its fsck does not miss a copy.
func elsewhere(t testing.TB, r *Repo, k Key) {
	t.Helper()
	record(t, r, Location{Key: k, UUID: uuidB, Present: true})
	run(t, r.git.Dir(), "git-annex", "trust", "--force", "-q", uuidB)
}

func TestRemove(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"8", "10"} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			r := newAnnex(t)
			setConfig(t, r, "annex.version", version)
			content := strings.Repeat("content", 20000)
			for path, mode := range map[string]fs.FileMode{"unlocked": 0o644, "dir/run": 0o755, "edited": 0o644, "touched": 0o600} {
				write(t, r, path, content, mode)
			}
			write(t, r, "locked", content, 0o644)
			k := addFile(t, r, "locked", AddOptions{Locked: true}).Key
			paths := []string{"dir/run", "edited", "locked", "not there", "touched", "unlocked"}
			for _, path := range []string{"unlocked", "dir/run", "edited", "touched"} {
				addFile(t, r, path, AddOptions{})
			}
			describeElsewhere(t, r)
			elsewhere(t, r, k)
			write(t, r, "edited", content[:len(content)-1]+"!", 0o644)
			later := time.Now().Add(time.Minute)
			if err := os.Chtimes(r.workPath("touched"), later, later); err != nil {
				t.Fatal(err)
			}
			entries := removed(t, r, k, paths...)
			if r.Has(k) || slices.Contains(locations(t, r, k), r.UUID()) {
				t.Error("the content is still here")
			}
			refresh(t, r, entries)
			for path, want := range map[string]string{
				"unlocked": string(Pointer(k)), "dir/run": string(Pointer(k)), "touched": string(Pointer(k)), "edited": content[:len(content)-1] + "!",
			} {
				if got := read(t, r, path); got != want {
					t.Errorf("%s is %.50q", path, got)
				}
			}
			if st, err := os.Stat(r.workPath("dir/run")); err != nil || st.Mode().Perm() != 0o755 {
				t.Errorf("dir/run: %v, %v", st, err)
			}
			if len(entries) != 3 {
				t.Errorf("entries: %v", entries)
			}
			if left, err := os.ReadDir(filepath.Join(r.dir, "objects")); len(left) > 0 || err != nil {
				t.Errorf("left of objects: %v, %v", left, err)
			}
			if got := run(t, r.git.Dir(), "git", "status", "--porcelain"); got != " M edited\n" {
				t.Errorf("git status:\n%s", got)
			}
			if err := os.Remove(r.workPath("edited")); err != nil {
				t.Fatal(err)
			}
			run(t, r.git.Dir(), "git", "checkout", "-q", "edited")
			fsck(t, r.git.Dir())
			if _, err := r.LockForRemoval(k); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("second removal: %v", err)
			}
		})
	}
}

func setConfig(t testing.TB, r *Repo, key, value string) {
	t.Helper()
	if err := r.git.SetConfig(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

// describeElsewhere names uuidB, so that git-annex takes it for a repository.
func describeElsewhere(t testing.TB, r *Repo) {
	t.Helper()
	if err := r.Describe(t.Context(), uuidB, "elsewhere"); err != nil {
		t.Fatal(err)
	}
}

// With annex.thin a file is its object under another name: what a person writes into it is in both.
func TestRemoveThin(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	run(t, r.git.Dir(), "git", "config", "annex.thin", "true")
	write(t, r, "same", strings.Repeat("1", 200_000), 0o644)
	write(t, r, "edited", strings.Repeat("2", 200_000), 0o644)
	run(t, r.git.Dir(), "git-annex", "add", "-q", "same", "edited")
	run(t, r.git.Dir(), "git", "commit", "-q", "-m", "add")
	for path, want := range map[string]string{"same": "", "edited": "9" + strings.Repeat("2", 199_999)} {
		_, head, err := r.git.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		e, err := r.git.Entry(head, path)
		k, ok := EntryKey(r.git, e)
		if err != nil || !ok {
			t.Fatal(err)
		}
		var st, object os.FileInfo
		if st, err = os.Stat(r.workPath(path)); err == nil {
			name, _ := r.ObjectPath(k)
			object, err = os.Stat(name)
		}
		if err != nil || !os.SameFile(st, object) {
			t.Fatalf("%s is not thin: %v", path, err)
		}
		if want == "" {
			want = string(Pointer(k))
		} else {
			f, err := os.OpenFile(r.workPath(path), os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString("9")
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		removed(t, r, k, path)
		if got := read(t, r, path); got != want {
			t.Errorf("%s is %.50q, want %.50q", path, got, want)
		}
	}
}

// A file that somebody has open for writing keeps its content.
func TestRemoveWhileWritten(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	content := strings.Repeat("open", 1000)
	write(t, r, "f", content, 0o644)
	k := addFile(t, r, "f", AddOptions{}).Key
	f, err := os.OpenFile(r.workPath("f"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	removed(t, r, k, "f")
	if _, err := f.WriteAt([]byte("OPEN"), 0); err != nil {
		t.Fatal(err)
	}
	if got := read(t, r, "f"); got != "OPEN"+content[4:] {
		t.Errorf("f is %.50q", got)
	}
}

// Who counts on a copy keeps it from going, here and for git-annex; and a copy that is going is nothing to count on.
func TestRemovalExcludes(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"8", "10"} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			r := newAnnex(t)
			setConfig(t, r, "annex.version", version)
			write(t, r, "f", "content", 0o644)
			k := addFile(t, r, "f", AddOptions{Locked: true}).Key
			if l, err := r.LockForRemoval(keyOf(t, 1)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("removal of what is not here: %v, %v", l, err)
			}

			release, ok, err := r.LockContent(k)
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			if l, err := r.LockForRemoval(k); !errors.Is(err, ErrInUse) {
				t.Errorf("removal of what is locked: %v, %v", l, err)
			}
			release()

			l, err := r.LockForRemoval(k)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok, err := r.LockContent(k); ok || err != nil {
				t.Errorf("locked what is being removed: %v", err)
			}
			if _, err := r.LockForRemoval(k); !errors.Is(err, ErrInUse) {
				t.Errorf("second removal: %v", err)
			}
			if out, err := try(t, r.git.Dir(), "git-annex", "drop", "--force", "f"); err == nil {
				t.Errorf("git annex drop meanwhile: %s", out)
			}
			if shellLocks(t, r, k) {
				t.Error("git-annex-shell locked what is being removed")
			}
			l.Release()
			object, present := r.ObjectPath(k)
			st, err := os.Stat(object)
			if !present || err != nil || st.Mode().Perm() != 0o444 {
				t.Errorf("after a removal that was given up: %v, %v", st, err)
			}
			fsck(t, r.git.Dir())
			if !shellLocks(t, r, k) {
				t.Error("git-annex-shell cannot lock what is here")
			}

			for _, test := range []struct {
				until string
				want  error
			}{{fmt.Sprint(time.Now().Unix()+60, ".5s"), ErrInUse}, {fmt.Sprint(time.Now().Unix()-60, "s"), nil}, {"", nil}} {
				path := object + ".rtm"
				if err := r.intoKeyDir(filepath.Dir(object), func() error { return os.WriteFile(path, []byte(test.until), 0o644) }); err != nil {
					t.Fatal(err)
				}
				l, err := r.LockForRemoval(k)
				if !errors.Is(err, test.want) {
					t.Errorf("retention until %q: %v", test.until, err)
				}
				if l != nil {
					l.Release()
				}
			}
			removed(t, r, k)
			if left, err := os.ReadDir(filepath.Join(r.dir, "objects")); len(left) > 0 || err != nil {
				t.Errorf("left of objects: %v, %v", left, err)
			}
		})
	}
}

// shellLocks has a git-annex-shell of git-annex lock content, as its clients do, and tells whether we then are kept from removing it.
func shellLocks(t *testing.T, r *Repo, k Key) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git-annex-shell", "p2pstdio", r.git.Dir(), uuidB, "--uuid", r.UUID())
	in, out := annextest.Start(t, cmd)
	defer func() {
		_ = in.Close()
		_ = cmd.Wait()
	}()
	fmt.Fprintf(in, "VERSION 1\nLOCKCONTENT %s\n", k)
	var line strings.Builder
	for b := make([]byte, 1); ; {
		if _, err := out.Read(b); err != nil {
			return false
		}
		line.Write(b)
		switch {
		case strings.HasSuffix(line.String(), "\nSUCCESS\n"):
			if _, err := r.LockForRemoval(k); !errors.Is(err, ErrInUse) {
				t.Errorf("removal of what git-annex-shell has locked: %v", err)
			}
			return true
		case strings.HasSuffix(line.String(), "\nFAILURE\n"):
			return false
		}
	}
}

func TestMoved(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	for i, path := range []string{"a", "b", "c"} {
		write(t, r, path, fmt.Sprint("content ", i), 0o644)
	}
	a, b := addFile(t, r, "a", AddOptions{}).Key, addFile(t, r, "b", AddOptions{}).Key
	from, err := r.OwnHead()
	if err != nil {
		t.Fatal(err)
	}
	run(t, r.git.Dir(), "git-annex", "drop", "--force", "-q", "a")
	run(t, r.git.Dir(), "git-annex", "add", "--force-large", "-q", "c")
	record(t, r, Location{Key: b, UUID: uuidB, Present: true})
	to, err := r.BranchHead()
	if err != nil {
		t.Fatal(err)
	}
	came, gone, err := r.Moved(from, to)
	if err != nil || len(came) != 1 || !r.Has(came[0]) || !slices.Equal(gone, []Key{a}) {
		t.Errorf("came %v, gone %v, %v", came, gone, err)
	}
	for _, k := range []Key{a, b} {
		if r.Bad(k) {
			t.Error(k, "is bad")
		}
	}
	object, _ := r.ObjectPath(b)
	if err := errors.Join(os.Chmod(object, 0o644), os.WriteFile(object, []byte("content X"), 0o644)); err != nil {
		t.Fatal(err)
	}
	_, _ = try(t, r.git.Dir(), "git-annex", "fsck", "b")
	if !r.Bad(b) || r.Has(b) {
		t.Error("git annex fsck has put it aside, and it is not bad")
	}
}
