package gitrepo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// commitMany makes a commit of n files.
func commitMany(c clone, n int) Hash {
	c.t.Helper()
	var changes []Change
	for i := range n {
		h, err := c.WriteBlob(fmt.Appendf(nil, "content %d\n", i))
		if err != nil {
			c.t.Fatal(err)
		}
		changes = append(changes, Change{Path: fmt.Sprintf("dir %d/file %d", i%7, i), New: Entry{ModeFile, h}})
	}
	h, err := c.NewCommit(c.t.Context(), NewCommit{Changes: changes, Message: "many", Author: &Signature{Name: "A", Email: "a@arbor.test"}})
	if err != nil {
		c.t.Fatal(err)
	}
	return h
}

// stored counts the loose objects and the packs.
func (c clone) stored() (loose, packs int) {
	c.t.Helper()
	for line := range strings.Lines(c.run("count-objects", "-v") + "\n") {
		_, _ = fmt.Sscanf(line, "count: %d", &loose)
		_, _ = fmt.Sscanf(line, "packs: %d", &packs)
	}
	return loose, packs
}

// TestManyObjectsArePacked: a large commit costs one pack, which git takes for its own, and a small one a few files.
func TestManyObjectsArePacked(t *testing.T) {
	c := newClone(t)
	large := commitMany(c, 3000)
	if err := c.UpdateRefs(t.Context(), []RefUpdate{{Name: "refs/heads/large", New: large}}, "test"); err != nil {
		t.Fatal(err)
	}
	if loose, packs := c.stored(); loose > 0 || packs != 1 {
		t.Errorf("%d loose objects and %d packs", loose, packs)
	}
	small := commitMany(c, 7)
	if err := c.UpdateRefs(t.Context(), []RefUpdate{{Name: "refs/heads/small", New: small}}, "test"); err != nil {
		t.Fatal(err)
	}
	if loose, packs := c.stored(); loose != 7+7+2 || packs != 1 {
		t.Errorf("%d loose objects and %d packs", loose, packs)
	}
	c.run("fsck", "--strict", "--no-dangling")
	if got := c.run("show", "large:dir 3/file 2999"); got != "content 2999" {
		t.Errorf("git reads %q", got)
	}
	again, err := Open(t.Context(), c.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for _, r := range []*Repo{c.Repo, again} {
		if err := r.Complete(t.Context(), large); err != nil {
			t.Error(err)
		}
		if content, err := r.Blob(HashBlob([]byte("content 1234\n")), 100); err != nil || string(content) != "content 1234\n" {
			t.Errorf("read %q, %v", content, err)
		}
	}
}

// TestPendingObjects: what is not written yet can be read, and nothing is forgotten when it cannot be written.
func TestPendingObjects(t *testing.T) {
	c := newClone(t)
	h := commitMany(c, 100)
	if err := c.Complete(t.Context(), h); err != nil {
		t.Error(err)
	}
	blob := HashBlob([]byte("content 42\n"))
	if _, err := c.Blob(blob, 3); !errors.Is(err, ErrTooBig) {
		t.Errorf("read too much: %v", err)
	}
	if n, err := c.objects.size(blob); err != nil || n != 11 {
		t.Errorf("size %d, %v", n, err)
	}
	if c.objects.freshen(blob) {
		t.Error("it is written already")
	}
	packs := filepath.Join(c.GitDir(), "objects", "pack")
	if err := os.Remove(packs); err != nil {
		t.Fatal(err)
	}
	if err := c.Sync(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("sync without a folder: %v", err)
	}
	if err := c.UpdateRefs(t.Context(), []RefUpdate{{Name: "refs/heads/x", New: h}}, "test"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("move a reference: %v", err)
	}
	if _, err := c.git(t.Context(), "rev-parse", "HEAD"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("run git: %v", err)
	}
	if err := os.Mkdir(packs, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := c.UpdateRefs(t.Context(), []RefUpdate{{Name: "refs/heads/x", New: h}}, "test"); err != nil {
		t.Fatal(err)
	}
	c.run("fsck", "--strict", "--no-dangling")
	if left, err := filepath.Glob(filepath.Join(packs, "tmp_*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
