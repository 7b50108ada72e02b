package gitrepo

import (
	"testing"
	"time"
)

// TestLocksOfBefore: locks that a git had when the machine lost power are gone when the repository is opened again. Others stay.
func TestLocksOfBefore(t *testing.T) {
	boot, ok := bootTime()
	if !ok {
		t.Fatal("the start of the machine is not known")
	}
	c := newClone(t)
	c.write("f", "1")
	c.commit("f")
	files := []string{"index", "config", "HEAD", "packed-refs", "refs/heads/main", "refs/heads/deep/er"}
	for _, name := range files {
		c.lock(name, time.Since(boot)+time.Minute)
	}
	c.lock("refs/heads/now", 0)
	c.reopen()
	for _, name := range files {
		if c.exists(".git/" + name + ".lock") {
			t.Errorf("%s is locked", name)
		}
	}
	if !c.exists(".git/refs/heads/now.lock") {
		t.Error("a lock that may be somebody's is gone")
	}
	c.write("f", "2")
	c.run("commit", "-q", "-a", "-m", "2")
}
