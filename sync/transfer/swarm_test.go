package transfer_test

import (
	"bytes"
	"context"
	"net"
	"slices"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
)

// swarm has a node get content of 40 blocks and a bit from the others that are named, which all have it.
func swarm(t testing.TB, content []byte, names ...string) (*site, *node, annex.Key) {
	t.Helper()
	s := newSite(t, slices.Concat(names, []string{"to"})...)
	holders := make([]transfer.Holder, 0, len(names))
	for _, name := range names {
		s.nodes[name].put(t, content)
		holders = append(holders, transfer.Holder{Clone: name, Beside: true})
	}
	to := s.nodes["to"]
	to.start(holders...)
	return s, to, keyOf(content)
}

// once checks that the content is there, and how many bytes came more than it has.
func once(t *testing.T, to *node, content []byte, more int64) {
	t.Helper()
	to.check(t, keyOf(content))
	var all int64
	for _, from := range to.came {
		came, sessions := from.total()
		all += came - int64(sessions)*overhead
	}
	if all > int64(len(content))+more {
		t.Errorf("%d bytes came for %d", all, len(content))
	}
}

// TestSwarm: all who have a large content bring parts of it, and nothing comes twice.
func TestSwarm(t *testing.T) {
	content := random(40*mib+77, 20)
	s, to, key := swarm(t, content, "a", "b", "c")
	for _, name := range []string{"a", "b", "c"} {
		s.nodes[name].server.Limits.Up = p2p.NewLimiter(16 * mib)
	}
	to.q.Add(jobs(key)...)
	to.q.awaitPresent(t, 1)
	once(t, to, content, 0)
	for _, name := range []string{"a", "b", "c"} {
		if came, _ := to.came[name].total(); came < 4*mib {
			t.Errorf("%s has brought %d bytes", name, came)
		}
	}
	if failed := to.q.told(transfer.Failed); len(failed) > 0 {
		t.Errorf("failed: %+v", failed)
	}
}

// TestSwarmLoses: whoever of the swarm dies, stalls or lies, the others bring what is missing, and little of what came is lost.
func TestSwarmLoses(t *testing.T) {
	content := random(40*mib+77, 21)
	wrong := bytes.Clone(content)
	for i := range 41 {
		wrong[min(i*mib+1000, len(wrong)-1)] ^= 1
	}
	v := keyOf(content).Verifier()
	_, _ = v.Write(content)
	list := v.Blocks().Bytes()
	for _, loser := range []string{"a", "b"} { // the first, and who came to help
		for name, lose := range map[string]func(s *site, to *node){
			"dies":   func(s *site, to *node) { to.came[loser].reach(t, 6*mib); s.nodes[loser].kill() },
			"stalls": func(_ *site, to *node) { to.came[loser].hold(6*mib + mib/2) },
			"lies": func(s *site, _ *node) {
				liar := blocksOf(func(annex.Key) ([]byte, []byte) { return list, wrong })
				s.nodes[loser].serve = func(ctx context.Context, conn net.Conn) { liar(ctx, conn) }
			},
		} {
			t.Run(loser+" "+name, func(t *testing.T) {
				s, to, key := swarm(t, content, "a", "b", "c")
				for _, name := range []string{"a", "b", "c"} {
					s.nodes[name].server.Limits.Up = p2p.NewLimiter(16 * mib)
				}
				if name == "dies" {
					to.q.Add(jobs(key)...)
					lose(s, to)
				} else {
					lose(s, to)
					to.q.Add(jobs(key)...)
				}
				to.q.awaitPresent(t, 1)
				once(t, to, content, 3*mib)
				if name == "lies" {
					if _, sessions := to.came[loser].total(); sessions != 1 {
						t.Errorf("the liar was asked %d times", sessions)
					}
				}
			})
		}
	}
}

// TestNoSwarm: nobody else is asked for parts of what a relay passes on, of what is not large, of what waits for a limit here, nor over
// a worse line.
func TestNoSwarm(t *testing.T) {
	large := random(33*mib, 22)
	for name, test := range map[string]struct {
		content []byte
		holders []transfer.Holder
		limits  p2p.Limits
	}{
		"relay":  {large, []transfer.Holder{{Clone: "a", Partial: true}, {Clone: "b", Beside: true}}, p2p.Limits{}},
		"relays": {large, []transfer.Holder{{Clone: "a"}, {Clone: "b", Beside: true, Partial: true}}, p2p.Limits{}},
		"small":  {large[:31*mib], []transfer.Holder{{Clone: "a"}, {Clone: "b", Beside: true}}, p2p.Limits{}},
		"limit":  {large, []transfer.Holder{{Clone: "a"}, {Clone: "b", Beside: true}}, p2p.Limits{Down: p2p.NewLimiter(200 * mib)}},
		"worse":  {large, []transfer.Holder{{Clone: "a"}, {Clone: "b"}}, p2p.Limits{}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "a", "b", "to")
			for _, from := range []string{"a", "b"} {
				s.nodes[from].put(t, test.content)
			}
			to := s.nodes["to"]
			to.limits = test.limits
			to.start(test.holders...)
			to.q.Add(jobs(keyOf(test.content))...)
			to.q.awaitPresent(t, 1)
			if _, sessions := to.came["b"].total(); sessions > 0 {
				t.Error("b was asked")
			}
		})
	}
}
