package netmap_test

import (
	"testing"

	"github.com/git-arbor/arbor/sync/netmap"
)

// topology is a network in which everybody wants what the first node has.
type topology struct {
	name  string
	net   func() netmap.Network
	size  int64
	dear  float64 // an edge that costs more is crossed once; 0 to not count
	naive float64 // times as long at least when all get it from the first; 0 where they cannot
}

func topologies() []topology {
	thin := []netmap.Site{{ID: "a", Up: 20 * mbit, Down: 20 * mbit}, {ID: "b", Up: 20 * mbit, Down: 20 * mbit}}
	lans := func(a, b int) func() netmap.Network {
		return func() netmap.Network {
			return mesh(append(machines(0, a, "a", 1000, 1000), machines(a, b, "b", 1000, 1000)...), thin)
		}
	}
	nas := func(source, others float64) func() netmap.Network {
		return func() netmap.Network {
			nodes := append(machines(0, 1, "", source, 200), machines(1, 1, "", 1000, 1000)...)
			return mesh(append(nodes, machines(2, 9, "", others, 200)...), nil)
		}
	}
	chain := func() netmap.Network {
		net := netmap.Network{Nodes: machines(0, 5, "", 100, 100)}
		for v := range 4 {
			net.Edges = append(net.Edges, netmap.Edge{From: id(v), To: id(v + 1), Cost: 100, RTT: 0.01})
		}
		return net
	}
	metered := func() netmap.Network {
		net := mesh(machines(0, 8, "", 200, 200), nil)
		for i, e := range net.Edges {
			if e.From < id(4) != (e.To < id(4)) { // half of them behind a link that costs money, but is fast
				net.Edges[i].Cost = 10_000
			}
		}
		return net
	}
	return []topology{
		{name: "two LANs", net: lans(10, 10), size: gib, dear: 150, naive: 9},
		{name: "200 MB to five behind a thin link", net: lans(1, 5), size: 200e6, dear: 150, naive: 4.5},
		{name: "star with a NAS", net: nas(200, 200), size: gib, naive: 9},
		{name: "slow uplinks and a NAS", net: nas(50, 20), size: gib, naive: 9},
		{name: "chain", net: chain, size: 200e6},
		{name: "metered link", net: metered, size: gib, dear: 1000, naive: 3},
		{name: "1,000 nodes in ten cities", net: func() netmap.Network { return cities(1000, 999) }, size: 256 << 20, naive: 400},
	}
}

func TestFastestTopologies(t *testing.T) {
	t.Parallel()
	for _, tt := range topologies() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			net := tt.net()
			m, p := mustMap(t, net), everybody(net, netmap.Time, tt.size)
			plan := mustPlan(t, m, p)
			if len(net.Nodes) < 100 {
				checkTree(t, net, p, plan)
			}
			crossed := 0
			for _, h := range plan.Hops {
				if h.Cost > tt.dear {
					crossed++
				}
			}
			if tt.dear > 0 && crossed != 1 {
				t.Errorf("the dear link is crossed %d times", crossed)
			}
			c := compare(t, tt, net, m, p, plan)
			t.Logf("bound %.1f s, plan %.1f s; store and forward %.1f s, swarm %.1f s", c.bound, plan.Seconds, c.stored, c.swarm)
			if tt.dear > 0 {
				t.Logf("a swarm crosses the dear link %.1f times", c.crossed)
			}
			if plan.Seconds > 1.1*c.bound {
				t.Errorf("%.1f s, the bound is %.1f s", plan.Seconds, c.bound)
			}
			for name, other := range map[string]float64{"store and forward": c.stored, "a swarm": c.swarm} {
				if other < c.bound {
					t.Errorf("%s takes %.1f s, the bound is %.1f s", name, other, c.bound)
				}
			}
			if tt.naive == 0 {
				return
			}
			t.Logf("all from the first %.1f s", c.naive)
			if c.naive < tt.naive*plan.Seconds {
				t.Errorf("all from the first takes %.1f s, the plan %.1f s", c.naive, plan.Seconds)
			}
		})
	}
}

// BenchmarkCompare reports, as multiples of the bound, what the plan and other ways take until the last has everything.
func BenchmarkCompare(b *testing.B) {
	for _, bb := range topologies() {
		b.Run(bb.name, func(b *testing.B) {
			net := bb.net()
			m, p := mustMap(b, net), everybody(net, netmap.Time, bb.size)
			var plan *netmap.Plan
			for b.Loop() {
				plan = mustPlan(b, m, p)
			}
			c := compare(b, bb, net, m, p, plan)
			b.ReportMetric(plan.Seconds/c.bound, "plan/bound")
			b.ReportMetric(c.stored/c.bound, "stored/bound")
			b.ReportMetric(c.swarm/c.bound, "swarm/bound")
			if c.naive > 0 {
				b.ReportMetric(c.naive/c.bound, "naive/bound")
			}
		})
	}
}

// comparison is the seconds until the last has everything.
type comparison struct {
	bound, stored, swarm, naive float64
	crossed                     float64 // how often a swarm carries the content over dear edges
}

func compare(t testing.TB, top topology, net netmap.Network, m *netmap.Map, p netmap.Problem, plan *netmap.Plan) comparison {
	t.Helper()
	bound, err := m.Bound(p)
	if err != nil {
		t.Fatal(err)
	}
	c := comparison{bound: bound, stored: storeAndForward(t, m, p, plan)}
	rounds := max(100, 100_000/len(net.Nodes)) // until the bound; more of them change the outcome by less than a tenth
	c.swarm, c.crossed = newSwarm(net, p, bound/float64(rounds)).run(top.dear)
	if top.naive > 0 {
		naive, err := m.Predict(p, star(p))
		if err != nil {
			t.Fatal(err)
		}
		c.naive = naive.Seconds
	}
	return c
}

// storeAndForward is the time along the tree of a plan if nodes send on what they have whole. Each node's children are predicted
// alone, which is right where no two of the edges that leave or enter a site have different parents.
func storeAndForward(t testing.TB, m *netmap.Map, p netmap.Problem, plan *netmap.Plan) float64 {
	t.Helper()
	children := map[string][]string{}
	for _, h := range plan.Hops {
		children[h.From] = append(children[h.From], h.To)
	}
	last := 0.0
	var from func(node string, at float64)
	from = func(node string, at float64) {
		last = max(last, at)
		if len(children[node]) == 0 {
			return
		}
		q := netmap.Problem{Holders: []string{node}, Wanters: children[node], Objective: p.Objective, Size: p.Size}
		hops, err := m.Predict(q, star(q))
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hops.Hops {
			from(h.To, at+h.Seconds)
		}
	}
	from(p.Holders[0], 0)
	return last
}
