package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// lock makes the lock of a file of the git directory, as if that long ago.
func (c clone) lock(name string, ago time.Duration) {
	c.t.Helper()
	path := c.path(".git/" + name + ".lock")
	c.ok(os.MkdirAll(filepath.Dir(path), 0o755))
	c.ok(os.WriteFile(path, nil, 0o644))
	then := time.Now().Add(-ago)
	c.ok(os.Chtimes(path, then, then))
}

// TestLocksOfBefore: locks that a git had when the machine lost power are gone when the repository is opened again. Others stay.
func TestLocksOfBefore(t *testing.T) {
	boot, ok := bootTime()
	if !ok {
		t.Skip("the start of the machine is not known here")
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

// TestAbandonedLocks: a lock that a killed git has left on a reference of a peer is in the way once.
func TestAbandonedLocks(t *testing.T) {
	a, b := newClone(t), newClone(t)
	a.write("f", "1")
	first := a.commit("f")
	for name, attempt := range map[string]func() error{
		"fetch": func() error { _, err := b.fetchFrom("peer", a); return err },
		"update": func() error {
			return a.UpdateRefs(t.Context(), []RefUpdate{{Name: "refs/remotes/peer/main", New: first}}, "")
		},
	} {
		c := map[string]clone{"fetch": b, "update": a}[name]
		c.lock("refs/remotes/peer/main", 0)
		for range 2 {
			if attempt() == nil {
				t.Errorf("%s: a lock that may be in use does not count", name)
			}
		}
		c.lock("refs/remotes/peer/main", time.Minute)
		if err := attempt(); err == nil || name == "update" && !errors.Is(err, ErrRefMoved) {
			t.Errorf("%s: with the lock of another: %v", name, err)
		}
		if err := attempt(); err != nil {
			t.Errorf("%s: after that: %v", name, err)
		}
		if h, err := c.Ref("refs/remotes/peer/main"); err != nil || h != first {
			t.Errorf("%s: main of the peer is %s, %v", name, h, err)
		}
	}
}

// TestCancelledFetchLeavesNoLocks ends fetches at many moments.
func TestCancelledFetchLeavesNoLocks(t *testing.T) {
	a, b := newClone(t), newClone(t)
	fetch := func(ctx context.Context) error {
		near, far := net.Pipe()
		var serving sync.WaitGroup
		serving.Go(func() { _ = a.Serve(t.Context(), "git-upload-pack", far) })
		defer serving.Wait()
		_, err := b.Fetch(ctx, "peer", near)
		return err
	}
	const moments, branches = 40, 30
	whole := time.Duration(0)
	for i := range moments {
		a.write("f", strconv.Itoa(i))
		head := a.commit("f")
		var moved []RefUpdate
		for n := range branches {
			name := fmt.Sprintf("refs/heads/branch-%d", n)
			old, err := a.Ref(name)
			if err != nil && !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			moved = append(moved, RefUpdate{Name: name, New: head, Old: old})
		}
		a.ok(a.UpdateRefs(t.Context(), moved, ""))
		began := time.Now()
		if i == 0 {
			b.ok(fetch(t.Context()))
			whole = time.Since(began)
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), whole*time.Duration(i)/moments)
		_ = fetch(ctx) // or it was done before
		cancel()
		a.ok(filepath.WalkDir(b.path(".git/refs"), func(path string, _ fs.DirEntry, err error) error {
			if strings.HasSuffix(path, ".lock") {
				t.Errorf("cancelled after %d of %d parts: %s is left", i, moments, path)
				return os.Remove(path)
			}
			return err
		}))
	}
	b.ok(fetch(t.Context()))
}
