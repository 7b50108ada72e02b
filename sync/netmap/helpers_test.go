package netmap_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/git-arbor/arbor/sync/netmap"
)

// mbit is a million bits a second, in bytes.
const mbit = 1e6 / 8

func mustMap(t testing.TB, n netmap.Network) *netmap.Map {
	t.Helper()
	m, err := netmap.New(n)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustPlan(t testing.TB, m *netmap.Map, p netmap.Problem) *netmap.Plan {
	t.Helper()
	plan, err := m.Plan(p)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// id names a node so that the order of names is not that of numbers.
func id(i int) string { return fmt.Sprintf("n%d", i) }

// drawNetwork draws a network of up to most nodes and a problem in it: with sites or without, with ties, with zeros.
func drawNetwork(t *rapid.T, most int) (netmap.Network, netmap.Problem) {
	var net netmap.Network
	rates := rapid.SampledFrom([]float64{0, 1e4, 1e6, 2.5e6, 1e8})
	costs := rapid.SampledFrom([]float64{0, 1, 1, 2, 3, 100, 200, 1e12})
	trips := rapid.SampledFrom([]float64{0, 0.001, 0.03, 2})
	sites := rapid.IntRange(0, 3).Draw(t, "sites")
	for i := range sites {
		net.Sites = append(net.Sites, netmap.Site{ID: id(i), Up: rates.Draw(t, "site up"), Down: rates.Draw(t, "site down")})
	}
	nodes := rapid.IntRange(1, most).Draw(t, "nodes")
	for i := range nodes {
		n := netmap.Node{ID: id(i), Relay: rapid.Bool().Draw(t, "relay"), Up: rates.Draw(t, "up"), Down: rates.Draw(t, "down")}
		if s := rapid.IntRange(0, sites).Draw(t, "site"); s > 0 {
			n.Site = id(s - 1)
		}
		net.Nodes = append(net.Nodes, n)
	}
	density := rapid.IntRange(1, 10).Draw(t, "density")
	for u := range nodes {
		for v := range nodes {
			if u != v && rapid.IntRange(0, 9).Draw(t, "edge") < density {
				net.Edges = append(net.Edges, netmap.Edge{
					From: id(u), To: id(v), Cost: costs.Draw(t, "cost"), Rate: rates.Draw(t, "rate"), RTT: trips.Draw(t, "rtt"),
				})
			}
		}
	}
	p := netmap.Problem{Size: rapid.SampledFrom([]int64{0, 1, 1 << 20, 1 << 30}).Draw(t, "size"), Objective: netmap.Time}
	p.Holders = append(p.Holders, id(rapid.IntRange(0, nodes-1).Draw(t, "holder")))
	for v := range nodes {
		switch rapid.IntRange(0, 9).Draw(t, "part") {
		case 0:
			if id(v) != p.Holders[0] {
				p.Holders = append(p.Holders, id(v))
			}
		case 1, 2, 3, 4, 5:
			p.Wanters = append(p.Wanters, id(v))
		}
	}
	return net, p
}

// shuffled tells the same in another order.
func shuffled(net netmap.Network, p netmap.Problem, seed uint64) (netmap.Network, netmap.Problem) {
	r := rand.New(rand.NewPCG(seed, 0))
	net.Nodes, net.Sites, net.Edges = slices.Clone(net.Nodes), slices.Clone(net.Sites), slices.Clone(net.Edges)
	p.Holders, p.Wanters = slices.Clone(p.Holders), slices.Clone(p.Wanters)
	r.Shuffle(len(net.Nodes), func(i, j int) { net.Nodes[i], net.Nodes[j] = net.Nodes[j], net.Nodes[i] })
	r.Shuffle(len(net.Sites), func(i, j int) { net.Sites[i], net.Sites[j] = net.Sites[j], net.Sites[i] })
	r.Shuffle(len(net.Edges), func(i, j int) { net.Edges[i], net.Edges[j] = net.Edges[j], net.Edges[i] })
	r.Shuffle(len(p.Holders), func(i, j int) { p.Holders[i], p.Holders[j] = p.Holders[j], p.Holders[i] })
	r.Shuffle(len(p.Wanters), func(i, j int) { p.Wanters[i], p.Wanters[j] = p.Wanters[j], p.Wanters[i] })
	return net, p
}

// checkTree fails if the plan is not a tree for the problem.
func checkTree(t rapid.TB, net netmap.Network, p netmap.Problem, plan *netmap.Plan) {
	t.Helper()
	edge, relay := map[[2]string]bool{}, map[string]bool{}
	for _, e := range net.Edges {
		edge[[2]string{e.From, e.To}] = true
	}
	for _, n := range net.Nodes {
		relay[n.ID] = n.Relay
	}
	serves := map[string]bool{}
	for i, h := range plan.Hops {
		if !edge[[2]string{h.From, h.To}] {
			t.Fatalf("%v is no edge", h)
		}
		if i > 0 && plan.Hops[i-1].To >= h.To {
			t.Fatalf("hops are not by To, each once: %v", plan.Hops)
		}
		if slices.Contains(p.Holders, h.To) {
			t.Fatalf("holder %s has a parent", h.To)
		}
		serves[h.From] = true
	}
	for _, h := range plan.Hops {
		if !slices.Contains(p.Wanters, h.To) && (!relay[h.To] || !serves[h.To]) {
			t.Fatalf("%s neither wants the content nor is it a relay that serves", h.To)
		}
		steps, at := 0, h.To
		for ; !slices.Contains(p.Holders, at); steps++ {
			up, ok := plan.Parent(at)
			if !ok || steps > len(plan.Hops) {
				t.Fatalf("%s is not led to from a holder", h.To)
			}
			at = up.From
		}
	}
	reachable := reach(net, p)
	for _, w := range p.Wanters {
		_, got := plan.Parent(w)
		missed := slices.Contains(plan.Unreachable, w)
		holds := slices.Contains(p.Holders, w)
		if got != (reachable[w] && !holds) || missed != (!reachable[w] && !holds) {
			t.Fatalf("%s: in the plan %v, unreachable %v, can be reached %v", w, got, missed, reachable[w])
		}
	}
	if !slices.IsSorted(plan.Unreachable) {
		t.Fatalf("not sorted: %v", plan.Unreachable)
	}
}

func reach(net netmap.Network, p netmap.Problem) map[string]bool {
	may := map[string]bool{}
	for _, n := range net.Nodes {
		may[n.ID] = n.Relay || slices.Contains(p.Wanters, n.ID)
	}
	reached := map[string]bool{}
	for _, h := range p.Holders {
		reached[h] = true
	}
	for more := true; more; {
		more = false
		for _, e := range net.Edges {
			if reached[e.From] && may[e.To] && !reached[e.To] {
				reached[e.To], more = true, true
			}
		}
	}
	return reached
}
