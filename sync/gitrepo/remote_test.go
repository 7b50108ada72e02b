package gitrepo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hub makes a bare repository that the clones have as remote hub.
func hub(t *testing.T, clones ...clone) clone {
	t.Helper()
	r, err := Init(t.Context(), filepath.Join(t.TempDir(), "hub"), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	for _, c := range clones {
		c.run("remote", "add", "hub", r.Dir())
	}
	return clone{r, t}
}

func TestPushAndFetchRemote(t *testing.T) {
	a, b := newClone(t), newClone(t)
	h := hub(t, a, b)
	if err := a.PushRemote(t.Context(), "hub", []string{"main", "git-annex"}); err != nil {
		t.Errorf("push of nothing: %v", err)
	}
	a.write("f", "1")
	first := a.commit("f")
	a.run("branch", "git-annex")
	a.run("update-ref", "refs/annex/last-index", first.String())
	for range 2 {
		if err := a.PushRemote(t.Context(), "hub", []string{"main", "git-annex", "none"}); err != nil {
			t.Fatal(err)
		}
	}
	want := "refs/heads/git-annex refs/heads/main refs/heads/synced/git-annex refs/heads/synced/main"
	if got := strings.Join(strings.Fields(h.run("for-each-ref", "--format=%(refname)")), " "); got != want {
		t.Errorf("pushed %s", got)
	}
	h.run("update-ref", "refs/annex/last-index", first.String())
	b.write("k", "1")
	b.run("config", "fetch.prune", "true")
	b.run("update-ref", "refs/remotes/hub/old", b.commit("k").String())
	if err := b.FetchRemote(t.Context(), "hub"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"main", "git-annex", "synced/main", "synced/git-annex"} {
		if got, err := b.Ref("refs/remotes/hub/" + name); err != nil || got != first {
			t.Errorf("%s is %s, %v", name, got, err)
		}
	}
	if _, err := b.Ref("refs/remotes/hub/old"); err != nil {
		t.Errorf("a branch that the remote has no more: %v", err)
	}
	if refs := b.run("for-each-ref", "refs/annex"); refs != "" {
		t.Errorf("fetched %s", refs)
	}
}

func TestPushBehind(t *testing.T) {
	a, b := newClone(t), newClone(t)
	h := hub(t, a, b)
	a.write("f", "1")
	first := a.commit("f")
	a.ok(a.PushRemote(t.Context(), "hub", []string{"main"}))
	b.write("g", "1")
	second := b.commit("g")
	if err := b.PushRemote(t.Context(), "hub", []string{"main"}); !errors.Is(err, ErrBehind) {
		t.Errorf("push beside another: %v", err)
	}
	if h.run("rev-parse", "main", "synced/main") != first.String()+"\n"+first.String() {
		t.Error("the other's commit was overwritten")
	}
	b.ok(b.FetchRemote(t.Context(), "hub"))
	merged, err := b.Merge(t.Context(), second, first, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.run("update-ref", "refs/heads/main", merged.Commit.String())
	b.ok(b.PushRemote(t.Context(), "hub", []string{"main"}))
	if got := h.run("rev-parse", "synced/main"); got != merged.Commit.String() {
		t.Errorf("synced/main is %s", got)
	}
}

// TestPushCheckedOut pushes to a repository with a work tree, as git-annex's synced branches are for.
func TestPushCheckedOut(t *testing.T) {
	a, b := newClone(t), newClone(t)
	a.write("f", "1")
	b.run("remote", "add", "hub", a.Dir())
	first := a.commit("f")
	b.ok(b.FetchRemote(t.Context(), "hub"))
	b.run("update-ref", "refs/heads/main", first.String())
	b.run("checkout", "-q", "-f", "main")
	b.write("f", "2")
	second := b.commit("f")
	b.ok(b.PushRemote(t.Context(), "hub", []string{"main"}))
	if got := a.run("rev-parse", "main", "synced/main"); got != first.String()+"\n"+second.String() {
		t.Errorf("main and synced/main are %s", got)
	}
	hook := filepath.Join(a.GitDir(), "hooks", "update")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\nexit 1\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	b.write("f", "3")
	b.commit("f")
	var refused *RemoteError
	if err := b.PushRemote(t.Context(), "hub", []string{"main"}); !errors.As(err, &refused) || !strings.Contains(refused.Text, "hook declined") || refused.Hint() == "" {
		t.Errorf("a push that a hook refuses: %v", err)
	}
}

func TestRemoteErrors(t *testing.T) {
	c := newClone(t)
	c.write("f", "1")
	c.commit("f")
	bin := t.TempDir()
	script := "#!/bin/sh\necho \"$@\" >> " + bin + "/log\ncase \" $* \" in\n*\" stranger \"*) echo 'Host key verification failed.' >&2 ;;\n*\" locked \"*) echo 'me@locked: Permission denied (publickey).' >&2 ;;\n*\" dead \"*) exec sleep 1000 ;;\n*) echo 'ssh: connect to host x port 22: Connection refused' >&2 ;;\nesac\nexit 255\n"
	if err := os.WriteFile(filepath.Join(bin, "ssh"), []byte(script), 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for name, want := range map[string]struct {
		url, hint   string
		unreachable bool
	}{
		"off":      {"ssh://off/x", "tried again", true},
		"locked":   {"locked:x", "ssh-copy-id", false},
		"stranger": {"stranger:x", "by hand", false},
		"gone":     {filepath.Join(bin, "gone"), "git remote -v", true},
	} {
		c.run("remote", "add", name, want.url)
		for _, err := range []error{c.FetchRemote(t.Context(), name), c.PushRemote(t.Context(), name, []string{"main"})} {
			var e *RemoteError
			if !errors.As(err, &e) || !strings.Contains(e.Hint(), want.hint) || errors.Is(err, ErrUnreachable) != want.unreachable {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	log, err := os.ReadFile(filepath.Join(bin, "log"))
	if err != nil || !strings.Contains(string(log), "BatchMode=yes") || !strings.Contains(string(log), "ServerAlive") {
		t.Errorf("ssh was called with %s", log)
	}
	c.run("remote", "add", "dead", "dead:x")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.FetchRemote(ctx, "dead"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a host that says nothing: %v", err)
	}
	for _, name := range []string{"", "-x", "a b", "../x", "--upload-pack=x"} {
		if c.FetchRemote(t.Context(), name) == nil || c.PushRemote(t.Context(), name, []string{"main"}) == nil {
			t.Errorf("remote %q was taken", name)
		}
	}
}

func TestSSHCommand(t *testing.T) {
	c := newClone(t)
	for _, s := range []struct{ command, config, program, want string }{
		{"", "", "", "ssh -o BatchMode=yes"},
		{"", "", "/a b/it's", `'/a b/it'\''s'`},
		{"", "/usr/bin/ssh -v", "x", "/usr/bin/ssh -v -o BatchMode=yes"},
		{"plink -x", "ssh", "x", "plink -x"},
	} {
		t.Setenv("GIT_SSH_COMMAND", s.command)
		t.Setenv("GIT_SSH", s.program)
		c.run("config", "core.sshCommand", s.config)
		c.ok(c.ReloadConfig(t.Context()))
		if got := c.SSHCommand(); !strings.HasPrefix(got, s.want) || !strings.Contains(s.want, "Batch") && got != s.want {
			t.Errorf("%+v gives %s", s, got)
		}
	}
}
