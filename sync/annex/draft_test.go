package annex

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/git-arbor/arbor/sync/annex/annextest"
)

// huge gives a content for which a draft is made, and its key.
func huge(tb testing.TB) (Key, []byte) {
	tb.Helper()
	content := make([]byte, HugeSize+5)
	_, _ = rand.Read(content) // never fails
	return keyOfContent(content), content
}

// coming is a content of which some has come, and a pointer that waits for it.
type coming struct {
	*Repo
	key     Key
	content []byte
	file    *os.File
}

func newComing(tb testing.TB, r *Repo, path string) *coming {
	tb.Helper()
	c := &coming{Repo: r}
	c.key, c.content = huge(tb)
	write(tb, r, path, string(Pointer(c.key)), 0o644)
	var err error
	if err = os.MkdirAll(filepath.Dir(r.TmpPath(c.key)), 0o777); err == nil {
		c.file, err = os.Create(r.TmpPath(c.key))
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.file.Close() })
	return c
}

// begin begins a draft for one of the paths, where there are any.
func (c *coming) begin(tb testing.TB, paths ...string) *Draft {
	tb.Helper()
	d := c.BeginDraft(c.key, c.file, paths)
	if d != nil {
		return d
	}
	other, err := os.Create(filepath.Join(tb.TempDir(), "other"))
	if err != nil {
		tb.Fatal(err)
	}
	defer other.Close()
	if err := CloneFile(other, c.file); err != nil {
		tb.Fatalf("there is no draft, though a copy costs something: %v", err)
	}
	tb.Skip("files share the blocks of objects on this file system: drafts are for others")
	return nil
}

// come has more of the content come.
func (c *coming) come(tb testing.TB, d *Draft, until int) {
	tb.Helper()
	st, err := c.file.Stat()
	if err == nil {
		_, err = c.file.WriteAt(c.content[st.Size():until], st.Size())
	}
	if err != nil {
		tb.Fatal(err)
	}
	d.Until(int64(until))
}

func (c *coming) place(tb testing.TB) {
	tb.Helper()
	if err := c.Place(tb.Context(), c.key, c.TmpPath(c.key)); err != nil {
		tb.Fatal(err)
	}
}

// drafted gives the temporary files.
func drafted(tb testing.TB, r *Repo) []string {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join(r.dir, "othertmp", "*"))
	if err != nil {
		tb.Fatal(err)
	}
	return paths
}

func stat(tb testing.TB, path string) os.FileInfo {
	tb.Helper()
	st, err := os.Stat(path)
	if err != nil {
		tb.Fatal(err)
	}
	return st
}

// What was copied while the content came becomes the file, whatever git-annex does meanwhile.
func TestDraft(t *testing.T) { annextest.Each(t, testDraft) }

func testDraft(t *testing.T) {
	r := newAnnex(t)
	write(t, r, "other", "content", 0o644)
	k := addFile(t, r, "other", AddOptions{}).Key
	record(t, r, Location{Key: k, UUID: r.UUID(), Present: true})
	c := newComing(t, r, "file")
	d := c.begin(t, "gone", "other", "file")
	c.come(t, d, HugeSize/2)
	gitAnnex(t, r.git.Dir(), "fsck") // which empties the directory, when nobody uses it
	c.come(t, d, len(c.content))
	d.Complete()
	c.place(t)
	r.Draft(t.Context(), c.key, "file")
	drafts := drafted(t, r)
	if len(drafts) != 1 {
		t.Fatalf("temporary files: %q", drafts)
	}
	draft := stat(t, drafts[0])
	populate(t, r, c.key, "file")
	if got := stat(t, r.workPath("file")); !os.SameFile(got, draft) || got.Mode().Perm() != 0o644 {
		t.Errorf("the file is not the draft, or has mode %v", got.Mode())
	}
	if read(t, r, "file") != string(c.content) {
		t.Error("the file has not its content")
	}
	if left := drafted(t, r); len(left) > 0 {
		t.Errorf("temporary files left: %q", left)
	}
}

// A draft of an object serves one file; the next one gets another.
func TestDraftOfObject(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	c := newComing(t, r, "one")
	c.come(t, nil, len(c.content))
	c.place(t)
	write(t, r, "two", string(Pointer(c.key)), 0o644)
	for _, path := range []string{"one", "two"} {
		r.Draft(t.Context(), c.key, path)
		populate(t, r, c.key, path)
		r.Draft(t.Context(), c.key, path) // which is no pointer any more
		if got := read(t, r, path); got != string(c.content) {
			t.Errorf("%s has %d bytes, not its content", path, len(got))
		}
		if left := drafted(t, r); len(left) > 0 {
			t.Errorf("temporary files left: %q", left)
		}
	}
	write(t, r, "one", "edited", 0o644)
	if got := read(t, r, "two"); got != string(c.content) {
		t.Error("an edit of one file reaches the other")
	}
}

// Before the content is proven the draft becomes no file, though it is whole and there is an object.
func TestDraftUnproven(t *testing.T) {
	t.Parallel()
	c := newComing(t, newAnnex(t), "file")
	d := c.begin(t, "file")
	right := c.content
	c.content = make([]byte, len(right))
	c.come(t, d, len(right))
	<-d.ended
	elsewhere := c.TmpPath(c.key) + ".other" // as git-annex may bring it
	if err := os.WriteFile(elsewhere, right, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.Place(t.Context(), c.key, elsewhere); err != nil {
		t.Fatal(err)
	}
	populate(t, c.Repo, c.key, "file")
	if read(t, c.Repo, "file") != string(right) {
		t.Error("the file has what was not proven")
	}
}

// A draft that is of no use, or fails, leaves nothing, and the file gets its content all the same.
func TestDraftGoes(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, c *coming, d *Draft){
		"dropped":         func(_ *testing.T, _ *coming, d *Draft) { d.Drop() },
		"dropped at last": func(t *testing.T, c *coming, d *Draft) { c.come(t, d, len(c.content)); <-d.ended; d.Drop() },
		"not wanted":      func(_ *testing.T, c *coming, _ *Draft) { c.DropDrafts(func(Key) bool { return false }) },
		"cut off":         func(_ *testing.T, _ *coming, d *Draft) { d.Complete() }, // there is less than that
		"begun anew":      func(_ *testing.T, c *coming, _ *Draft) { c.BeginDraft(c.key, c.file, []string{"file"}).Drop() },
		"closed":          func(t *testing.T, c *coming, _ *Draft) { c.reopen(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newComing(t, newAnnex(t), "file")
			d := c.begin(t, "file")
			c.come(t, d, HugeSize/2)
			end(t, c, d)
			d.drafts.copying.Wait()
			if left := drafted(t, c.Repo); len(left) > 0 {
				t.Errorf("temporary files left: %q", left)
			}
			c.come(t, nil, len(c.content))
			c.place(t)
			populate(t, c.Repo, c.key, "file")
			if read(t, c.Repo, "file") != string(c.content) {
				t.Error("the file has not its content")
			}
		})
	}
}

// reopen closes the annex and opens it again.
func (c *coming) reopen(tb testing.TB) {
	tb.Helper()
	if err := c.Close(); err != nil {
		tb.Fatal(err)
	}
	again, err := Open(context.Background(), c.git)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = again.Close() })
	c.Repo = again
}

// What a draft will still take is not free.
func TestDraftTakesRoom(t *testing.T) {
	t.Parallel()
	c := newComing(t, newAnnex(t), "file")
	d := c.begin(t, "file")
	c.come(t, d, 0)
	if got := c.drafts.missing(); got != int64(len(c.content)) {
		t.Errorf("a draft that has nothing will take %d of %d bytes", got, len(c.content))
	}
	c.come(t, d, len(c.content))
	<-d.ended
	if got := c.drafts.missing(); got != 0 {
		t.Errorf("a draft that is done will take %d bytes", got)
	}
}

// Nothing is copied for nobody.
func TestNoDraft(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	c := newComing(t, r, "file")
	write(t, r, "edited", "something else", 0o644)
	if d := r.BeginDraft(c.key, c.file, []string{"edited", "gone"}); d != nil {
		t.Error("a draft for files that do not wait for it")
	}
	small := []byte("content")
	k := keyOfContent(small)
	write(t, r, "small", string(Pointer(k)), 0o644)
	if d := r.BeginDraft(k, c.file, []string{"small"}); d != nil {
		t.Error("a draft of what is copied in no time")
	}
	if err := r.git.SetConfig(t.Context(), "annex.thin", "true"); err != nil {
		t.Fatal(err)
	}
	if d := r.BeginDraft(c.key, c.file, []string{"file"}); d != nil {
		t.Error("a draft where the file is the object")
	}
	if left := drafted(t, r); len(left) > 0 {
		t.Errorf("temporary files left: %q", left)
	}
}
