package p2p_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
)

// TestLocker locks contents at some of several clones, of which one lacks them, one is removing them, and one cannot be reached.
func TestLocker(t *testing.T) {
	servers := map[string]*p2p.Server{}
	var key, second annex.Key
	for _, clone := range []string{"a", "b", "removing", "lacking"} {
		servers[clone] = openServer(t, newRepo(t))
		if clone != "lacking" {
			key, second = hold(t, servers[clone].Annex, random(1000)), hold(t, servers[clone].Annex, random(2000))
		}
	}
	removal, err := servers["removing"].Annex.LockForRemoval(key)
	if err != nil {
		t.Fatal(err)
	}
	defer removal.Release()
	unreachable := errors.New("unreachable")
	opened := make(chan string, 100)
	l := &p2p.Locker{Open: func(ctx context.Context, clone string) (p2p.LockSession, error) {
		opened <- clone
		s := servers[clone]
		if s == nil {
			return nil, unreachable
		}
		conn, _ := serve(t, s)
		return p2p.NewClient(ctx, conn, p2p.ClientOptions{Self: clientUUID, Greeted: true})
	}}
	defer l.Close()
	removable := func(clone string, key annex.Key) bool {
		removal, err := servers[clone].Annex.LockForRemoval(key)
		if err != nil && !errors.Is(err, annex.ErrInUse) {
			t.Fatal(err)
		}
		if removal != nil {
			removal.Release()
		}
		return err == nil
	}

	first := l.Lock(t.Context(), key, 1, []string{"a", "b"})
	if !slices.Equal(first.Held, []string{"a"}) || len(first.Failed) > 0 {
		t.Errorf("one of two: %v, %v", first.Held, first.Failed)
	}
	if removable("a", key) || !removable("b", key) || !removable("a", second) {
		t.Error("not just the content that is locked is kept, where it is locked")
	}
	other := l.Lock(t.Context(), second, 1, []string{"a"})
	if !slices.Equal(other.Held, []string{"a"}) {
		t.Errorf("another content meanwhile: %v, %v", other.Held, other.Failed)
	}
	first.Unlock()
	other.Unlock()
	waitFor(t, "the locks to go", func() bool { return removable("a", key) && removable("a", second) })

	many := l.Lock(t.Context(), key, 3, []string{"a", "removing", "lacking", "nowhere", "b"})
	slices.Sort(many.Held)
	if !slices.Equal(many.Held, []string{"a", "b"}) || len(many.Failed) != 3 || !errors.Is(many.Failed["nowhere"], unreachable) ||
		!errors.Is(many.Failed["removing"], p2p.ErrFailed) || !errors.Is(many.Failed["lacking"], p2p.ErrFailed) {
		t.Errorf("three of five: %v, %v", many.Held, many.Failed)
	}
	many.Unlock()
	if none := l.Lock(t.Context(), key, 0, []string{"a"}); len(none.Held)+len(none.Failed) > 0 {
		t.Errorf("nobody was to be asked: %v, %v", none.Held, none.Failed)
	}
	if tiers := l.Lock(t.Context(), key, 1, []string{"a"}, []string{"b"}); !slices.Equal(tiers.Held, []string{"a"}) {
		t.Errorf("with one in the first tier that suffices: %v, %v", tiers.Held, tiers.Failed)
	} else {
		tiers.Unlock()
	}
	tiers := l.Lock(t.Context(), key, 2, []string{"lacking", "nowhere", "a"}, []string{"b"})
	slices.Sort(tiers.Held)
	if !slices.Equal(tiers.Held, []string{"a", "b"}) || !errors.Is(tiers.Failed["nowhere"], unreachable) {
		t.Errorf("with one in the first tier that does not suffice: %v, %v", tiers.Held, tiers.Failed)
	}
	tiers.Unlock()
	close(opened)
	sessions, tries := 0, 0
	for clone := range opened {
		if clone == "a" {
			sessions++
		}
		if clone == "nowhere" {
			tries++
		}
	}
	if tries != 1 {
		t.Errorf("who cannot be reached was tried %d times", tries)
	}
	if sessions != 2 {
		t.Errorf("%d sessions with a, for two contents at once", sessions)
	}
}

// TestRemoveAsked has clients ask for removals that the server checks.
func TestRemoveAsked(t *testing.T) {
	dir := newRepo(t)
	s := openServer(t, dir)
	c, ctx := dial(t, s, p2p.MaxVersion), t.Context()
	key := hold(t, s.Annex, random(1000))
	locations := func(news ...annex.Location) {
		t.Helper()
		if _, err := s.Annex.Record(ctx, news); err != nil {
			t.Fatal(err)
		}
	}
	locations(annex.Location{Key: key, UUID: s.UUID, Present: true})
	git(t, dir, "annex", "numcopies", "2")
	if _, err := c.Remove(ctx, key); !errors.Is(err, p2p.ErrFailed) || !s.Annex.Has(key) {
		t.Errorf("with one other copy of two: %v", err)
	}
	locations(annex.Location{Key: key, UUID: "77777777-7777-4888-8999-aaaaaaaaaaaa", Present: true})
	if _, err := c.RemoveBefore(ctx, key, 0); !errors.Is(err, p2p.ErrFailed) || !s.Annex.Has(key) {
		t.Errorf("too late: %v", err)
	}
	if _, err := c.Remove(ctx, key); err != nil || s.Annex.Has(key) {
		t.Errorf("with two: %v", err)
	}
	who, err := s.Annex.Locations(ctx, key)
	if err != nil || slices.Contains(who, s.UUID) {
		t.Errorf("by the location log it is at %v, %v", who, err)
	}
}
