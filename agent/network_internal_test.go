package agent

import (
	"testing"

	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/sync/netmap"
	"github.com/git-arbor/arbor/xmpp/signal"
)

// TestDrawMap plans on the map of two LANs: the line between them is crossed once, whoever of the second LAN is first.
func TestDrawMap(t *testing.T) {
	t.Parallel()
	lan := map[string]string{"a": "1", "b": "1", "x": "2", "y": "2", "z": "2"}
	told := make(map[string][]signal.Edge)
	for to := range lan {
		for from := range lan {
			switch {
			case from == to:
			case lan[from] == lan[to]:
				told[to] = append(told[to], signal.Edge{From: from, Kind: link.KindLAN, Cost: 150, Rate: 100e6})
			default:
				told[to] = append(told[to], signal.Edge{From: from, Kind: link.KindStatic, Cost: 200, Rate: 1e6, RTT: 40_000})
			}
		}
	}
	n := drawMap(told)
	if len(n.Nodes) != 5 || len(n.Sites) != 2 || len(n.Edges) != 20 {
		t.Fatalf("%d nodes, %d sites, %d edges", len(n.Nodes), len(n.Sites), len(n.Edges))
	}
	for _, s := range n.Sites {
		if s.Up != 1e6 || s.Down != 1e6 {
			t.Errorf("the line of %s carries %g up and %g down", s.ID, s.Up, s.Down)
		}
	}
	m, err := netmap.New(n)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := m.Plan(netmap.Problem{Holders: []string{"a"}, Wanters: []string{"b", "x", "y", "z"}, Objective: netmap.Time, Size: 200e6})
	if err != nil {
		t.Fatal(err)
	}
	crossed := 0
	for _, h := range plan.Hops {
		if lan[h.From] != lan[h.To] {
			crossed++
		}
	}
	if crossed != 1 || len(plan.Hops) != 4 {
		t.Errorf("the line is crossed %d times:\n%+v", crossed, plan.Hops)
	}
}

// TestDrawMapOfStrangeEdges is told of clones that nobody knows, of itself and of one twice, and by one of nothing.
func TestDrawMapOfStrangeEdges(t *testing.T) {
	t.Parallel()
	n := drawMap(map[string][]signal.Edge{
		"a": {{From: "ghost", Kind: link.KindLAN}, {From: "a"}, {From: "b", Kind: "pigeon", Cost: 900}, {From: "b", Kind: link.KindHost}},
		"b": nil,
	})
	if len(n.Nodes) != 2 || len(n.Sites) != 2 || len(n.Edges) != 2 || n.Edges[1].Cost != 900 {
		t.Errorf("%+v", n)
	}
	if _, err := netmap.New(n); err != nil {
		t.Error(err)
	}
}

func TestNear(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b uint64
		want bool
	}{{100, 149, true}, {149, 100, true}, {100, 150, false}, {0, 0, false}, {0, 1, false}} {
		if near(c.a, c.b, 1.5) != c.want {
			t.Errorf("near(%d, %d) is %v", c.a, c.b, !c.want)
		}
	}
	for x, want := range map[float64]float64{0: 0, 0.5: 0, 7: 7, 123: 120, 98_765_432: 99_000_000} {
		if got := round(x); got != want {
			t.Errorf("round(%g) is %g, want %g", x, got, want)
		}
	}
}

func TestSameNetwork(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"192.168.1.4:1", "192.168.1.9:2", true},
		{"192.168.1.4:1", "192.168.2.4:1", false},
		{"[fd00::1]:1", "[fd00::2]:1", true},
		{"[fd00::1]:1", "192.168.1.4:1", false},
		{"nas.local:1", "nas.local:1", false},
	} {
		if sameNetwork(c.a, c.b) != c.want {
			t.Errorf("sameNetwork(%s, %s) is %v", c.a, c.b, !c.want)
		}
	}
}

// TestDrawMapWithoutLink leaves out what a clone says cannot be reached, in that direction.
func TestDrawMapWithoutLink(t *testing.T) {
	t.Parallel()
	n := drawMap(map[string][]signal.Edge{
		"a": {{From: "b", Kind: link.KindNone, Cost: 1000}},
		"b": {{From: "a", Kind: link.KindDialBack, Cost: 200}},
	})
	if len(n.Edges) != 1 || n.Edges[0].From != "a" || n.Edges[0].To != "b" {
		t.Errorf("the map is %+v", n.Edges)
	}
}
