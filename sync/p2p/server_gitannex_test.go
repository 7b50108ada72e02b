package p2p_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shimmed gives the environment in which git-annex reaches this package's server when it calls ssh and git-annex-shell.
func shimmed(t *testing.T) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for _, name := range []string{"ssh", "git-annex-shell"} {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	var env []string
	for _, v := range gitEnv(t) {
		if !strings.HasPrefix(v, "PATH=") {
			env = append(env, v)
		}
	}
	// The race detector lets a program sleep for a second when it ends, unless told not to.
	return append(env, "PATH="+bin+":"+os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0")
}

// servedClone makes a repository that this package serves, and a clone of it that is git-annex's own.
func servedClone(t *testing.T) (served, clone string, env []string) {
	t.Helper()
	env = shimmed(t)
	served = newAnnex(t)
	add(t, served, "first", random(2<<20))
	clone = filepath.Join(t.TempDir(), "clone")
	gitIn(t, env, "/", "clone", "-q", "ssh://here"+served, clone)
	t.Cleanup(func() { thaw(clone) })
	gitIn(t, env, clone, "annex", "init", "-q", "clone")
	return served, clone, env
}

// TestGitAnnexAsClient has the real git-annex get, move, check and drop content through the server.
func TestGitAnnexAsClient(t *testing.T) {
	served, clone, env := servedClone(t)
	annex := func(args ...string) string {
		return gitIn(t, env, clone, append([]string{"annex"}, args...)...)
	}

	annex("get", "first")
	got, err := os.ReadFile(filepath.Join(clone, "first"))
	if err != nil || string(got) != string(random(2<<20)) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	annex("drop", "first") // the other copy is locked by LOCKCONTENT
	annex("move", "--from", "origin", "first")
	annex("move", "--to", "origin", "first")
	if in := annex("find", "--in", "origin"); in != "first" {
		t.Errorf("in origin: %q", in)
	}
	if err := os.WriteFile(filepath.Join(clone, "a second one 100%"), random(300_000), 0o644); err != nil {
		t.Fatal(err)
	}
	annex("add", "a second one 100%")
	annex("copy", "--to", "origin", "a second one 100%")
	if out := annex("fsck", "--from", "origin", "--json"); strings.Contains(out, `"success":false`) {
		t.Errorf("fsck --from: %s", out)
	}
	if out := git(t, served, "annex", "fsck", "--all", "--json"); strings.Contains(out, `"success":false`) || strings.Contains(out, "fixing") {
		t.Errorf("fsck of what was served: %s", out)
	}
}

// TestTestremote is git-annex's own test of a remote.
func TestTestremote(t *testing.T) {
	_, clone, env := servedClone(t)
	out := gitIn(t, env, clone, "annex", "testremote", "--fast", "--size=100kb", "origin")
	if !strings.Contains(out, "All ") || strings.Contains(out, "FAIL") {
		t.Errorf("testremote:\n%s", out)
	}
}
