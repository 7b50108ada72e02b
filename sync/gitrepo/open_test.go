package gitrepo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpenRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(c clone) string // returns what to open, "" for the clone itself
		what  string
	}{
		"sha256 objects": {func(c clone) string {
			c.run("config", "core.repositoryformatversion", "1")
			c.run("config", "extensions.objectFormat", "sha256")
			return ""
		}, "sha256"},
		"reftable": {func(c clone) string {
			c.run("config", "extensions.refStorage", "reftable")
			return ""
		}, "reftable"},
		"unknown extension": {func(c clone) string {
			c.run("config", "extensions.fancy", "true")
			return ""
		}, "fancy"},
		"partial clone": {func(c clone) string {
			c.run("config", "remote.origin.promisor", "true")
			return ""
		}, "partial"},
		"sparse checkout": {func(c clone) string {
			c.run("config", "core.sparseCheckout", "true")
			return ""
		}, "sparse"},
		"split index": {func(c clone) string {
			c.run("update-index", "--split-index")
			return ""
		}, "split"},
		"shallow": {func(c clone) string {
			c.write(".git/shallow", c.head().String()+"\n")
			return ""
		}, "shallow"},
		"linked work tree": {func(c clone) string {
			dir := c.Dir() + "-linked"
			c.run("worktree", "add", "-q", dir)
			return dir
		}, "linked"},
		"core.worktree": {func(c clone) string {
			c.run("config", "core.worktree", "/elsewhere")
			return ""
		}, "core.worktree"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClone(t)
			c.write("f", "f")
			c.commit("f")
			dir := tt.spoil(c)
			if dir == "" {
				dir = c.Dir()
			}
			_, err := Open(t.Context(), dir)
			u, ok := errors.AsType[*Unsupported](err)
			if !ok || !strings.Contains(u.What, tt.what) || u.Hint == "" {
				t.Errorf("Open: %v (%+v)", err, u)
			}
		})
	}
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if _, err := Open(t.Context(), dir); err == nil {
			t.Errorf("opened %s", dir)
		}
	}
	if _, err := Open(t.Context(), t.TempDir()); !errors.Is(err, ErrNotRepository) {
		t.Errorf("an empty directory: %v", err)
	}
}

func TestOpenBare(t *testing.T) {
	r, err := Init(t.Context(), filepath.Join(t.TempDir(), "bare.git"), true)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := clone{r, t}
	if !r.Bare() || r.Dir() != r.GitDir() {
		t.Errorf("bare %v, %s, %s", r.Bare(), r.Dir(), r.GitDir())
	}
	h := c.make(nil, map[string]string{"f": "f"})
	if err := r.Advance(t.Context(), Advance{Ref: "refs/heads/main", New: h, Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if ref, got, err := r.Head(t.Context()); err != nil || got != h || ref != "refs/heads/main" {
		t.Errorf("HEAD %s %s, %v", ref, got, err)
	}
	if _, err := r.Snapshot(t.Context(), h, []string{""}, nil); err == nil {
		t.Error("a bare repository has no work tree to look at")
	}
}

// TestOpenInsideGit runs as a child of git does, with variables that name another repository.
func TestOpenInsideGit(t *testing.T) {
	c := newClone(t)
	t.Setenv("GIT_DIR", "/nonexistent")
	t.Setenv("GIT_INDEX_FILE", "/nonexistent")
	t.Setenv("GIT_WORK_TREE", "/nonexistent")
	c = c.reopen()
	c.ok(os.WriteFile(c.path("f"), []byte("1"), 0o600))
	c.commit("f")
}

func TestConfig(t *testing.T) {
	c := newClone(t)
	c.write(".git/more", "[annex]\n\tuuid = u-u-i-d\n[a \"Sub.Section\"]\n\tkey = v\n\tflag\n\tzero = 0\n\tmulti = line\\nbreak\n")
	if c.ConfigChanged() {
		t.Error("it has changed before anybody has changed it")
	}
	c.run("config", "include.path", "more")
	if !c.ConfigChanged() {
		t.Error("it has not changed")
	}
	if err := c.ReloadConfig(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"annex.uuid": "u-u-i-d", "a.Sub.Section.key": "v", "none.such": "", "a.Sub.Section.multi": "line\nbreak"} {
		if got := c.Config(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if !c.ConfigBool("a.Sub.Section.flag", false) || c.ConfigBool("a.Sub.Section.zero", true) || !c.ConfigBool("a.Sub.Section.key", true) {
		t.Error("booleans")
	}
	if err := c.SetConfig(t.Context(), "arbor.grove", "-1 and more"); err != nil {
		t.Fatal(err)
	}
	if c.ConfigChanged() {
		t.Error("what it was set to is not known")
	}
	if got := c.run("config", "arbor.grove"); got != "-1 and more" || c.Config("arbor.grove") != got {
		t.Errorf("arbor.grove is %q", got)
	}
}

func TestIdentity(t *testing.T) {
	c := newClone(t)
	id := c.identity(t.Context())
	if id.Name != "Test Person" || id.Email != "test@example.org" {
		t.Errorf("identity %+v", id)
	}
	// Without any, a commit is made all the same.
	t.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	c.run("config", "user.useConfigOnly", "true")
	c = c.reopen()
	if id := c.identity(t.Context()); id.Name == "" || !strings.Contains(id.Email, "@") {
		t.Errorf("identity %+v", id)
	}
}

func TestIgnored(t *testing.T) {
	c := newClone(t)
	c.write(".gitignore", "*.o\nbuild/\n!keep.o\n:magic\n")
	c.write("tracked.o", "x")
	c.run("add", "-f", "tracked.o")
	c.run("commit", "-q", "-m", "x")
	c.ok(os.Symlink(".", c.path("link")))
	var all []string
	want := make(map[string]bool)
	check := func(path string, dir, ignored bool) {
		t.Helper()
		if dir {
			path += "/"
		}
		if got := c.Ignored(path); len(got) != 1 || got[0] != ignored {
			t.Errorf("Ignored(%q) = %v", path, got)
		}
		all, want[path] = append(all, path), ignored
	}
	together := func() {
		t.Helper()
		for i, got := range c.Ignored(all...) {
			if got != want[all[i]] {
				t.Errorf("among others, Ignored(%q) = %v", all[i], got)
			}
		}
	}
	check("a.o", false, true)
	check("d/a.o", false, true)
	check("keep.o", false, false)
	check("build", true, true)
	check("build", false, false)
	check("build/x", false, true)
	check("deep/build", true, true)
	check("tracked.o", false, false)
	check("-x.o", false, true)
	check("new\nline.o", false, true)
	check(":magic", false, true)
	check(":(exclude)a", false, false)
	check("\xff.o", false, true)
	check("link/a", false, false)
	check("x.o", false, true)
	check("../x.o", false, false)
	for i := range 1000 {
		all = append(all, fmt.Sprintf("many/%d.o", i))
		want[all[len(all)-1]] = true
	}
	together()
	// Rules that change are seen at once, wherever they are.
	c.write(".gitignore", "*.p\n")
	check("x.o", false, false)
	check("x.p", false, true)
	c.write("d/.gitignore", "only\n")
	check("d/only", false, true)
	check("only", false, false)
	c.write(".git/info/exclude", "private\n")
	check("private", false, true)
	c.remove("d/.gitignore")
	check("d/only", false, false)
	global := filepath.Join(t.TempDir(), "ignore")
	c.ok(os.WriteFile(global, []byte("everywhere\n"), 0o600))
	c.run("config", "core.excludesFile", global)
	c.ok(c.ReloadConfig(t.Context()))
	c = c.reopen()
	check("everywhere", false, true)
}

func TestUnfinished(t *testing.T) {
	c := newClone(t)
	if got := c.Unfinished(); got != "" {
		t.Errorf("unfinished %q", got)
	}
	c.write("f", "1\n")
	base := c.commit("f")
	c.run("checkout", "-q", "-b", "side")
	c.write("f", "2\n")
	c.commit("f")
	c.run("checkout", "-q", "main")
	c.write("f", "3\n")
	c.commit("f")
	_, _ = c.try("merge", "side") // stops at the conflict
	if got := c.Unfinished(); got != "merge" {
		t.Errorf("unfinished %q", got)
	}
	c.run("merge", "--abort")
	_, _ = c.try("rebase", "side")
	if got := c.Unfinished(); got != "rebase" {
		t.Errorf("unfinished %q", got)
	}
	c.run("rebase", "--abort")
	_, _ = c.try("cherry-pick", "side")
	if got := c.Unfinished(); got != "cherry-pick" {
		t.Errorf("unfinished %q", got)
	}
	c.run("cherry-pick", "--abort")
	c.run("bisect", "start", "HEAD", base.String())
	if got := c.Unfinished(); got != "bisect" {
		t.Errorf("unfinished %q", got)
	}
}
