package remote_test

import (
	"context"
	"errors"
	"os/exec"
	"testing"

	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/remote"
)

// TestLock has each kind of remote prove that it has contents. Git repositories keep them meanwhile, whoever wants to drop them there.
func TestLock(t *testing.T) { annextest.Each(t, testLock) }

func testLock(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			dir := newAnnex(t)
			k.make(t, dir)
			c := openClone(t, dir)
			s, r := c.open(t, "r"), c.remote(t, "r")
			here, absent := c.hold(t, random(1, 5000)), c.hold(t, random(2, 5000))
			if err := s.Put(t.Context(), here, "", nil); err != nil {
				t.Fatal(err)
			}
			c.record(t, here, r.UUID, true)
			c.record(t, absent, r.UUID, true) // which is not so
			dropThere := func() bool {
				cmd := exec.CommandContext(t.Context(), "git", "annex", "drop", "--force", "--from=r", "--key="+here.String())
				cmd.Dir = dir
				return cmd.Run() == nil
			}
			if !r.Prove {
				t.Fatal("it is not asked")
			}
			if _, err := s.Lock(t.Context(), absent); !errors.Is(err, p2p.ErrFailed) {
				t.Errorf("lock what is not there: %v", err)
			}
			unlock, err := s.Lock(t.Context(), here)
			if err != nil {
				t.Fatal(err)
			}
			if r.Kind == remote.SSH || r.Kind == remote.Path {
				if dropThere() {
					t.Error("it was dropped while it was locked")
				}
			}
			if err := unlock(context.WithoutCancel(t.Context())); err != nil {
				t.Fatal(err)
			}
			there(t, s, here, true)
			if !dropThere() {
				t.Error("it cannot be dropped when it is not locked any more")
			}
			if _, err := s.Lock(t.Context(), here); !errors.Is(err, p2p.ErrFailed) {
				t.Errorf("lock what has gone: %v", err)
			}
		})
	}
}
