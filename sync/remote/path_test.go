package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/p2p"
)

// TestPathWithFiles puts content to a repository whose files wait for it: they get it.
func TestPathWithFiles(t *testing.T) {
	c := openClone(t, newAnnex(t))
	content := random(20, 10_000)
	key := c.hold(t, content)
	other := newAnnex(t)
	waits(t, other, key)
	run(t, c.dir, "git", "remote", "add", "r", other)
	if err := c.open(t, "r").Put(t.Context(), key, "file.dat", nil); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(other, "file.dat")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
	if in := run(t, other, "git", "annex", "find", "--in=here"); in != "file.dat" {
		t.Errorf("there, git-annex finds %q", in)
	}
}

// slowGit has git take its time to refresh an index, which git-annex has locked meanwhile. The file that it names is there from then on.
func slowGit(t *testing.T) (begun string) {
	t.Helper()
	bin := t.TempDir()
	begun = filepath.Join(bin, "begun")
	script := "#!/bin/sh\ncase \" $* \" in *\" --refresh \"*) touch '" + begun + "'; sleep 2 ;; esac\nPATH=${PATH#*:} exec git \"$@\"\n"
	annextest.Program(t, bin, "git", script)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return begun
}

// waits makes a file whose content is not there.
func waits(t *testing.T, dir string, key annex.Key) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "file.dat"), annex.Pointer(key), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "git", "add", "file.dat")
	run(t, dir, "git", "commit", "-q", "-m", "a file whose content is elsewhere")
}

// indexFree checks that nobody is locked out.
func indexFree(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Lstat(filepath.Join(dir, ".git", "index.lock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the index is locked: %v", err)
	}
	if status := run(t, dir, "git", "status", "--porcelain"); status != "" {
		t.Errorf("git status says %q", status)
	}
}

// TestPathSlow puts content to a repository where git takes its time: the session does not end before git-annex-shell.
func TestPathSlow(t *testing.T) {
	c := openClone(t, newAnnex(t))
	key := c.hold(t, random(22, 10_000))
	other := newAnnex(t)
	waits(t, other, key)
	run(t, c.dir, "git", "remote", "add", "r", other)
	r := c.remote(t, "r")
	if err := r.Identify(t.Context()); err != nil {
		t.Fatal(err)
	}
	slowGit(t)
	s, err := r.Open(t.Context(), p2p.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Put(t.Context(), key, "file.dat", nil), s.Close()); err != nil {
		t.Fatal(err)
	}
	indexFree(t, other)
}

// TestProgramStopped stops git-annex where it has the index locked.
func TestProgramStopped(t *testing.T) {
	dir := newAnnex(t)
	run(t, dir, "git", "annex", "initremote", "-q", "r", "type=directory", "directory="+annextest.TempDir(t), "encryption=shared")
	c := openClone(t, dir)
	key := c.hold(t, random(23, 10_000))
	s := c.open(t, "r")
	if err := s.Put(t.Context(), key, "", nil); err != nil {
		t.Fatal(err)
	}
	c.forget(t, key)
	waits(t, dir, key)
	begun := slowGit(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Get(ctx, key, "file.dat", nil) // the content has come already
	}()
	for {
		if _, err := os.Lstat(begun); err == nil {
			break
		}
		select {
		case <-ended:
			t.Fatal("git-annex has not refreshed the index")
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	<-ended
	indexFree(t, dir)
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
