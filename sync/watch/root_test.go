package watch

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRootComesAndGoes(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	root, away := filepath.Join(top, "root"), filepath.Join(top, "away")
	write(t, root, ".git/HEAD", "")
	write(t, root, "d/f", "")
	r := recordWatcher(t, impatient(t, root))
	back := func(path string, more ...string) {
		t.Helper()
		r.await("rescan", func(e Event) bool { return e.Kind == Rescan && e.Dir == "" })
		write(t, root, path, "")
		r.settled(append(more, path)...)
	}

	must(t, os.Rename(root, away))
	if e := r.awaitKind(Lost); e.Dir != "" || e.Err == nil {
		t.Errorf("a root that was renamed: %+v", e)
	}
	r.w.Settle("d/f")
	must(t, os.Rename(away, root))
	back("d/g", "d/f")

	must(t, os.Rename(filepath.Join(root, ".git"), filepath.Join(root, "not.git")))
	if e := r.awaitKind(Lost); e.Dir != "" {
		t.Errorf("a root that is no repository: %+v", e)
	}
	must(t, os.Rename(filepath.Join(root, "not.git"), filepath.Join(root, ".git")))
	back("d/h")

	must(t, os.RemoveAll(root))
	r.awaitKind(Lost)
	write(t, root, ".git/HEAD", "")
	back("d/i")

	// Another directory of that name, at once.
	write(t, away, ".git/HEAD", "")
	write(t, away, "d/other", "")
	must(t, os.Rename(root, filepath.Join(top, "old")))
	must(t, os.Rename(away, root))
	back("d/j")
}

func TestRootIsMissingAtTheStart(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	must(t, os.Mkdir(root, 0o755))
	w := impatient(t, root)
	must(t, os.Remove(root))
	r := run(t, w)
	if e := r.next(); e.Kind != Lost {
		t.Errorf("the first event is %+v", e)
	}
	must(t, os.Mkdir(root, 0o755))
	if e := r.next(); e.Kind != Rescan {
		t.Errorf("then %+v", e)
	}
	write(t, root, "f", "")
	r.settled("f")
}

func TestRootIsALink(t *testing.T) {
	top := t.TempDir()
	root := filepath.Join(top, "root")
	must(t, os.Mkdir(root, 0o755))
	must(t, os.Symlink("root", filepath.Join(top, "link")))
	r := record(t, Options{Root: filepath.Join(top, "link")})
	write(t, root, "d/f", "")
	r.settled("d/f")
}

// TestMovedAndDeleted: fsnotify reports an error about such a directory while it holds the lock that Add and Remove need.
func TestMovedAndDeleted(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	r := record(t, Options{Root: root})
	in := func(n string) string { return filepath.Join(root, n) }
	for range 300 {
		must(t, os.MkdirAll(in("a/b/c"), 0o755))
		must(t, os.MkdirAll(in("x/b/c"), 0o755))
		must(t, os.Rename(in("a"), in("e")))
		must(t, os.Rename(in("x"), in("y")))
		must(t, os.Rename(in("e/b"), in("y/d")))
		must(t, os.RemoveAll(in("e")))
		must(t, os.RemoveAll(in("y")))
	}
	r.flush()
}

// TestNothingIsGoneWithTheRoot: a directory above the root that is renamed raises no event; that all files are absent
// must not be taken for their deletion.
func TestNothingIsGoneWithTheRoot(t *testing.T) {
	top := filepath.Join(t.TempDir(), "top")
	root := filepath.Join(top, "root")
	write(t, root, "d/f", "")
	r := record(t, Options{Root: root})
	must(t, os.Rename(top, top+".away"))
	r.w.Settle("d/f")
	if e := r.next(); e.Kind != Lost || e.Dir != "" {
		t.Errorf("%+v", e)
	}
	must(t, os.Rename(top+".away", top))
	if e := r.next(); e.Kind != Rescan {
		t.Errorf("%+v", e)
	}
	r.settled("d/f")
}
