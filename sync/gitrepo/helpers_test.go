package gitrepo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain makes git in this process and its children independent of the machine.
func TestMain(m *testing.M) {
	if dir := os.Getenv(victimEnv); dir != "" {
		fmt.Fprintln(os.Stderr, victim(dir))
		os.Exit(1)
	}
	home, err := os.MkdirTemp("", "gitrepo-test-home-")
	if err != nil {
		panic(err)
	}
	for k, v := range map[string]string{
		"HOME": home, "XDG_CONFIG_HOME": filepath.Join(home, ".config"), "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1",
		"GIT_CONFIG_GLOBAL": filepath.Join(home, ".gitconfig"),
	} {
		os.Setenv(k, v)
	}
	config := "[user]\n\tname = Test Person\n\temail = test@example.org\n[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n"
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o600); err != nil {
		panic(err)
	}
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		_ = flag.Set("rapid.checks", "40") // many of the checks run git several times
	}
	code := m.Run()
	os.RemoveAll(home)
	os.Exit(code)
}

// clone is a repository under test with shorthands that fail the test.
type clone struct {
	*Repo
	t testing.TB
}

func newClone(t testing.TB) clone {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("these tests need git: apt-get install git")
	}
	r, err := Init(t.Context(), filepath.Join(t.TempDir(), "r"), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return clone{r, t}
}

// reopen opens the same repository as a restarted agent would.
func (c clone) reopen() clone {
	c.t.Helper()
	r, err := Open(c.t.Context(), c.Dir())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { r.Close() })
	return clone{r, c.t}
}

// ok fails the test on an error.
func (c clone) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Error(err)
	}
}

func (c clone) path(name string) string { return filepath.Join(c.Dir(), name) }

func (c clone) write(name, content string) {
	c.t.Helper()
	if err := os.MkdirAll(filepath.Dir(c.path(name)), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(c.path(name), []byte(content), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

func (c clone) read(name string) string {
	c.t.Helper()
	data, err := os.ReadFile(c.path(name))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(data)
}

func (c clone) exists(name string) bool {
	_, err := os.Lstat(c.path(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "not a directory") {
		c.t.Fatal(err)
	}
	return err == nil
}

func (c clone) remove(name string) {
	c.t.Helper()
	if err := os.RemoveAll(c.path(name)); err != nil {
		c.t.Fatal(err)
	}
}

// run runs the real git in the repository.
func (c clone) run(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimRight(out, "\n")
}

// try lets git see what was written first.
func (c clone) try(args ...string) (string, error) {
	if err := c.Sync(); err != nil {
		return "", err
	}
	cmd := exec.Command("git", args...)
	cmd.Dir = c.Dir()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c clone) head() Hash {
	c.t.Helper()
	_, h, err := c.Head(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return h
}

func (c clone) snapshot(paths ...string) SnapshotResult {
	c.t.Helper()
	res, err := c.Snapshot(c.t.Context(), c.head(), paths, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return res
}

// commit makes a commit of the work-tree paths the way the agent does.
func (c clone) commit(paths ...string) Hash {
	c.t.Helper()
	old := c.head()
	res := c.snapshot(paths...)
	if len(res.Skipped) > 0 {
		c.t.Fatalf("skipped %q: %v", res.Skipped, res.Err)
	}
	n := NewCommit{Base: old, Changes: res.Changes, Message: "change"}
	if !old.IsZero() {
		n.Parents = []Hash{old}
	}
	h, err := c.NewCommit(c.t.Context(), n)
	if err != nil {
		c.t.Fatal(err)
	}
	c.advance(old, h, res.Index)
	return h
}

func (c clone) advance(old, to Hash, index []IndexEntry) {
	c.t.Helper()
	ref, _, err := c.Head(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.Advance(c.t.Context(), Advance{Ref: ref, Old: old, New: to, Index: index, Reason: "arbor: test"}); err != nil {
		c.t.Fatal(err)
	}
}

// checkout goes to a commit, which must work.
func (c clone) checkout(to Hash) {
	c.t.Helper()
	ref, from, err := c.Head(c.t.Context())
	if err == nil {
		err = checkOutAndAdvance(c.t.Context(), c.Repo, ref, from, to)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// checkOutAndAdvance does both under one lock.
func checkOutAndAdvance(ctx context.Context, r *Repo, ref string, from, to Hash) error {
	l, err := r.LockIndex(ctx)
	if err != nil {
		return err
	}
	defer l.Unlock()
	res, err := l.Checkout(ctx, from, to, CheckoutOptions{})
	if err != nil {
		return err
	}
	if len(res.Dirty) > 0 || len(res.Blocked) > 0 {
		return fmt.Errorf("dirty %q, blocked %q", res.Dirty, res.Blocked)
	}
	return l.Advance(ctx, Advance{Ref: ref, Old: from, New: to, Index: res.Index, Reason: "arbor: test"})
}

// make writes a commit with these files, "" content meaning none, on top of parents' first tree.
func (c clone) make(parents []Hash, files map[string]string) Hash {
	c.t.Helper()
	n := NewCommit{Parents: parents, Message: "made", When: time.Unix(1e9, 0)}
	if len(parents) > 0 {
		n.Base = parents[0]
	}
	for p, content := range files {
		ch := Change{Path: p}
		if content != "" {
			h, err := c.WriteBlob([]byte(content))
			if err != nil {
				c.t.Fatal(err)
			}
			ch.New = Entry{ModeFile, h}
		}
		n.Changes = append(n.Changes, ch)
	}
	h, err := c.NewCommit(c.t.Context(), n)
	if err != nil {
		c.t.Fatal(err)
	}
	return h
}

// contents lists a commit's files with what is in them.
func (c clone) contents(commit Hash) map[string]string {
	c.t.Helper()
	m := make(map[string]string)
	err := c.Files(commit, func(path string, e Entry) error {
		data, err := c.Blob(e.Hash, 1<<30)
		m[path] = string(data)
		if e.Mode != ModeFile {
			m[path] = e.Mode.String() + " " + m[path]
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// clean fails unless git itself finds nothing to complain about.
func (c clone) clean() {
	c.t.Helper()
	if out := c.run("status", "--porcelain"); out != "" {
		c.t.Errorf("git status:\n%s", out)
	}
	if out, err := c.try("fsck", "--strict", "--no-dangling"); err != nil {
		c.t.Errorf("git fsck: %v\n%s", err, out)
	}
}

func mapsEqual(t testing.TB, got, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if g, ok := got[k]; !ok {
			t.Errorf("%q is missing", k)
		} else if g != v {
			t.Errorf("%q is %q, want %q", k, g, v)
		}
	}
	for k, v := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%q is there (%q)", k, v)
		}
	}
}
