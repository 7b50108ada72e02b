package remote_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
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
