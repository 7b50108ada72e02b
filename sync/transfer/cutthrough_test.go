package transfer_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
)

// chain has each but the first of the named nodes get content from the one before it, and the others from those before.
func chain(t testing.TB, content []byte, names ...string) (*site, annex.Key) {
	t.Helper()
	s := newSite(t, names...)
	key := s.nodes[names[0]].put(t, content)[0]
	for i, name := range names[1:] {
		var holders []transfer.Holder
		for k := i; k >= 0; k-- {
			holders = append(holders, transfer.Holder{Clone: names[k], Partial: k > 0})
		}
		s.nodes[name].start(holders...)
	}
	return s, key
}

// TestChainOfFive: the last of the chain has begun while the first has not sent half; each byte crosses each hop once.
func TestChainOfFive(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f"}
	content := random(8*mib+77, 1)
	s, key := chain(t, content, names...)
	s.nodes["b"].came["a"].hold(3 * mib)
	for _, name := range names[1:] {
		s.nodes[name].q.Add(jobs(key)...)
	}
	for i := range names[1:] {
		s.nodes[names[i+1]].came[names[i]].reach(t, mib)
	}
	for _, name := range names[1:] {
		if s.nodes[name].Has(key) {
			t.Errorf("%s has an object of a part", name)
		}
	}
	s.nodes["b"].came["a"].hold(0)
	for i, name := range names[1:] {
		n := s.nodes[name]
		n.q.awaitPresent(t, 1)
		n.check(t, key)
		for from, c := range n.came {
			came, sessions := c.total()
			if from != names[i] && sessions > 0 || came > int64(len(content))+overhead {
				t.Errorf("%s got %d bytes from %s in %d sessions", name, came, from, sessions)
			}
		}
	}
}

// TestRelayDies: its child goes on with the next holder where it was, and the child's own child notices nothing.
func TestRelayDies(t *testing.T) {
	content := random(8*mib+77, 2)
	s, key := chain(t, content, "a", "b", "c", "d")
	s.nodes["b"].came["a"].hold(4 * mib)
	for _, name := range []string{"b", "c", "d"} {
		s.nodes[name].q.Add(jobs(key)...)
	}
	s.nodes["d"].came["c"].reach(t, 2*mib)
	s.nodes["b"].kill()
	for _, name := range []string{"c", "d"} {
		s.nodes[name].q.awaitPresent(t, 1)
		s.nodes[name].check(t, key)
	}
	c, d := s.nodes["c"], s.nodes["d"]
	first, _ := c.came["b"].total()
	second, _ := c.came["a"].total()
	if first < 2*mib || first+second > int64(len(content))+mib+2*overhead {
		t.Errorf("%d bytes came, and then %d, of %d", first, second, len(content))
	}
	if came, sessions := d.came["c"].total(); sessions != 1 || came > int64(len(content))+overhead {
		t.Errorf("the next one got %d bytes in %d sessions", came, sessions)
	}
}

// TestSourceDies: when nobody has the rest, all keep what they have, and go on when somebody comes.
func TestSourceDies(t *testing.T) {
	t.Parallel()
	content := random(6*mib+77, 3)
	s := newSite(t, "a", "b", "c")
	a, b, c := s.nodes["a"], s.nodes["b"], s.nodes["c"]
	key := a.put(t, content)[0]
	for _, n := range []*node{b, c} {
		n.retry = transfer.Retry{First: 10 * time.Millisecond, Longest: 50 * time.Millisecond}
	}
	b.start(transfer.Holder{Clone: "a"})
	c.start(transfer.Holder{Clone: "b", Partial: true}, transfer.Holder{Clone: "a"})
	b.came["a"].hold(3 * mib)
	b.q.Add(jobs(key)...)
	c.q.Add(jobs(key)...)
	c.came["b"].reach(t, 2*mib)
	a.kill()
	b.q.await(t, "the failure", func() bool { return len(b.q.told(transfer.Failed)) > 0 })
	c.q.await(t, "the failure", func() bool { return len(c.q.told(transfer.Failed)) > 0 })
	a.mu.Lock()
	a.serve = func(ctx context.Context, conn net.Conn) { _ = a.server.ServeAuthed(ctx, conn, "client") }
	a.mu.Unlock()
	for _, n := range []*node{b, c} {
		n.q.awaitPresent(t, 1)
		n.check(t, key)
		var came int64
		for _, from := range n.came {
			bytes, sessions := from.total()
			came += bytes - int64(sessions)*overhead
		}
		if came > int64(len(content))+mib {
			t.Errorf("%s: %d bytes came for %d", n.name, came, len(content))
		}
	}
}

// TestNobodyWaitsForHimself: a parent that lost its source does not wait for its child.
func TestNobodyWaitsForHimself(t *testing.T) {
	content := random(6*mib+77, 4)
	s := newSite(t, "a", "b", "c", "z")
	key := s.nodes["a"].put(t, content)[0]
	s.nodes["z"].put(t, content)
	b, c := s.nodes["b"], s.nodes["c"]
	b.start(transfer.Holder{Clone: "a"}, transfer.Holder{Clone: "c", Partial: true}, transfer.Holder{Clone: "z"})
	c.start(transfer.Holder{Clone: "b", Partial: true})
	b.came["a"].hold(3 * mib)
	b.q.Add(jobs(key)...)
	c.q.Add(jobs(key)...)
	c.came["b"].reach(t, 2*mib)
	s.nodes["a"].kill()
	for _, n := range []*node{b, c} {
		n.q.awaitPresent(t, 1)
		n.check(t, key)
	}
	if failed := b.q.told(transfer.Failed); len(failed) != 2 || !errors.Is(failed[1].Err, p2p.ErrCircular) {
		t.Errorf("failed: %+v", failed)
	}
	if failed := c.q.told(transfer.Failed); len(failed) != 0 {
		t.Errorf("the child was told: %+v", failed)
	}
}

// TestParentIsAskedEarly: content is asked for before the parent has begun to receive it.
func TestParentIsAskedEarly(t *testing.T) {
	content := random(3*mib+77, 5)
	s, key := chain(t, content, "a", "b", "c")
	b, c := s.nodes["b"], s.nodes["c"]
	c.q.Add(jobs(key)...)
	c.came["b"].reach(t, 1) // the greeting
	b.q.Add(jobs(key)...)
	c.q.awaitPresent(t, 1)
	if e := c.q.told(transfer.Present)[0]; e.Clone != "b" {
		t.Errorf("it came from %s", e.Clone)
	}
}

// lying is a peer that offers this list for whatever it is asked for, sends this content, and goes.
func lying(list, content []byte) peer {
	return func(_ context.Context, conn net.Conn) {
		_, _ = io.WriteString(conn, "AUTH-SUCCESS liar\nVERSION 4\n")
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			switch verb, _, _ := strings.Cut(lines.Text(), " "); verb {
			case "ARBOR-BLOCKS":
				_, _ = fmt.Fprintf(conn, "ARBOR-LIST %d\n%s", len(list), list)
			case "ARBOR-FROM":
				_, _ = fmt.Fprintf(conn, "DATA %d\n%sVALID\n", len(content), content)
				return
			}
		}
	}
}

// TestLyingHolder: who lies is asked once, and costs at most what it has sent.
func TestLyingHolder(t *testing.T) {
	content, other := random(4*mib+77, 6), random(4*mib+77, 7)
	list := func(content []byte) []byte {
		v := keyOf(content).Verifier()
		_, _ = v.Write(content)
		return v.Blocks().Bytes()
	}
	wrong := bytes.Clone(content)
	wrong[2*mib+5] ^= 1
	for name, liar := range map[string]peer{
		"a bad block":         lying(list(content), wrong),
		"a bad list":          lying(list(wrong), content),
		"another key":         lying(list(other), other),
		"a list of no length": lying(nil, content),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "good", "liar", "to")
			key := s.nodes["good"].put(t, content)[0]
			s.nodes["liar"].serve = liar
			to := s.nodes["to"]
			to.start(transfer.Holder{Clone: "liar"})
			to.q.Add(jobs(key)...)
			to.q.await(t, "the lie to be found out", func() bool { return len(to.q.told(transfer.Failed)) == 1 })
			if name != "a list of no length" {
				if err := to.q.told(transfer.Failed)[0].Err; !errors.Is(err, p2p.ErrLied) {
					t.Errorf("%v", err)
				}
				to.q.Refresh("liar") // is to change nothing
			}
			to.mu.Lock()
			to.holders = []transfer.Holder{{Clone: "liar"}, {Clone: "good", Cost: 1}}
			to.mu.Unlock()
			to.q.Refresh()
			to.q.awaitPresent(t, 1)
			to.check(t, key)
			if _, sessions := to.came["liar"].total(); sessions != 1 {
				t.Errorf("the liar was asked %d times", sessions)
			}
		})
	}
}

// TestLieInGoodFaith: a relay that was lied to is asked again when it has the content.
func TestLieInGoodFaith(t *testing.T) {
	content, other := random(3*mib+77, 8), random(3*mib+77, 9)
	v := keyOf(other).Verifier()
	_, _ = v.Write(other)
	s := newSite(t, "relay", "to")
	honestly := s.nodes["relay"].serve
	s.nodes["relay"].serve = lying(v.Blocks().Bytes(), other)
	to := s.nodes["to"]
	to.start(transfer.Holder{Clone: "relay", Partial: true})
	key := keyOf(content)
	to.q.Add(jobs(key)...)
	to.q.await(t, "the lie to be found out", func() bool { return len(to.q.told(transfer.Failed)) == 1 })
	s.nodes["relay"].put(t, content)
	s.nodes["relay"].mu.Lock()
	s.nodes["relay"].serve = honestly
	s.nodes["relay"].mu.Unlock()
	to.mu.Lock()
	to.holders = []transfer.Holder{{Clone: "relay"}}
	to.mu.Unlock()
	to.q.Refresh("relay")
	to.q.awaitPresent(t, 1)
	to.check(t, key)
}

// TestSlowParent: one that brings less than half of what was promised loses to the next, which goes on at the byte reached.
func TestSlowParent(t *testing.T) {
	t.Parallel()
	content := random(4*mib+77, 10)
	for _, name := range []string{"slow", "stalls"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "slow", "next", "to")
			key := s.nodes["slow"].put(t, content)[0]
			s.nodes["next"].put(t, content)
			to := s.nodes["to"]
			switch name {
			case "slow":
				s.nodes["slow"].server.Limits.Up = p2p.NewLimiter(200 << 10)
			case "stalls":
				to.came["slow"].hold(mib + mib/2)
			}
			to.start(transfer.Holder{Clone: "slow", Rate: 4 << 20}, transfer.Holder{Clone: "next", Rate: 4 << 20})
			to.q.Add(jobs(key)...)
			to.q.awaitPresent(t, 1)
			to.check(t, key)
			first, _ := to.came["slow"].total()
			second, _ := to.came["next"].total()
			if first == 0 || first+second > int64(len(content))+mib+2*overhead {
				t.Errorf("%d bytes came, and then %d, of %d", first, second, len(content))
			}
			if e := to.q.told(transfer.Present)[0]; e.Clone != "next" {
				t.Errorf("the rest came from %s", e.Clone)
			}
		})
	}
}

// TestOwnLimitIsNoFault: a parent is not left because of a limit here, nor when the next one promises no more than it brings.
func TestOwnLimitIsNoFault(t *testing.T) {
	t.Parallel()
	content := random(3*mib+77, 11)
	for name, test := range map[string]struct {
		up, down *p2p.Limits
		next     float64
	}{
		"a limit here":   {nil, &p2p.Limits{Down: p2p.NewLimiter(mib)}, 4 << 20},
		"nobody better":  {&p2p.Limits{Up: p2p.NewLimiter(mib)}, nil, mib / 2},
		"what it may be": {&p2p.Limits{Up: p2p.NewLimiter(mib)}, nil, 4 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "parent", "next", "to")
			key := s.nodes["parent"].put(t, content)[0]
			s.nodes["next"].put(t, content)
			if test.up != nil {
				s.nodes["parent"].server.Limits = *test.up
			}
			to := s.nodes["to"]
			if test.down != nil {
				to.limits = *test.down
			}
			rate := 4.0 * mib
			if name == "what it may be" {
				rate = 1.2 * mib
			}
			to.start(transfer.Holder{Clone: "parent", Rate: rate}, transfer.Holder{Clone: "next", Rate: test.next})
			to.q.Add(jobs(key)...)
			to.q.awaitPresent(t, 1)
			if e := to.q.told(transfer.Present)[0]; e.Clone != "parent" {
				t.Errorf("it came from %s", e.Clone)
			}
		})
	}
}

// TestSmallContentOfARelay: what has no blocks is asked of those that have all of it.
func TestSmallContentOfARelay(t *testing.T) {
	s := newSite(t, "relay", "source", "to")
	keys := s.nodes["source"].put(t, random(1000, 12), random(mib, 13))
	to := s.nodes["to"]
	to.start(transfer.Holder{Clone: "relay", Partial: true}, transfer.Holder{Clone: "source"})
	to.q.Add(jobs(keys...)...)
	to.q.awaitPresent(t, 2)
	if _, sessions := to.came["relay"].total(); sessions > 0 {
		t.Error("the relay was asked")
	}
	for _, e := range to.q.told(transfer.Failed) {
		t.Errorf("failed: %+v", e)
	}
}
