package remote_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
)

// TestPathWithFiles puts content to a repository whose files wait for it: they get it.
func TestPathWithFiles(t *testing.T) {
	c := openClone(t, newAnnex(t))
	content := random(20, 10_000)
	key := c.hold(t, content)
	other := newAnnex(t)
	pointer := filepath.Join(other, "file.dat")
	if err := os.WriteFile(pointer, annex.Pointer(key), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, other, "git", "add", "file.dat")
	run(t, other, "git", "commit", "-q", "-m", "a file whose content is elsewhere")
	run(t, c.dir, "git", "remote", "add", "r", other)
	if err := c.open(t, "r").Put(t.Context(), key, "file.dat", nil); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(pointer); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
	if in := run(t, other, "git", "annex", "find", "--in=here"); in != "file.dat" {
		t.Errorf("there, git-annex finds %q", in)
	}
}

// TestPathSlow puts content to such a repository where git takes its time: the session ends no sooner than git-annex-shell, which would leave the index
// locked.
func TestPathSlow(t *testing.T) {
	c := openClone(t, newAnnex(t))
	key := c.hold(t, random(22, 10_000))
	other, bin := newAnnex(t), t.TempDir()
	for path, content := range map[string]string{
		filepath.Join(other, "file.dat"): string(annex.Pointer(key)),
		filepath.Join(bin, "git"):        "#!/bin/sh\ncase \" $* \" in *\" --refresh \"*) sleep 2 ;; esac\nPATH=${PATH#*:} exec git \"$@\"\n",
	} {
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil { //nolint:gosec // one of them is a program
			t.Fatal(err)
		}
	}
	run(t, other, "git", "add", "file.dat")
	run(t, other, "git", "commit", "-q", "-m", "a file whose content is elsewhere")
	run(t, c.dir, "git", "remote", "add", "r", other)
	r := c.remote(t, "r")
	if err := r.Identify(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	s, err := r.Open(t.Context(), p2p.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Put(t.Context(), key, "file.dat", nil), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(other, ".git", "index.lock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the index is locked: %v", err)
	}
	if status := run(t, other, "git", "status", "--porcelain"); status != "" {
		t.Errorf("git status says %q", status)
	}
}

// TestPathRefused reaches by git-annex-shell what Arbor itself would not keep sound.
func TestPathRefused(t *testing.T) {
	c := openClone(t, newAnnex(t))
	other := newAnnex(t, "--bare")
	run(t, other, "git", "config", "annex.pidlock", "true")
	run(t, c.dir, "git", "remote", "add", "r", other)
	s, content := c.open(t, "r"), random(21, 10_000)
	key := c.hold(t, content)
	if err := s.Put(t.Context(), key, "", nil); err != nil {
		t.Fatal(err)
	}
	c.forget(t, key)
	if err := s.Get(t.Context(), key, "", nil); err != nil || !bytes.Equal(c.content(t, key), content) {
		t.Errorf("get: %v", err)
	}
}
