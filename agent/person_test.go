package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
)

// TestCheckOutOfAnotherBranch has a person go from branch to branch, which changes many files before git says so.
// What belongs to one branch must not get into the other.
func TestCheckOutOfAnotherBranch(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	base := many(250, "d", "on main")
	a.saveAll(base)
	only(t, base, a, b)
	main := a.git("symbolic-ref", "--short", "HEAD")
	a.try("checkout", "-q", "-b", "other")
	other := many(250, "d", "on the other branch")
	a.saveAll(other)
	a.clean()
	for range 2 {
		a.try("checkout", "-q", main)
		only(t, base, a, b)
		a.try("checkout", "-q", "other")
		a.eventually("be on the other branch", func() error {
			c, err := a.clone()
			if err == nil && c.Branch != "other" {
				err = fmt.Errorf("it is on %s", c.Branch)
			}
			return err
		})
		if err := sameFiles(a.files(), other); err != nil {
			t.Fatal(err)
		}
	}
	a.try("checkout", "-q", main)
	only(t, base, a, b)
	b.try("checkout", "-q", "other")
	b.try("checkout", "-q", main)
	b.try("checkout", "-q", "other")
	a.try("checkout", "-q", "other")
	only(t, other, a, b)
}

// TestCheckOutOfMovingBranch has a person go to another branch and back, over and over, while a peer saves on the one.
// Nothing of either branch may be committed to the other.
func TestCheckOutOfMovingBranch(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	want := many(50, "d", "on main")
	a.saveAll(want)
	only(t, want, a, b)
	main := b.git("symbolic-ref", "--short", "HEAD")
	b.try("checkout", "-q", "-b", "topic")
	topic := many(50, "d", "on topic")
	topic["topic"] = "added\n"
	b.saveAll(topic)
	b.clean()
	before := b.git("rev-list", "--count", "--no-merges", "--author=desktop", "--branches")
	for i := range 20 {
		for name := range map[string]bool{"d/007": true, "moving": true, fmt.Sprint("new", i): true} {
			want[name] = fmt.Sprint("edit ", i, "\n")
			a.save(name, want[name])
		}
		b.try("checkout", "-q", main)
		b.try("checkout", "-q", "topic")
	}
	b.clean()
	if err := sameFiles(b.files(), topic); err != nil {
		t.Error("on topic:", err)
	}
	b.try("checkout", "-q", main)
	only(t, want, a, b)
	if after := b.git("rev-list", "--count", "--no-merges", "--author=desktop", "--branches"); after != before {
		t.Errorf("the desktop's agent has made commits of checked-out files: %s, were %s\n%s", after, before,
			b.git("log", "--branches", "--graph", "--oneline", "--stat", "--author=desktop"))
	}
}

// clean waits until all is committed.
func (m *machine) clean() {
	m.t.Helper()
	m.eventually("commit all", func() error {
		if out, err := m.tryGit("status", "--porcelain"); out != "" || err != nil {
			return fmt.Errorf("status %.80s (%w)", out, err)
		}
		return nil
	})
}

// TestPersonRewritesHistory has a person take back and rewrite commits that others have already.
func TestPersonRewritesHistory(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	files := many(30, "d", "first")
	a.saveAll(files)
	only(t, files, a, b)

	t.Log("amend a message")
	a.save("x", "1\n")
	files["x"] = "1\n"
	only(t, files, a, b)
	a.try("commit", "-q", "--amend", "-m", "by hand")
	only(t, files, a, b)
	if out := b.git("log", "--format=%s"); !strings.Contains(out, "by hand") {
		t.Errorf("the amended commit did not go over: %s", out)
	}

	t.Log("stash, and pop")
	for range 5 {
		b.save("x", "edited\n")
		b.save("y", "new\n")
		_, err := b.tryGit("stash", "-u")
		if err == nil {
			_, err = b.tryGit("stash", "pop")
		}
		t.Log("stash:", err)
	}
	b.clean()
	files = b.files()
	only(t, files, a, b)
	if out := a.git("stash", "list"); out != "" {
		t.Errorf("stash went over: %s", out)
	}

	t.Log("take back a commit of another")
	a.save("z", "of the laptop\n")
	files["z"] = "of the laptop\n"
	only(t, files, a, b)
	b.try("reset", "-q", "--hard", "HEAD~1")
	only(t, files, a, b)

	t.Log("the same, and stop the agent")
	a.save("z", "of the laptop, again\n")
	files["z"] = "of the laptop, again\n"
	only(t, files, a, b)
	b.stop()
	b.git("reset", "-q", "--hard", "HEAD~1")
	b.start()
	only(t, files, a, b)
}

// TestThinksBetterOfIt has a person stage files and take them away or back again before anything was committed.
func TestThinksBetterOfIt(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.save("first", "content")
	a.save("sub/dir/file", "1")
	settled(t, a, b)
	a.git("mv", "first", "second")
	if err := os.Rename(a.path("second"), a.path("third")); err != nil {
		t.Fatal(err)
	}
	a.save("sub/dir/new", "2")
	a.save("draft/new", "3")
	a.save("sub/dir/file", "4")
	a.try("add", ".")
	a.save("sub/dir/file", "1")
	for _, p := range []string{"sub/dir/new", "draft"} {
		if err := os.RemoveAll(a.path(p)); err != nil {
			t.Fatal(err)
		}
	}
	a.clean()
	settled(t, a, b)
	only(t, map[string]string{"third": "content", "sub/dir/file": "1"}, a, b)
	a.clean()
}

// TestRebase has a person rebase commits of their own while the agent runs.
func TestRebase(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.save("base", "1\n")
	only(t, map[string]string{"base": "1\n"}, a, b)
	main := b.git("symbolic-ref", "--short", "HEAD")
	b.try("checkout", "-q", "-b", "topic")
	for i := range 5 {
		b.save(fmt.Sprintf("topic%d", i), "t\n")
		b.clean()
	}
	for i := range 5 {
		a.save(fmt.Sprintf("main%d", i), "m\n")
		a.commits(fmt.Sprint(i + 2))
	}
	b.eventually("get main", func() error {
		if x, y := b.git("rev-parse", main), a.git("rev-parse", main); x != y {
			return fmt.Errorf("it is at %s, not %s", x, y)
		}
		return nil
	})
	b.try("rebase", "-q", main)
	want := map[string]string{"base": "1\n"}
	for i := range 5 {
		want[fmt.Sprintf("topic%d", i)], want[fmt.Sprintf("main%d", i)] = "t\n", "m\n"
	}
	only(t, want, b)
	a.try("checkout", "-q", "topic")
	only(t, want, a, b)
	if n := a.git("rev-list", "--count", main); n != "6" {
		t.Errorf("main has %s commits, not 6:\n%s", n, a.git("log", "--graph", "--oneline", main))
	}
	a.git("merge-base", "--is-ancestor", main, "topic")
}

// TestStrangersInTheFolder has a submodule, a nested repository, and what git calls untracked by rule.
func TestStrangersInTheFolder(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	other := t.TempDir()
	for _, args := range [][]string{
		{"init", "-q", other},
		{"-C", other, "-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "--allow-empty", "-m", "first"},
		{"clone", "-q", other, a.path("nested")},
	} {
		a.git(args...)
	}
	a.save("nested/inside", "mine\n")
	a.try("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", other, "module")
	a.try("commit", "-q", "-m", "a submodule")
	a.save("module/dirty", "mine\n")
	a.save("after", "1\n")
	b.has("after", "1\n")
	b.has(".gitmodules", "[submodule \"module\"]\n\tpath = module\n\turl = "+other+"\n")
	a.eventually("be in step", func() error {
		c, err := a.clone()
		if err == nil && c.State != status.StateInStep {
			err = fmt.Errorf("it is %s (%s)", c.State, c.Detail)
		}
		return err
	})
	if _, err := a.client().Sync(t.Context(), control.SyncRequest{Clone: a.dir, Wait: true}); err != nil {
		t.Error(err)
	}
	b.save("back", "2\n")
	a.has("back", "2\n")
	a.has("nested/inside", "mine\n")
	a.has("module/dirty", "mine\n")
	if tree := b.tree(); tree["nested/inside"] != "" || tree["module/dirty"] != "" {
		t.Errorf("the desktop has %q", tree)
	}
	if out := a.git("ls-tree", "-r", "HEAD", "module"); !strings.HasPrefix(out, "160000 commit") {
		t.Errorf("the submodule became %q", out)
	}

	t.Log("a tracked file that becomes ignored stays tracked; one taken out of the index goes from the others only")
	a.save(".gitignore", "after\nback\n")
	a.save("after", "3\n")
	b.has("after", "3\n")
	a.try("rm", "-q", "--cached", "back")
	a.try("commit", "-q", "-m", "not tracked any more")
	b.lacks("back")
	a.has("back", "2\n")
	b.eventually("have the same", func() error {
		if x, y := a.git("rev-parse", "HEAD"), b.git("rev-parse", "HEAD"); x != y {
			return fmt.Errorf("%s and %s", x, y)
		}
		return nil
	})
}

// TestLinkedWorkTree has a branch checked out in a work tree of git's own while a peer changes it.
func TestLinkedWorkTree(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.save("file", "1\n")
	only(t, map[string]string{"file": "1\n"}, a, b)
	a.try("branch", "side")
	b.eventually("have the branch", func() error {
		_, err := b.tryGit("rev-parse", "--verify", "refs/heads/side")
		return err
	})
	linked := filepath.Join(b.home, "linked")
	b.try("worktree", "add", "-q", linked, "side")
	a.try("checkout", "-q", "side")
	a.save("file", "2\n")
	a.commits("2")
	main := b.git("symbolic-ref", "--short", "HEAD")
	a.try("checkout", "-q", main)
	a.save("marker", "3\n")
	b.has("marker", "3\n")
	if out := b.git("-C", linked, "status", "--porcelain"); out != "" {
		t.Errorf("the linked work tree is no longer clean: %s", out)
	}
	b.try("worktree", "remove", linked)
	if _, err := b.client().Sync(t.Context(), control.SyncRequest{Clone: b.dir}); err != nil {
		t.Fatal(err)
	}
	b.eventually("follow the branch", func() error {
		if x, y := a.git("rev-parse", "side"), b.git("rev-parse", "side"); x != y {
			return fmt.Errorf("it is at %s, not %s", y, x)
		}
		return nil
	})
	settled(t, a, b)
}

// TestPersonIsFaster has a person commit while the agent's own commit, which a peer has already, cannot become that of the branch.
func TestPersonIsFaster(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.saveAll(map[string]string{"file": "0", "other": "0"})
	only(t, map[string]string{"file": "0", "other": "0"}, a, b)
	old := a.git("rev-parse", "HEAD")
	hook := a.path(".git/hooks/reference-transaction")
	script := fmt.Sprintf("#!/bin/sh\ntest $1 != prepared || test $PERSON || ! grep -q ' %s$'\n", a.git("symbolic-ref", "HEAD"))
	if err := os.WriteFile(hook, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	a.env = []string{"PERSON=1"}
	a.save("file", "1")
	b.has("file", "1")
	a.save("file", "2")
	a.try("commit", "-q", "-m", "by hand", "file")
	a.save("file", "3")
	a.save("other", "1")
	if parent := a.git("rev-parse", "HEAD^"); parent != old {
		t.Errorf("the person's commit has the parent %s, not %s", parent, old)
	}
	if err := os.Remove(hook); err != nil {
		t.Fatal(err)
	}
	only(t, map[string]string{"file": "3", "other": "1"}, a, b)
}
