package gitrepo

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func paths(changes []Change) []string {
	var ps []string
	for _, c := range changes {
		p := "M " + c.Path
		if c.Old.IsZero() {
			p = "A " + c.Path
		} else if c.New.IsZero() {
			p = "D " + c.Path
		}
		ps = append(ps, p)
	}
	return ps
}

func TestSnapshot(t *testing.T) {
	c := newClone(t)
	c.write(".gitignore", "*.o\nbuild/\n")
	c.write("a", "a")
	c.write("d/x", "x")
	c.write("d/y", "y")
	c.write("becomes-dir", "1")
	c.write("becomes-file/in", "1")
	c.write("becomes-link/in", "1")
	c.write("becomes-pipe", "1")
	c.write("tracked.o", "1")
	c.run("add", "-f", "tracked.o")
	c.commit("")
	c.write("forced.o", "1")
	c.run("add", "-f", "forced.o")
	check := func(want []string, named ...string) {
		t.Helper()
		res := c.snapshot(named...)
		if got := paths(res.Changes); !slices.Equal(got, want) {
			t.Errorf("snapshot of %q: %q, want %q", named, got, want)
		}
		if len(res.Skipped) > 0 {
			t.Errorf("skipped %q: %v", res.Skipped, res.Err)
		}
	}
	check([]string{"A forced.o"}, "")
	c.commit("")
	check(nil, "")
	check(nil, "none/such", "a", ".git/config", "../outside", "/etc/passwd")

	c.write("tracked.o", "2")
	c.write("new.o", "ignored")
	c.write("build/deep/f", "ignored")
	c.write("sub/.git/HEAD", "another repository")
	c.write("sub/file", "not ours")
	c.ok(unix.Mkfifo(c.path("pipe"), 0o600))
	c.remove("becomes-pipe")
	c.ok(unix.Mkfifo(c.path("becomes-pipe"), 0o600))
	check([]string{"M tracked.o"}, "", "new.o", "build", "build/deep/f", "sub", "sub/file", "pipe")
	check([]string{"M tracked.o"}, "tracked.o", "new.o", "build/deep/f", "sub/file", "pipe", "becomes-pipe")

	c.remove("becomes-dir")
	c.write("becomes-dir/in", "2")
	c.remove("becomes-file")
	c.write("becomes-file", "2")
	c.remove("becomes-link")
	c.ok(os.Symlink("d", c.path("becomes-link")))
	c.ok(os.Chmod(c.path("a"), 0o755))
	shape := []string{"M a", "D becomes-dir", "A becomes-dir/in", "A becomes-file", "D becomes-file/in", "A becomes-link", "D becomes-link/in", "M tracked.o"}
	check(shape, "")
	// The watcher may name any of the paths concerned.
	check(shape, "a", "becomes-dir/in", "becomes-dir", "becomes-file/in", "becomes-link/in", "tracked.o")
	check([]string{"D becomes-dir", "A becomes-dir/in"}, "becomes-dir/in")
	check([]string{"A becomes-file", "D becomes-file/in"}, "becomes-file")
	c.commit("")
	check(nil, "")
	if out := c.run("status", "--porcelain", "--ignore-submodules"); out != " D becomes-pipe" && out != " M becomes-pipe" && out != " T becomes-pipe" && !strings.HasSuffix(out, "?? sub/") {
		t.Errorf("git status:\n%s", out)
	}
	c.remove("d")
	check([]string{"D d/x", "D d/y"}, "d")
	check([]string{"D d/x"}, "d/x")
	check([]string{"D d/x", "D d/y"}, "d/x", "d", "")
}

// TestSnapshotOfStale looks at files that are gone, or as base has them, and of which the index has something else.
func TestSnapshotOfStale(t *testing.T) {
	c := newClone(t)
	for _, p := range []string{"file", "dir/file", "place", "taken back"} {
		c.write(p, "1")
	}
	c.commit("")
	staged := []string{"dir/a", "dir/b", "gone/deep/file", "gone/kept out", "new", "place-", "taken back", "there"}
	for _, p := range staged {
		c.write(p, "2")
	}
	c.run(append([]string{"add"}, staged...)...)
	c.run("update-index", "--assume-unchanged", "gone/kept out")
	for _, p := range []string{"dir", "gone", "new", "place-", "file"} {
		if err := os.RemoveAll(c.path(p)); err != nil {
			t.Fatal(err)
		}
	}
	c.write("taken back", "1")
	res := c.snapshot("new", "place-", "gone/deep", "gone", "dir/a", "dir", "there", "taken back", "file", "never")
	slices.Sort(res.Stale)
	if want := []string{"dir/a", "dir/b", "dir/file", "file", "gone/deep/file", "new", "place-", "taken back"}; !slices.Equal(res.Stale, want) {
		t.Errorf("stale is %q, want %q", res.Stale, want)
	}
	if got, want := paths(res.Changes), []string{"D dir/file", "D file", "A there"}; !slices.Equal(got, want) {
		t.Errorf("changes are %q, want %q", got, want)
	}
	old := c.head()
	c.advance(old, old, slices.DeleteFunc(res.Index, func(e IndexEntry) bool { return !slices.Contains(res.Stale, e.Path) }))
	if got, want := c.run("status", "--porcelain"), "D  dir/file\nD  file\nA  \"gone/kept out\"\nA  there"; got != want {
		t.Errorf("git status says %q, want %q", got, want)
	}
}

func TestSnapshotModes(t *testing.T) {
	c := newClone(t)
	c.write("x", "x")
	c.ok(os.Chmod(c.path("x"), 0o755))
	c.ok(os.Symlink("x", c.path("l")))
	c.commit("")
	c.run("config", "core.fileMode", "false")
	c.run("config", "core.symlinks", "false")
	c.ok(c.ReloadConfig(t.Context()))
	c.ok(os.Chmod(c.path("x"), 0o644))
	c.remove("l")
	c.write("l", "y")
	c.write("new", "n")
	c.ok(os.Chmod(c.path("new"), 0o755))
	res := c.snapshot("")
	want := map[string]Mode{"l": ModeSymlink, "new": ModeFile}
	for _, ch := range res.Changes {
		if want[ch.Path] != ch.New.Mode {
			t.Errorf("%s has mode %s", ch.Path, ch.New.Mode)
		}
	}
	if len(res.Changes) != 2 {
		t.Errorf("changes %q", paths(res.Changes))
	}
}

// TestSnapshotHook has a hook take large files over, and change one while it is read.
func TestSnapshotHook(t *testing.T) {
	c := newClone(t)
	c.write("large", strings.Repeat("x", 1000))
	c.write("small", "s")
	c.write("moving", "1")
	c.write("secret", "s")
	blob, _ := c.WriteBlob([]byte("pointer"))
	hook := func(_ context.Context, files []Candidate) []Taken {
		taken := make([]Taken, len(files))
		for i, f := range files {
			switch {
			case f.Path == "moving":
				taken[i].Err = fmt.Errorf("add: %w", ErrChanged)
			case f.Path == "secret":
				taken[i].Err = fmt.Errorf("add: %w", fs.ErrPermission)
			case f.Stat.Size > 100:
				taken[i] = Taken{Entry: Entry{ModeFile, blob}, Stat: f.Stat}
			}
		}
		return taken
	}
	res, err := c.Snapshot(t.Context(), Hash{}, []string{""}, hook)
	if err != nil {
		t.Fatal(err)
	}
	if got := paths(res.Changes); !slices.Equal(got, []string{"A large", "A small"}) {
		t.Errorf("changes %q", got)
	}
	if !slices.Equal(res.Skipped, []string{"moving", "secret"}) || res.Err == nil {
		t.Errorf("skipped %q, %v", res.Skipped, res.Err)
	}
	if res.Changes[0].New.Hash != blob {
		t.Error("the large file went into git")
	}
}

// TestSnapshotWhileWritten never records what is no state of the file: a writer replaces the content all the time.
func TestSnapshotWhileWritten(t *testing.T) {
	c := newClone(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	const size = 200000
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			tmp := filepath.Join(t.TempDir(), "tmp")
			c.ok(os.WriteFile(tmp, []byte(strings.Repeat(string(rune('a'+i%26)), size)), 0o600))
			c.ok(os.Rename(tmp, c.path("f")))
		}
	}()
	taken := 0
	for taken < 20 && t.Context().Err() == nil {
		res := c.snapshot("f")
		for _, ch := range res.Changes {
			data, err := c.Blob(ch.New.Hash, size)
			if err != nil {
				t.Fatal(err)
			}
			if len(data) != size || strings.Trim(string(data), string(data[:1])) != "" {
				t.Fatalf("a mixture was recorded")
			}
			taken++
		}
	}
	cancel()
	<-done
}

func TestSnapshotUnreadable(t *testing.T) {
	c := newClone(t)
	c.run("config", "filter.broken.clean", "false")
	c.run("config", "filter.broken.required", "true")
	c.ok(c.ReloadConfig(t.Context()))
	c.write(".gitattributes", "*.broken filter=broken\n")
	c.write("x.broken", "1")
	c.write("fine", "1")
	res := c.snapshot("")
	if got := paths(res.Changes); !slices.Equal(got, []string{"A .gitattributes", "A fine"}) {
		t.Errorf("changes %q", got)
	}
	if !slices.Equal(res.Skipped, []string{"x.broken"}) || res.Err == nil {
		t.Errorf("skipped %q, %v", res.Skipped, res.Err)
	}
}

// TestAttributesAskGitRarely counts on no process for repositories whose attributes convert nothing.
func TestAttributesAskGitRarely(t *testing.T) {
	c := newClone(t)
	c.write(".git/info/attributes", "\n* filter=annex\n")
	c.write(".gitattributes", "# comment\n*.jpg annex.largefiles=anything -text\n*.bin binary\n")
	c.write("d/f.txt", "x")
	conv, err := c.conversions(t.Context(), []string{"d/f.txt", "f"})
	if err != nil || len(conv) != 0 {
		t.Errorf("conversions %v, %v", conv, err)
	}
	c.write("d/.gitattributes", "*.txt text\n")
	c.write("other/.gitattributes", "*.txt ident diff=lfs merge=lfs -text\n")
	conv, err = c.conversions(t.Context(), []string{"d/f.txt", "d/e/g.txt", "f.txt", "other/f.txt", "x.bin"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]conversion{"d/f.txt": lineEnds, "d/e/g.txt": lineEnds, "other/f.txt": byGit}
	if fmt.Sprint(conv) != fmt.Sprint(want) {
		t.Errorf("conversions %v, want %v", conv, want)
	}
	c.remove("d/.gitattributes")
	c.write("other/.gitattributes", "*.txt filter=annex\n")
	if conv, err = c.conversions(t.Context(), []string{"d/f.txt", "other/f.txt"}); err != nil || len(conv) != 0 {
		t.Errorf("after a change: %v, %v", conv, err)
	}
	c.run("config", "core.autocrlf", "input")
	c.ok(c.ReloadConfig(t.Context()))
	if conv, err = c.conversions(t.Context(), []string{"d/f.txt"}); err != nil || conv["d/f.txt"] != byGit {
		t.Errorf("with autocrlf: %v, %v", conv, err)
	}
}

func TestHarmlessAttributes(t *testing.T) {
	for text, want := range map[string]bool{
		"":                                    true,
		"# *.txt text\n":                      true,
		"\n* filter=annex\n":                  true,
		"*.c diff=cpp\n*.x -text\n":           true,
		"* annex.largefiles=(largerthan=1mb)": true,
		"*.txt text":                          false,
		"*.txt text=auto":                     false,
		"*.lfs filter=lfs":                    false,
		"*.bin binary":                        false,
		"[attr]mine filter=x":                 false,
		"\"a b\" text":                        false,
		"*.x mine":                            false,
		"*.x ident eol=lf":                    false,
		"*.x working-tree-encoding=UTF-16":    false,
	} {
		if got := harmlessAttributes(text); got != want {
			t.Errorf("harmlessAttributes(%q) = %v", text, got)
		}
	}
}

func TestStatus(t *testing.T) {
	c := newClone(t)
	c.write("a b", "1")
	c.write("gone", "1")
	c.commit("")
	c.write("a b", "2")
	c.write("new\nline", "1")
	c.write("d/untracked", "1")
	c.write(".gitignore", "*.o\n")
	c.write("x.o", "1")
	c.remove("gone")
	c.run("init", "-q", "sub")
	got, err := c.Status(t.Context())
	if want := []string{".gitignore", "a b", "d/untracked", "gone", "new\nline"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("status %q, %v, want %q", got, err, want)
	}
	for _, tt := range []struct{ rec, want string }{
		{"1 .M N... 100644 100644 100644 a a with space", "with space"},
		{"u UU N... 100644 100644 100644 100644 a b c the path", "the path"},
		{"? x", "x"},
		{"! ignored", ""},
		{"1 cut", ""},
		{"", ""},
	} {
		if got, _ := statusPath(tt.rec); got != tt.want {
			t.Errorf("statusPath(%q) = %q", tt.rec, got)
		}
	}
}
