package transfer_test

import (
	"os"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
)

// TestPrioritise: what was asked for last comes first, small before large, and Next says so before.
func TestPrioritise(t *testing.T) {
	from, to := newClone(t), newClone(t)
	keys := from.put(t, random(1000, 1), random(2000, 2), random(3000, 3), random(2<<20, 4), random(3<<20, 5), random(4<<20, 6))
	n := newNetwork(t, map[string]peer{"a": honest(from, p2p.Limits{})})
	q := startQueue(t, transfer.Options{Repo: to.Repo, Holders: each(n.holders), Open: n.dial, Slots: 1})
	q.SetPaused(true)
	q.Add(jobs(keys...)...)
	q.Prioritise(keys[4])
	q.Prioritise(keys[5], keys[2], keyOf(random(10, 7))) // the last is not wanted
	want := []annex.Key{keys[2], keys[5], keys[4], keys[0], keys[1], keys[3]}
	for _, most := range []int{1, 3, 6, 100} {
		var next []annex.Key
		for _, j := range q.Next(most) {
			next = append(next, j.Key)
		}
		if !slices.Equal(next, want[:min(most, len(want))]) {
			t.Errorf("the next %d are %v, want %v", most, next, want)
		}
	}
	for i, k := range want {
		if at := q.Position(k); at != i+1 {
			t.Errorf("%v is number %d, want %d", k, at, i+1)
		}
	}
	if at := q.Position(keyOf(random(10, 7))); at != 0 {
		t.Errorf("what is not wanted is number %d", at)
	}
	q.SetPaused(false)
	q.awaitPresent(t, len(keys))
	var order []annex.Key
	for _, e := range q.told(transfer.Present) {
		order = append(order, e.Job.Key)
	}
	if !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if next := q.Next(10); len(next) > 0 {
		t.Errorf("an empty queue goes on with %v", next)
	}
}

// TestPrioritisedDoesNotWait: large content that a person asks for need not wait for large content that nobody asked for.
// That is continued afterwards.
func TestPrioritisedDoesNotWait(t *testing.T) {
	from, to := newClone(t), newClone(t)
	var large [][]byte
	for i := range 8 {
		large = append(large, random(2<<20, byte(i)))
	}
	large = append(large, random(3<<20, 9))
	keys := from.put(t, large...)
	asked := keys[8]
	limit := p2p.NewLimiter(256 << 10) // eight seconds for one of them alone
	n := newNetwork(t, map[string]peer{"a": honest(from, p2p.Limits{Up: limit})})
	q := startQueue(t, optionsFor(to, n))
	q.Add(jobs(keys[:8]...)...)
	q.await(t, "all slots to be taken", func() bool {
		running := map[annex.Key]bool{}
		for _, e := range q.told(transfer.Running) {
			running[e.Job.Key] = true
		}
		return len(running) == transfer.DefaultSlots-1
	})
	q.Add(jobs(asked)...)
	q.Prioritise(asked)
	q.await(t, "what was asked for to begin", func() bool {
		return slices.ContainsFunc(q.told(transfer.Running), func(e transfer.Event) bool { return e.Job.Key == asked })
	})
	if done := q.told(transfer.Present); len(done) > 0 {
		t.Errorf("%d came before it began", len(done))
	}
	if back := q.told(transfer.Waiting); len(back) != 1 || back[0].Bytes == 0 {
		t.Errorf("put back for it: %+v", back)
	}
	limit.SetBurst(1 << 30)
	limit.SetLimit(1 << 40)
	q.awaitPresent(t, len(keys))
	to.check(t, keys...)
	if failed := q.told(transfer.Failed); len(failed) > 0 {
		t.Errorf("to give way is a failure: %+v", failed)
	}
}

// TestRelease ends what a clone sends that is a holder no more, and only that.
func TestRelease(t *testing.T) {
	from, to := newClone(t), newClone(t)
	keys := from.put(t, random(4<<20, 1), random(5<<20, 2))
	limit := p2p.NewLimiter(1 << 20)
	serve := honest(from, p2p.Limits{Up: limit})
	n := newNetwork(t, map[string]peer{"a": serve, "b": serve})
	var paused atomic.Bool
	q := startQueue(t, transfer.Options{Repo: to.Repo, Open: n.dial, Holders: each(func(k annex.Key) []transfer.Holder {
		switch {
		case k == keys[1]:
			return []transfer.Holder{{Clone: "b"}}
		case paused.Load():
			return nil
		}
		return []transfer.Holder{{Clone: "a"}}
	})})
	q.Add(jobs(keys...)...)
	q.await(t, "both to run", func() bool { return len(q.Running()) == 2 && len(q.told(transfer.Running)) > 2 })
	paused.Store(true)
	q.Release("a", "unknown")
	q.await(t, "one to be put back", func() bool { return len(q.told(transfer.Waiting)) == 1 })
	if e := q.told(transfer.Waiting)[0]; e.Clone != "a" || e.Job.Key != keys[0] {
		t.Errorf("put back: %+v", e)
	}
	limit.SetBurst(1 << 30)
	limit.SetLimit(1 << 40)
	q.awaitPresent(t, 1)
	if next := q.Next(10); len(next) != 1 || next[0].Key != keys[0] {
		t.Errorf("%+v wait", next)
	}
	paused.Store(false)
	q.Refresh("a")
	q.awaitPresent(t, 2)
	to.check(t, keys...)
	if failed := q.told(transfer.Failed); len(failed) > 0 {
		t.Errorf("a pause is a failure: %+v", failed)
	}
}

// TestDiscard: what came of cancelled content is gone, whether it was on its way or not, and comes anew when it is wanted again.
func TestDiscard(t *testing.T) {
	from, to := newClone(t), newClone(t)
	limit := p2p.NewLimiter(2 << 20)
	keys := from.put(t, random(4<<20, 1), random(6<<20, 2))
	n := newNetwork(t, map[string]peer{"a": honest(from, p2p.Limits{Up: limit})})
	q := startQueue(t, optionsFor(to, n))
	q.Add(jobs(keys...)...)
	there := func(key annex.Key) int64 {
		fi, err := os.Stat(to.TmpPath(key))
		if err != nil {
			return 0
		}
		return fi.Size()
	}
	poll(t, "some of both", func() bool { return there(keys[0]) > 0 && there(keys[1]) > 0 })
	q.Cancel(keys[0])
	poll(t, "one to end", func() bool { return len(q.Running()) == 1 })
	if there(keys[0]) == 0 {
		t.Error("nothing was kept")
	}
	q.Discard(keys...)
	poll(t, "all to be gone", func() bool { return there(keys[0])+there(keys[1]) == 0 && len(q.Running()) == 0 })
	limit.SetLimit(1 << 40)
	limit.SetBurst(1 << 30)
	q.Add(jobs(keys...)...)
	q.awaitPresent(t, len(keys))
	q.Discard(keys...)
	to.check(t, keys...)
}

// TestCancelledLands: small content that was asked for when it was cancelled comes all the same, and that is told.
func TestCancelledLands(t *testing.T) {
	from, to := newClone(t), newClone(t)
	keys := from.put(t, random(100_000, 1), random(100_001, 2), random(100_002, 3))
	n := newNetwork(t, map[string]peer{"a": honest(from, p2p.Limits{Up: p2p.NewLimiter(200_000)})})
	o := optionsFor(to, n)
	o.Slots = 1
	q := startQueue(t, o)
	q.Add(jobs(keys...)...)
	q.await(t, "all to be asked for", func() bool { return len(q.Running()) == len(keys) && len(q.told(transfer.Running)) > 0 })
	q.Cancel(keys[:2]...)
	q.Discard(keys[2])
	q.awaitPresent(t, len(keys))
	to.check(t, keys...)
	q.stop()
	if told := q.told(transfer.Present); len(told) != len(keys) {
		t.Errorf("told of %+v", told)
	}
}
