package gitrepo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// victimEnv names the repository that a test process started to be killed works in.
const victimEnv = "ARBOR_TEST_VICTIM"

// victim goes back and forth between two commits, and makes commits of its own, until it is killed.
func victim(dir string) error {
	ctx := context.Background()
	r, err := Open(ctx, dir)
	if err != nil {
		return err
	}
	targets := make([]Hash, 2)
	for i := range targets {
		if targets[i], err = r.Ref(fmt.Sprint("refs/tags/target", i)); err != nil {
			return err
		}
	}
	for i := 0; ; i++ {
		_, head, err := r.Head(ctx)
		if err != nil {
			return err
		}
		m, err := r.NewCommit(ctx, NewCommit{Parents: []Hash{head}, Tree: mustTree(r, targets[i%2]), Message: fmt.Sprint("step ", i)})
		if err != nil {
			return err
		}
		if err := checkOutAndAdvance(ctx, r, "refs/heads/main", head, m); err != nil {
			return err
		}
	}
}

func mustTree(r *Repo, commit Hash) Hash {
	c, err := r.Commit(commit)
	if err != nil {
		panic(err)
	}
	return c.Tree
}

// TestKilled kills a process at any moment of checking out and advancing. Whatever it was doing, a person's own changes
// are there, git works, and a restart goes on from what is on disk.
func TestKilled(t *testing.T) {
	c := newClone(t)
	base := c.make(nil, map[string]string{"a": "0", "d/x": "0", "keep": "k"})
	one := c.make([]Hash{base}, map[string]string{"a": "1", "d/x": "", "d": "now a file", "e/f/g": "1"})
	two := c.make([]Hash{base}, map[string]string{"a": "2", "d/x": "2", "d/y": "2", "b": "2"})
	c.checkout(base)
	for i, h := range []Hash{one, two} {
		c.run("tag", fmt.Sprint("target", i), h.String())
	}
	c.write("mine", "untracked")
	c.write("keep", "edited by a person")
	for i := range 12 {
		cmd := exec.Command(os.Args[0])
		cmd.Stderr = t.Output()
		cmd.Env = append(os.Environ(), victimEnv+"="+c.Dir())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		died := make(chan error, 1)
		go func() { died <- cmd.Wait() }()
		select {
		case err := <-died:
			t.Fatalf("the victim ended by itself: %v", err)
		case <-time.After(time.Duration(25+i*7) * time.Millisecond):
		}
		c.ok(cmd.Process.Kill())
		if err := <-died; err == nil {
			t.Error("the victim survived")
		}

		c = c.reopen()
		if c.read("mine") != "untracked" || c.read("keep") != "edited by a person" {
			t.Fatal("a person's change is gone")
		}
		if lost, err := c.Lost(); len(lost) > 0 || err != nil {
			t.Errorf("kept aside: %q, %v", lost, err)
		}
		if c.IndexLocked() {
			t.Error("index.lock is left")
		}
		if out, err := c.try("fsck", "--strict", "--no-dangling"); err != nil {
			t.Fatalf("git fsck: %v\n%s", err, out)
		}
		// The restart: what is on disk and not in HEAD is committed, beside the person's two files.
		dirty, err := c.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		dirty = slices.DeleteFunc(dirty, func(p string) bool { return p == "mine" || p == "keep" })
		c.commit(dirty...)
		if got, err := c.Status(t.Context()); err != nil || !slices.Equal(got, []string{"keep", "mine"}) {
			t.Errorf("after the restart differ %q, %v", got, err)
		}
	}
}
