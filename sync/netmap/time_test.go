package netmap_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/git-arbor/arbor/sync/netmap"
)

const gib = 1 << 30

// mesh connects all nodes: cheaply inside a site, dearly between sites.
func mesh(nodes []netmap.Node, sites []netmap.Site) netmap.Network {
	net := netmap.Network{Nodes: nodes, Sites: sites}
	for _, u := range nodes {
		for _, v := range nodes {
			switch {
			case u.ID == v.ID:
			case u.Site == v.Site:
				net.Edges = append(net.Edges, netmap.Edge{From: u.ID, To: v.ID, Cost: 100, RTT: 0.0005})
			default:
				net.Edges = append(net.Edges, netmap.Edge{From: u.ID, To: v.ID, Cost: 200, RTT: 0.03})
			}
		}
	}
	return net
}

// machines are nodes of a site, numbered from first.
func machines(first, count int, site string, up, down float64) []netmap.Node {
	var nodes []netmap.Node
	for i := range count {
		nodes = append(nodes, netmap.Node{ID: id(first + i), Site: site, Up: up * mbit, Down: down * mbit})
	}
	return nodes
}

// star is everyone getting it from the first node.
func star(p netmap.Problem) []netmap.Link {
	var links []netmap.Link
	for _, w := range p.Wanters {
		links = append(links, netmap.Link{From: p.Holders[0], To: w})
	}
	return links
}

// twoSites is a random mesh of up to n nodes in two sites.
func twoSites(r *rand.Rand, n int) netmap.Network {
	pick := func(choice ...float64) float64 { return choice[r.IntN(len(choice))] }
	thin := pick(1, 5, 20, 50, 100) * mbit
	sites := []netmap.Site{{ID: "a", Up: thin, Down: thin * pick(1, 2, 5)}, {ID: "b", Up: thin, Down: thin * pick(1, 2, 5)}}
	var nodes []netmap.Node
	n = 2 + r.IntN(n-1)
	border := 1 + r.IntN(n)
	for v := range n {
		site := "a"
		if v >= border {
			site = "b"
		}
		nodes = append(nodes, machines(v, 1, site, pick(50, 100, 300, 1000), pick(50, 100, 300, 1000))...)
	}
	return mesh(nodes, sites)
}

// slots is a number of seconds that no single tree of two sites beats: at a rate, an uplink and a site's line serve a whole
// number of nodes; the nodes of each site have to be served by it or over the line into it, and the holder's site serves the
// other at least once.
func slots(net netmap.Network, p netmap.Problem) float64 {
	fits := func(rate float64) bool {
		serve := func(capacity float64) int { return int(capacity / rate * (1 + 1e-9)) }
		for i, s := range net.Sites {
			places := serve(min(s.Down, net.Sites[1-i].Up))
			for _, n := range net.Nodes {
				if n.Site == s.ID {
					places += serve(n.Up)
				}
				if n.Site == s.ID && n.ID != p.Holders[0] {
					places--
				}
			}
			if s.ID == net.Nodes[0].Site && net.Nodes[len(net.Nodes)-1].Site != s.ID {
				places--
			}
			if places < 0 {
				return false
			}
		}
		return true
	}
	best := 0.0
	for children := range net.Nodes {
		for _, n := range net.Nodes {
			if rate := n.Up / float64(children+1); rate > best && fits(rate) {
				best = rate
			}
		}
		for i, s := range net.Sites {
			if rate := min(s.Down, net.Sites[1-i].Up) / float64(children+1); rate > best && fits(rate) {
				best = rate
			}
		}
	}
	return float64(p.Size) / best
}

func TestFastestOfTwoSites(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	worst, sum := 0.0, 0.0
	const tries = 300
	for range tries {
		net := twoSites(r, 30)
		p := everybody(net, netmap.Time, 1<<(26+r.IntN(6)))
		m := mustMap(t, net)
		plan := mustPlan(t, m, p)
		bound, err := m.Bound(p)
		if err != nil {
			t.Fatal(err)
		}
		over := plan.Seconds / max(bound, slots(net, p))
		sum, worst = sum+over, max(worst, over)
	}
	t.Logf("%.3f times the bound on average, %.3f at worst", sum/tries, worst)
	if worst > 1.25 {
		t.Errorf("%.3f times the bound", worst)
	}
}

func TestFastestIsNearTheBestTree(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(8, 8))
	worst := 0.0
	for range 150 {
		net := twoSites(r, 5)
		kept := net.Edges[:0]
		for _, e := range net.Edges {
			if r.IntN(10) < 7 {
				kept = append(kept, e)
			}
		}
		net.Edges = kept
		p := everybody(net, netmap.Time, 1<<(24+r.IntN(6)))
		m := mustMap(t, net)
		if best := leastSeconds(m, net, p); !math.IsInf(best, 1) {
			worst = max(worst, mustPlan(t, m, p).Seconds/best)
		}
	}
	t.Logf("%.3f times the best tree at worst", worst)
	if worst > 1.1 {
		t.Errorf("%.3f times the best tree", worst)
	}
}

// leastSeconds tries all trees.
func leastSeconds(m *netmap.Map, net netmap.Network, p netmap.Problem) float64 {
	best := math.Inf(1)
	tree := make([]netmap.Link, len(p.Wanters))
	var try func(i int)
	try = func(i int) {
		if i == len(tree) {
			if plan, err := m.Predict(p, tree); err == nil {
				best = min(best, plan.Seconds)
			}
			return
		}
		for _, e := range net.Edges {
			if e.To == p.Wanters[i] {
				tree[i] = netmap.Link{From: e.From, To: e.To}
				try(i + 1)
			}
		}
	}
	try(0)
	return best
}

func TestNoPlanBeatsTheBound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		net, p := drawNetwork(t, 9)
		p.Objective = rapid.SampledFrom([]netmap.Objective{netmap.Cost, netmap.Time}).Draw(t, "objective")
		m, err := netmap.New(net)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := m.Plan(p)
		if err != nil {
			t.Fatal(err)
		}
		bound, err := m.Bound(p)
		if err != nil {
			t.Fatal(err)
		}
		if plan.Seconds < bound*(1-1e-9) {
			t.Fatalf("%v s, the bound is %v s", plan.Seconds, bound)
		}
		for _, h := range plan.Hops {
			if !(h.Rate > 0) || h.Seconds < 0 || math.IsInf(h.Seconds, 0) {
				t.Fatalf("%+v", h)
			}
		}
	})
}

func TestRelaysServeTime(t *testing.T) {
	t.Parallel()
	// A weak source, and a server that wants nothing but may help.
	nodes := append(machines(0, 1, "", 10, 100), machines(1, 9, "", 1, 100)...)
	nodes = append(nodes, netmap.Node{ID: "server", Relay: true, Up: 1000 * mbit, Down: 1000 * mbit})
	net := mesh(nodes, nil)
	p := everybody(netmap.Network{Nodes: nodes[:10]}, netmap.Time, gib)
	plan := mustPlan(t, mustMap(t, net), p)
	checkTree(t, net, p, plan)
	if up, _ := plan.Parent("server"); up.From != id(0) {
		t.Errorf("the server gets it from %q", up.From)
	}
	if n := len(plan.Children("server")); n != 9 {
		t.Errorf("the server serves %d", n)
	}
	// One that is of no use is left out.
	p.Wanters = p.Wanters[:1]
	plan = mustPlan(t, mustMap(t, net), p)
	if len(plan.Hops) != 1 {
		t.Errorf("%+v", plan.Hops)
	}
}
