package transfer_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
)

func TestGetsAll(t *testing.T) {
	from, to := newClone(t), newClone(t)
	var contents [][]byte
	for i := range 100 {
		contents = append(contents, random(i*37, 1))
	}
	contents = append(contents, random(5<<20, 2), random(1<<20, 3))
	keys := from.put(t, contents...)
	n := newNetwork(t, map[string]peer{"a": honest(from, p2p.Limits{})})
	q := startQueue(t, optionsFor(to, n))
	q.Add(jobs(keys...)...)
	q.Add(jobs(keys...)...) // wanted is not wanted twice
	q.awaitPresent(t, len(keys))
	to.check(t, keys...)
	if jobs, bytes := q.Pending(); jobs != 0 || bytes != 0 {
		t.Errorf("pending: %d jobs, %d bytes", jobs, bytes)
	}
	if failed := q.told(transfer.Failed); len(failed) > 0 {
		t.Errorf("failed: %+v", failed)
	}
	if n.most["a"] > transfer.DefaultSlots {
		t.Errorf("%d sessions at once", n.most["a"])
	}
	q.stop()
	if present := q.told(transfer.Present); len(present) != len(keys) {
		t.Errorf("%d contents were told of as present, not %d", len(present), len(keys))
	}
	left, err := filepath.Glob(filepath.Join(to.dir, ".git/annex/tmp/*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestWhatIsHereIsPresent(t *testing.T) {
	to := newClone(t)
	keys := to.put(t, random(1000, 1))
	n := newNetwork(t, nil)
	q := startQueue(t, optionsFor(to, n))
	q.Add(jobs(keys...)...)
	q.awaitPresent(t, 1)
}

// heard keeps what a peer is told in a session.
type heard struct {
	net.Conn
	mu   *sync.Mutex
	text *strings.Builder
}

func (h heard) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text.Write(b[:n])
	return n, err
}

// TestSmallBeforeLarge: with one session, order is all there is.
func TestSmallBeforeLarge(t *testing.T) {
	from, to := newClone(t), newClone(t)
	keys := from.put(t, random(3<<20, 1), random(2000, 2), random(2<<20, 3), random(1000, 4), random(3000, 5), random(4<<20, 6))
	serve := honest(from, p2p.Limits{})
	var mu sync.Mutex
	var asked strings.Builder
	n := newNetwork(t, map[string]peer{"a": func(ctx context.Context, conn net.Conn) { serve(ctx, heard{conn, &mu, &asked}) }})
	q := startQueue(t, transfer.Options{Repo: to.Repo, Holders: each(n.holders), Open: n.dial, Slots: 1})
	q.SetPaused(true)
	wanted := jobs(keys...)
	wanted[5].Urgent = true
	q.Add(wanted...)
	q.SetPaused(false)
	q.awaitPresent(t, len(keys))
	to.check(t, keys...)
	mu.Lock()
	defer mu.Unlock()
	order := slices.SortedFunc(slices.Values(keys), func(a, b annex.Key) int {
		return strings.Index(asked.String(), a.String()) - strings.Index(asked.String(), b.String())
	})
	want := []annex.Key{keys[5], keys[3], keys[1], keys[4], keys[2], keys[0]}
	if !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

// TestLargeDoesNotBlockSmall: however many large ones are on their way, a small one passes.
func TestLargeDoesNotBlockSmall(t *testing.T) {
	from, to := newClone(t), newClone(t)
	var large [][]byte
	for i := range 8 {
		large = append(large, random(2<<20, byte(i)))
	}
	keys := from.put(t, append(large, random(1000, 9))...)
	slow := honest(from, p2p.Limits{Up: p2p.NewLimiter(64 << 10)}) // a large one takes half a minute
	n := newNetwork(t, map[string]peer{"a": slow})
	q := startQueue(t, optionsFor(to, n))
	q.Add(jobs(keys[:8]...)...)
	q.await(t, "large ones to begin", func() bool { return len(q.told(transfer.Running)) > 0 })
	q.Add(jobs(keys[8])...)
	q.awaitPresent(t, 1)
	if got := q.told(transfer.Present)[0].Job.Key; got != keys[8] {
		t.Errorf("first came %s", got)
	}
}

// TestCheapestFirst: a dearer holder is asked only for what the cheaper one cannot give.
func TestCheapestFirst(t *testing.T) {
	cheap, dear, to := newClone(t), newClone(t), newClone(t)
	both := [][]byte{random(1000, 1), random(2000, 2), random(2<<20, 3)}
	cheap.put(t, both...)
	keys := dear.put(t, append(both, random(3000, 4))...)
	n := newNetwork(t, map[string]peer{"cheap": honest(cheap, p2p.Limits{}), "dear": honest(dear, p2p.Limits{})})
	n.costs["dear"] = 100
	q := startQueue(t, optionsFor(to, n))
	q.Add(jobs(keys...)...)
	q.awaitPresent(t, len(keys))
	for _, e := range q.told(transfer.Present) {
		if want := map[bool]string{true: "dear", false: "cheap"}[e.Job.Key == keys[3]]; e.Clone != want {
			t.Errorf("%s came from %s", e.Job.Key, e.Clone)
		}
	}
	if n.opened["dear"] > 1 {
		t.Errorf("%d sessions with the dear holder for one content", n.opened["dear"])
	}
}

// TestDeadHolderBlocksNobody: one holder that cannot be reached costs nothing, and is not hammered.
func TestDeadHolderBlocksNobody(t *testing.T) {
	from, to := newClone(t), newClone(t)
	keys := from.put(t, random(1000, 1), random(2<<20, 2))
	n := newNetwork(t, map[string]peer{"dead": nil, "live": honest(from, p2p.Limits{})})
	n.costs["live"] = 1
	q := startQueue(t, transfer.Options{
		Repo: to.Repo, Holders: each(n.holders), Open: n.dial,
		Retry: transfer.Retry{First: time.Hour, Longest: time.Hour},
	})
	q.Add(jobs(keys...)...)
	q.awaitPresent(t, 2)
	if n.opened["dead"] != 1 {
		t.Errorf("the dead holder was tried %d times", n.opened["dead"])
	}
	// It comes back: now its failure is forgotten.
	n.set("dead", honest(from, p2p.Limits{}))
	n.set("live", nil)
	n.costs["live"] = 2
	more := from.put(t, random(5000, 3))
	q.Refresh("dead")
	q.Add(jobs(more...)...)
	q.awaitPresent(t, 3)
}

// TestTriesAgain: with a single holder, which comes back by itself.
func TestTriesAgain(t *testing.T) {
	from, to := newClone(t), newClone(t)
	keys := from.put(t, random(1000, 1))
	n := newNetwork(t, map[string]peer{"a": nil})
	q := startQueue(t, transfer.Options{Repo: to.Repo, Holders: each(n.holders), Open: func(ctx context.Context, name string) (*p2p.Client, error) {
		c, err := n.dial(ctx, name)
		if n.opened[name] == 3 {
			n.set("a", honest(from, p2p.Limits{}))
		}
		return c, err
	}})
	q.Add(jobs(keys...)...)
	q.awaitPresent(t, 1)
}

// TestUnusedSessionThatEnded: a session the holder closed between two jobs is no failure.
func TestUnusedSessionThatEnded(t *testing.T) {
	from, to := newClone(t), newClone(t)
	keys := from.put(t, random(1000, 1), random(2000, 2))
	serve := honest(from, p2p.Limits{})
	ended := make(chan struct{}, 10)
	n := newNetwork(t, map[string]peer{"a": func(ctx context.Context, conn net.Conn) {
		_ = conn.SetDeadline(time.Now().Add(200 * time.Millisecond))
		serve(ctx, conn)
		_ = conn.Close()
		ended <- struct{}{}
	}})
	q := startQueue(t, transfer.Options{
		Repo: to.Repo, Holders: each(n.holders), Open: n.dial,
		Retry: transfer.Retry{First: time.Hour, Longest: time.Hour},
	})
	q.Add(jobs(keys[0])...)
	q.awaitPresent(t, 1)
	<-ended
	q.Add(jobs(keys[1])...)
	q.awaitPresent(t, 2)
	if failed := q.told(transfer.Failed); len(failed) > 0 {
		t.Errorf("failed: %+v", failed)
	}
}

func TestCancelAndPause(t *testing.T) {
	from, to := newClone(t), newClone(t)
	limit := p2p.NewLimiter(2 << 20)
	keys := from.put(t, random(4<<20, 1), random(6<<20, 2))
	n := newNetwork(t, map[string]peer{"a": honest(from, p2p.Limits{Up: limit})})
	q := startQueue(t, optionsFor(to, n))
	q.Add(jobs(keys...)...)
	q.await(t, "both to run", func() bool { return len(q.Running()) == 2 && len(q.told(transfer.Running)) > 2 })
	q.Cancel(keys[0])
	q.await(t, "one to run", func() bool { return len(q.Running()) == 1 })
	q.SetPaused(true)
	poll(t, "none to run", func() bool { return len(q.Running()) == 0 })
	if jobs, _ := q.Pending(); jobs != 1 {
		t.Errorf("%d jobs are pending", jobs)
	}
	kept, err := os.Stat(to.TmpPath(keys[1]))
	if err != nil || kept.Size() == 0 {
		t.Fatalf("nothing was kept: %v", err)
	}
	before := len(q.told(transfer.Running))
	limit.SetLimit(1 << 40)
	limit.SetBurst(1 << 30)
	q.SetPaused(false)
	q.awaitPresent(t, 1)
	if failed := q.told(transfer.Failed); len(failed) > 0 {
		t.Errorf("a pause or a cancellation is a failure: %+v", failed)
	}
	for _, e := range q.told(transfer.Running)[before:] {
		if e.Bytes < kept.Size() {
			t.Errorf("went on from byte %d, not %d", e.Bytes, kept.Size())
		}
	}
	to.check(t, keys[1])
	if to.Has(keys[0]) {
		t.Error("what was cancelled came")
	}
}

// poll waits for a condition that no event tells of.
func poll(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

func TestNoRoom(t *testing.T) {
	from, to := newClone(t), newClone(t, "diskreserve", "1000 petabytes")
	keys := from.put(t, random(1000, 1), random(2<<20, 2))
	n := newNetwork(t, map[string]peer{"a": honest(from, p2p.Limits{})})
	q := startQueue(t, optionsFor(to, n))
	q.Add(jobs(keys...)...)
	q.await(t, "no room", func() bool { return len(q.told(transfer.NoRoom)) == 2 })
	for _, e := range q.told(transfer.NoRoom) {
		if !errors.Is(e.Err, annex.ErrNoRoom) {
			t.Errorf("%v", e.Err)
		}
	}
	gitRun(t, to.dir, "config", "annex.diskreserve", "1 mb")
	if err := to.git.ReloadConfig(t.Context()); err != nil {
		t.Fatal(err)
	}
	q.Refresh()
	q.awaitPresent(t, 2)
	to.check(t, keys...)
}

func TestLocalFile(t *testing.T) {
	to := newClone(t)
	right, wrong := random(2<<20, 1), random(2<<20, 2)
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "missing"), dir, filepath.Join(dir, "wrong"), filepath.Join(dir, "right")}
	for i, content := range [][]byte{wrong, right} {
		if err := os.WriteFile(paths[2+i], content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n := newNetwork(t, nil)
	q := startQueue(t, transfer.Options{Repo: to.Repo, Holders: each(n.holders), Open: n.dial, Local: func(annex.Key) []string { return paths }})
	key := keyOf(right)
	q.Add(jobs(key)...)
	q.awaitPresent(t, 1)
	to.check(t, key)
}

// TestEventsAreFew: at most ten a second for one transfer.
func TestEventsAreFew(t *testing.T) {
	from, to := newClone(t), newClone(t)
	keys := from.put(t, random(4<<20, 1))
	n := newNetwork(t, map[string]peer{"a": honest(from, p2p.Limits{Up: p2p.NewLimiter(8 << 20)})})
	begun := time.Now()
	q := startQueue(t, optionsFor(to, n))
	q.Add(jobs(keys...)...)
	q.awaitPresent(t, 1)
	took := time.Since(begun)
	events := q.told(transfer.Running)
	if most := int(took/(100*time.Millisecond)) + 1; len(events) == 0 || len(events) > most {
		t.Errorf("%d events in %v", len(events), took)
	}
	last := int64(-1)
	for _, e := range events {
		if e.Bytes < last || e.Bytes > e.Size || e.Rate < 0 || e.Clone != "a" {
			t.Errorf("event %+v after %d bytes", e, last)
		}
		last = e.Bytes
	}
}

// TestFailedTakeTurns: two cheap holders that fail, each ready again when the other has failed, do not keep a job from a dear one,
// also when that has failed once.
func TestFailedTakeTurns(t *testing.T) {
	from := newClone(t)
	key := from.put(t, random(2*mib, 1))[0]
	for name, bad := range map[string]peer{"sessions": nil, "contents": faults(nil)["absent"]} {
		t.Run(name, func(t *testing.T) {
			to := newClone(t)
			var asked atomic.Int32
			dear := func(ctx context.Context, conn net.Conn) {
				if asked.Add(1) > 1 {
					honest(from, p2p.Limits{})(ctx, conn)
				}
			}
			n := newNetwork(t, map[string]peer{"bad": bad, "worse": bad, "dear": dear})
			n.costs["dear"] = 1
			o := optionsFor(to, n)
			o.Retry = transfer.Retry{First: 1, Longest: 1} // they are ready at once
			q := startQueue(t, o)
			q.Add(jobs(key)...)
			q.awaitPresent(t, 1)
			q.stop()
			if bad, worse := n.opened["bad"], n.opened["worse"]; bad > 3 || worse > 3 {
				t.Errorf("the others were asked %d and %d times", bad, worse)
			}
		})
	}
}
