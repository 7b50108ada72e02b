package gitrepo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tryCheckout checks out without moving the branch.
func (c clone) tryCheckout(from, to Hash, opt CheckoutOptions) CheckoutResult {
	c.t.Helper()
	l, err := c.LockIndex(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	defer l.Unlock()
	res, err := l.Checkout(c.t.Context(), from, to, opt)
	if err != nil {
		c.t.Fatal(err)
	}
	return res
}

func TestCheckoutStrangeNames(t *testing.T) {
	c := newClone(t)
	names := []string{
		"plain", "with space", "new\nline", "tab\there", "-dash", "--", "\xff\xfe bytes", "a\"quote", "back\\slash",
		":(glob)*", "#hash", "deep/-x/\xe9/: y", strings.Repeat("l", 255), "*.txt", "é", "trailing ",
	}
	files := make(map[string]string)
	for _, n := range names {
		files[n] = "content of " + n
	}
	first := c.make(nil, files)
	c.checkout(first)
	c.clean()
	for _, n := range names {
		if c.read(n) != files[n] {
			t.Errorf("%q has other content", n)
		}
		c.write(n, "changed")
	}
	second := c.commit(names...)
	c.clean()
	for n := range c.contents(second) {
		files[n] = "changed"
	}
	mapsEqual(t, c.contents(second), files)
	c.checkout(first)
	c.clean()
	c.checkout(c.make([]Hash{first}, map[string]string{"deep/-x/\xe9/: y": ""}))
	c.clean()
	if c.exists("deep") {
		t.Error("an emptied folder is left")
	}
}

func TestCheckoutShapes(t *testing.T) {
	c := newClone(t)
	blob := func(s string) Hash { h, _ := c.WriteBlob([]byte(s)); return h }
	commit := func(es map[string]Entry) Hash {
		n := NewCommit{Message: "m"}
		for p, e := range es {
			n.Changes = append(n.Changes, Change{Path: p, New: e})
		}
		h, err := c.NewCommit(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	shapes := []Hash{
		commit(map[string]Entry{"n": {ModeFile, blob("file")}, "keep": {ModeFile, blob("k")}}),
		commit(map[string]Entry{"n": {ModeExecutable, blob("file")}, "keep": {ModeFile, blob("k")}}),
		commit(map[string]Entry{"n": {ModeSymlink, blob("keep")}, "keep": {ModeFile, blob("k")}}),
		commit(map[string]Entry{"n/a/b": {ModeFile, blob("deep")}, "n/c": {ModeSymlink, blob("../keep")}, "keep": {ModeFile, blob("k")}}),
		commit(map[string]Entry{"n/a": {ModeFile, blob("shallow")}, "keep": {ModeFile, blob("k2")}}),
		commit(map[string]Entry{"n": {ModeGitlink, blob("x")}, "keep": {ModeFile, blob("k")}}),
		commit(map[string]Entry{"other": {ModeFile, blob("k")}}),
	}
	for i, from := range shapes {
		for j, to := range shapes {
			c.checkout(from)
			c.checkout(to)
			if out := c.run("status", "--porcelain", "--ignore-submodules=all"); out != "" && j != 5 {
				t.Errorf("from %d to %d: git status\n%s", i, j, out)
			}
			if c.head() != to {
				t.Errorf("from %d to %d: HEAD is elsewhere", i, j)
			}
		}
	}
}

// TestCheckoutSpares puts what a person has done in the way of every kind of change: none of it may be touched, and nothing
// else either.
func TestCheckoutSpares(t *testing.T) {
	tests := []struct {
		name           string
		from, to       map[string]string
		person         func(c clone)
		path, content  string
		dirty, blocked []string
	}{
		{
			name: "edited file that changes",
			from: map[string]string{"f": "1"}, to: map[string]string{"f": "2"},
			person: func(c clone) { c.write("f", "mine") }, path: "f", content: "mine", dirty: []string{"f"},
		},
		{
			name: "edited file that is removed",
			from: map[string]string{"f": "1", "g": "g"}, to: map[string]string{"f": ""},
			person: func(c clone) { c.write("f", "mine") }, path: "f", content: "mine", dirty: []string{"f"},
		},
		{
			name: "same size and time",
			from: map[string]string{"f": "12345"}, to: map[string]string{"f": "2"},
			person: func(c clone) {
				st, _ := os.Stat(c.path("f"))
				f, _ := os.OpenFile(c.path("f"), os.O_WRONLY, 0)
				_, err := f.WriteString("54321")
				c.ok(err)
				f.Close()
				c.ok(os.Chtimes(c.path("f"), st.ModTime(), st.ModTime()))
			},
			path: "f", content: "54321", dirty: []string{"f"},
		},
		{
			name: "untracked file",
			from: map[string]string{"x": "x"}, to: map[string]string{"d/n": "theirs"},
			person: func(c clone) { c.write("d/n", "mine") }, path: "d/n", content: "mine", dirty: []string{"d/n"},
		},
		{
			name: "ignored file",
			from: map[string]string{".gitignore": "secret\n"}, to: map[string]string{"secret": "theirs"},
			person: func(c clone) { c.write("secret", "mine") }, path: "secret", content: "mine", blocked: []string{"secret"},
		},
		{
			name: "directory in the way",
			from: map[string]string{"x": "x"}, to: map[string]string{"n": "theirs"},
			person: func(c clone) { c.write("n/deep/mine", "mine") }, path: "n/deep/mine", content: "mine", dirty: []string{"n/deep/mine"},
		},
		{
			name: "ignored file in a directory in the way",
			from: map[string]string{".gitignore": "*.o\n", "n/x": "x"}, to: map[string]string{"n/x": "", "n": "theirs"},
			person: func(c clone) { c.write("n/mine.o", "mine") }, path: "n/mine.o", content: "mine", blocked: []string{"n/mine.o"},
		},
		{
			name: "file where a directory is needed",
			from: map[string]string{"x": "x"}, to: map[string]string{"n/x": "theirs"},
			person: func(c clone) { c.write("n", "mine") }, path: "n", content: "mine", dirty: []string{"n"},
		},
		{
			name: "symbolic link where a directory is needed",
			from: map[string]string{"other/x": "x"}, to: map[string]string{"n/x": "theirs"},
			person: func(c clone) { c.ok(os.Symlink("other", c.path("n"))) }, path: "other/x", content: "x", dirty: []string{"n"},
		},
		{
			name: "folder replaced by a link out of the tree",
			from: map[string]string{"d/x": "1", "d/y": "y"}, to: map[string]string{"d/x": "2"},
			person: func(c clone) {
				c.ok(os.Rename(c.path("d"), filepath.Join(c.Dir(), "..", "moved")))
				c.ok(os.Symlink("../moved", c.path("d")))
			},
			path: "../moved/x", content: "1", dirty: []string{"d"},
		},
		{
			name: "file removed by the person",
			from: map[string]string{"f": "1", "g": "g"}, to: map[string]string{"f": "2"},
			person: func(c clone) { c.remove("f"); c.write("h", "mine") }, path: "h", content: "mine", dirty: []string{"f"},
		},
		{
			name: "made executable by the person",
			from: map[string]string{"f": "1"}, to: map[string]string{"f": "2"},
			person: func(c clone) { c.ok(os.Chmod(c.path("f"), 0o755)) }, path: "f", content: "1", dirty: []string{"f"},
		},
		{
			name: "a named pipe",
			from: map[string]string{"x": "x"}, to: map[string]string{"p": "theirs"},
			person: func(c clone) { c.ok(unix.Mkfifo(c.path("p"), 0o600)); c.write("h", "mine") }, path: "h", content: "mine", blocked: []string{"p"},
		},
		{
			name: "another repository",
			from: map[string]string{"x": "x"}, to: map[string]string{"sub/n": "theirs"},
			person: func(c clone) { c.write("sub/mine", "mine"); c.run("init", "-q", "sub") }, path: "sub/mine", content: "mine", blocked: []string{"sub"},
		},
		{
			name: "hidden from git",
			from: map[string]string{"f": "1"}, to: map[string]string{"f": "2"},
			person: func(c clone) { c.run("update-index", "--assume-unchanged", "f"); c.write("f", "mine") },
			path:   "f", content: "mine", blocked: []string{"f"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClone(t)
			from := c.make(nil, tt.from)
			tt.to["bystander"] = "new"
			to := c.make([]Hash{from}, tt.to)
			c.checkout(from)
			tt.person(c)
			res := c.tryCheckout(from, to, CheckoutOptions{})
			if !slices.Equal(res.Dirty, tt.dirty) || !slices.Equal(res.Blocked, tt.blocked) {
				t.Errorf("dirty %q blocked %q, want %q and %q", res.Dirty, res.Blocked, tt.dirty, tt.blocked)
			}
			if got := c.read(tt.path); got != tt.content {
				t.Errorf("%q is %q, want %q", tt.path, got, tt.content)
			}
			if c.exists("bystander") {
				t.Error("something else was written")
			}
			if tt.blocked != nil {
				return
			}
			// What the agent does then: the person's changes are committed first, and merged.
			mine := c.commit(slices.Concat(res.Dirty, []string{tt.path})...)
			if strings.HasPrefix(tt.path, "../") {
				return
			}
			m := c.merged(mine, to, nil)
			c.checkout(m.Commit)
			c.clean()
			found := false
			for _, content := range c.contents(m.Commit) {
				found = found || strings.Contains(content, tt.content)
			}
			if !found {
				t.Errorf("%q is gone: %q", tt.content, c.contents(m.Commit))
			}
		})
	}
}

// TestCheckoutBeingWritten opens a file for writing while its content still is the committed one.
func TestCheckoutBeingWritten(t *testing.T) {
	c := newClone(t)
	from := c.make(nil, map[string]string{"log": "1", "gone": "1"})
	to := c.make([]Hash{from}, map[string]string{"log": "2", "gone": ""})
	c.checkout(from)
	for _, name := range []string{"log", "gone"} {
		f, err := os.OpenFile(c.path(name), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		defer func() { _, _ = f.WriteString("late") }()
	}
	res := c.tryCheckout(from, to, CheckoutOptions{})
	if !slices.Equal(res.Dirty, []string{"gone", "log"}) {
		t.Errorf("dirty %q", res.Dirty)
	}
	if c.read("log") != "1" || c.read("gone") != "1" {
		t.Error("a file open for writing was replaced")
	}
	left, _ := filepath.Glob(c.path(".git/arbor/tmp/*"))
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestCheckoutThenKilled stops after the files are written and before the branch moves: nothing may be lost, whoever
// wrote it.
func TestCheckoutThenKilled(t *testing.T) {
	c := newClone(t)
	from := c.make(nil, map[string]string{"a": "1", "b": "1", "d/x": "1"})
	to := c.make([]Hash{from}, map[string]string{"a": "2", "b": "", "d/x": "", "d": "file", "new": "n"})
	c.checkout(from)
	c.write("mine", "mine")
	if res := c.tryCheckout(from, to, CheckoutOptions{}); len(res.Dirty) > 0 {
		t.Fatalf("dirty %q", res.Dirty)
	}
	c = c.reopen()
	paths, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "d", "d/x", "mine", "new"}; !slices.Equal(paths, want) {
		t.Errorf("status %q, want %q", paths, want)
	}
	mine := c.commit(paths...)
	m := c.merged(mine, to, nil)
	c.checkout(m.Commit)
	c.clean()
	mapsEqual(t, c.contents(m.Commit), map[string]string{"a": "2", "d": "file", "new": "n", "mine": "mine"})
	if len(m.Conflicts) != 0 {
		t.Errorf("conflicts: %v", m.Conflicts)
	}
}

// TestCheckoutRecoversStaging leaves staged files as a kill would: content that is recorded goes, a person's is kept.
func TestCheckoutRecoversStaging(t *testing.T) {
	c := newClone(t)
	c.write("f", "recorded")
	c.commit("f")
	c.write(".git/arbor/tmp/new-1", "half")
	c.write(".git/arbor/tmp/old-1", "recorded")
	c.write(".git/arbor/tmp/old-2", "a person's")
	c = c.reopen()
	lost, err := c.Lost()
	if err != nil || len(lost) != 1 {
		t.Fatalf("lost %q, %v", lost, err)
	}
	if data, _ := os.ReadFile(lost[0]); string(data) != "a person's" {
		t.Errorf("kept %q", data)
	}
	if left, _ := os.ReadDir(c.path(".git/arbor/tmp")); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestCheckoutHooks(t *testing.T) {
	c := newClone(t)
	from := c.make(nil, map[string]string{"ptr": "pointer 1\n"})
	to := c.make([]Hash{from}, map[string]string{"ptr": "pointer 2\n", "plain": "p"})
	c.checkout(from)
	// The work tree holds the content the pointer stands for.
	c.write("ptr", "content one, which is longer")
	st, err := c.Stat("ptr")
	if err != nil {
		t.Fatal(err)
	}
	object := filepath.Join(t.TempDir(), "object")
	if err := os.WriteFile(object, []byte("content two"), 0o444); err != nil {
		t.Fatal(err)
	}
	opt := CheckoutOptions{
		Known:   func(path string) (Stat, bool) { return st, path == "ptr" },
		Content: func(path string, e Entry) (string, bool) { return object, path == "ptr" },
	}
	res := c.tryCheckout(from, to, opt)
	if len(res.Dirty) > 0 || c.read("ptr") != "content two" {
		t.Fatalf("dirty %q, content %q", res.Dirty, c.read("ptr"))
	}
	c.advance(from, to, res.Index)
	// Git compares whole seconds, and reads files of the second the index was written in again.
	if got, err := c.Stat("ptr"); err != nil || time.Now().Unix() <= got.Mtime/1e9 {
		t.Errorf("git does not trust the index about the file, which was written at %d (%v)", got.Mtime, err)
	}
	e, err := c.Entry(to, "ptr")
	if err != nil {
		t.Fatal(err)
	}
	if st, err = c.Stat("ptr"); err != nil {
		t.Fatal(err)
	}
	c.advance(to, c.make([]Hash{to}, map[string]string{"x": "x"}), []IndexEntry{{"ptr", e, st}})
	if got := c.run("diff-files", "--name-only"); got != "" {
		t.Errorf("git sees changed %q, in spite of its stat", got)
	}
	if got, _ := c.Stat("ptr"); got.Mode&0o222 == 0 {
		t.Error("the file is read-only as the object is")
	}
}

func TestCheckoutKeepsPermissions(t *testing.T) {
	c := newClone(t)
	from := c.make(nil, map[string]string{"private": "1"})
	to := c.make([]Hash{from}, map[string]string{"private": "2"})
	c.checkout(from)
	c.ok(os.Chmod(c.path("private"), 0o600))
	c.checkout(to)
	if st, _ := os.Stat(c.path("private")); st.Mode().Perm() != 0o600 {
		t.Errorf("mode is %o", st.Mode().Perm())
	}
}

// TestCheckoutLeavesStaging keeps what a person staged for a path whose file is as committed.
func TestCheckoutLeavesStaging(t *testing.T) {
	c := newClone(t)
	from := c.make(nil, map[string]string{"f": "1\n", "g": "g\n"})
	to := c.make([]Hash{from}, map[string]string{"f": "2\n"})
	c.checkout(from)
	c.write("f", "staged\n")
	c.run("add", "f")
	c.write("f", "1\n")
	c.checkout(to)
	if got := c.run("show", ":f"); got != "staged" {
		t.Errorf("staged content is %q", got)
	}
	if c.read("f") != "2\n" {
		t.Error("the file was not written")
	}
}

func TestCheckoutConversions(t *testing.T) {
	c := newClone(t)
	c.run("config", "filter.rot.clean", "tr a-m n-z")
	c.run("config", "filter.rot.smudge", "tr n-z a-m")
	if err := c.ReloadConfig(t.Context()); err != nil {
		t.Fatal(err)
	}
	from := c.make(nil, map[string]string{"x": "x"})
	to := c.make([]Hash{from}, map[string]string{
		".gitattributes": "*.rot filter=rot\n*.crlf text eol=crlf\n*.txt text\n* -ident\n",
		"a.rot":          "nopq\n", "b.crlf": "1\n2\n", "c.txt": "1\n2\n", "sub/.gitattributes": "*.id ident\n", "sub/i.id": "$Id$\n",
	})
	c.checkout(from)
	c.checkout(to)
	c.clean()
	for name, want := range map[string]string{"a.rot": "abcd\n", "b.crlf": "1\r\n2\r\n", "c.txt": "1\n2\n"} {
		if got := c.read(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := c.read("sub/i.id"); !strings.Contains(got, "$Id: ") {
		t.Errorf("sub/i.id is %q", got)
	}
	// And back in: unchanged files give no change, changed ones are cleaned.
	if res := c.snapshot(""); len(res.Changes) != 0 {
		t.Errorf("changes: %v", res.Changes)
	}
	if res := c.snapshot("a.rot", "b.crlf", "c.txt", "sub/i.id"); len(res.Changes) != 0 {
		t.Errorf("changes: %v", res.Changes)
	}
	c.write("a.rot", "dcba\n")
	c.write("b.crlf", "1\r\n3\r\n")
	c.write("c.txt", "1\r\n4\r\n")
	h := c.commit("a.rot", "b.crlf", "c.txt")
	c.clean()
	got := c.contents(h)
	for name, want := range map[string]string{"a.rot": "qpon\n", "b.crlf": "1\n3\n", "c.txt": "1\n4\n"} {
		if got[name] != want {
			t.Errorf("%s was committed as %q, want %q", name, got[name], want)
		}
	}
	// Unchanged converted files are clean for the next checkout, whatever their stat.
	touched := filepath.Join(c.Dir(), "a.rot")
	c.ok(os.Chtimes(touched, fs.FileInfo.ModTime(mustStat(t, touched)).Add(-1e9), fs.FileInfo.ModTime(mustStat(t, touched)).Add(-1e9)))
	c.checkout(c.make([]Hash{h}, map[string]string{"a.rot": "zzzz\n"}))
	c.clean()
}

func mustStat(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestVanished(t *testing.T) {
	c := newClone(t)
	c.write("f", "1")
	h := c.commit("f")
	if err := c.Vanished(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.Dir(), c.Dir()+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := c.Vanished(); !errors.Is(err, ErrVanished) {
		t.Errorf("moved away: %v", err)
	}
	// An empty mount point.
	if err := os.MkdirAll(c.path(".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	if res, err := c.Snapshot(t.Context(), h, []string{"f"}, nil); !errors.Is(err, ErrVanished) {
		t.Errorf("snapshot of an empty mount point: %v, %v", res, err)
	}
	l, err := c.LockIndex(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	if _, err := l.Checkout(t.Context(), h, h, CheckoutOptions{}); !errors.Is(err, ErrVanished) {
		t.Errorf("checkout into an empty mount point: %v", err)
	}
}

// TestMovedUnderGit: git at work in a clone that is moved away makes nothing in its place.
func TestMovedUnderGit(t *testing.T) {
	c := newClone(t)
	c.write("f", "1")
	h := c.commit("f")
	update := func(ref string) error {
		return c.UpdateRefs(t.Context(), []RefUpdate{{Name: ref, New: h}}, "fetch")
	}
	c.ok(update("refs/remotes/one/main")) // which starts the git that goes on with the second
	if err := os.Rename(c.Dir(), c.Dir()+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := update("refs/remotes/two/main"); err != nil {
		t.Logf("update: %v", err)
	}
	if _, err := os.Stat(c.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder was made anew: %v", err)
	}
}
