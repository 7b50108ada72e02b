package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
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

// advanceAll has so many branches of the clone have a new commit, and gives their names.
func (c clone) advanceAll(branches int) (names []string) {
	c.t.Helper()
	head, err := c.Ref("refs/heads/main")
	if err != nil && !errors.Is(err, ErrNotFound) {
		c.t.Fatal(err)
	}
	c.write("f", "after "+head.String())
	head = c.commit("f")
	var moved []RefUpdate
	for n := range branches {
		names = append(names, fmt.Sprintf("branch-%d", n))
		ref := "refs/heads/" + names[n]
		old, err := c.Ref(ref)
		if err != nil && !errors.Is(err, ErrNotFound) {
			c.t.Fatal(err)
		}
		moved = append(moved, RefUpdate{Name: ref, New: head, Old: old})
	}
	c.ok(c.UpdateRefs(c.t.Context(), moved, ""))
	return names
}

// endings calls do with contexts that end at so many moments of the time it takes. prepare goes before each.
func endings(t *testing.T, moments int, prepare func(), do func(context.Context), check func(moment int)) {
	t.Helper()
	prepare()
	began := time.Now()
	do(t.Context())
	whole := time.Since(began)
	for i := range moments {
		prepare()
		ctx, cancel := context.WithTimeout(t.Context(), whole*time.Duration(i)/time.Duration(moments))
		do(ctx)
		cancel()
		check(i)
	}
}

// TestEndedFetchLeavesNoLocks ends fetches at many moments.
func TestEndedFetchLeavesNoLocks(t *testing.T) {
	a, b := newClone(t), newClone(t)
	endings(t, 40, func() { a.advanceAll(30) }, func(ctx context.Context) {
		near, far := net.Pipe()
		var serving sync.WaitGroup
		serving.Go(func() { _ = a.Serve(t.Context(), "git-upload-pack", far) })
		defer serving.Wait()
		_, _ = b.Fetch(ctx, "peer", near) // it may have come to its end
	}, func(moment int) {
		b.ok(filepath.WalkDir(b.path(".git/refs"), func(path string, _ fs.DirEntry, err error) error {
			if strings.HasSuffix(path, ".lock") {
				t.Errorf("ended after %d of 40 parts: %s is left", moment, path)
				return os.Remove(path)
			}
			return err
		}))
	})
}

// TestEndedPushLeavesNoLocks ends pushes to a repository of this machine at many moments: the next one moves all branches there.
func TestEndedPushLeavesNoLocks(t *testing.T) {
	a := newClone(t)
	hub(t, a)
	var names []string
	endings(t, 30, func() { names = a.advanceAll(15) }, func(ctx context.Context) {
		_ = a.PushRemote(ctx, "hub", names)
	}, func(moment int) {
		err := errors.New("not tried")
		for deadline := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(deadline); { // what the ended one has started may be at work
			err = a.PushRemote(t.Context(), "hub", names)
		}
		if err != nil {
			t.Fatalf("ended after %d of 30 parts: %v", moment, err)
		}
	})
}
