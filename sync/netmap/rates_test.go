package netmap_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/git-arbor/arbor/sync/netmap"
)

// TestPredict compares the prediction with a simulation of each block on its way.
func TestPredict(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 9))
	for range 60 {
		net := twoSites(r, 9)
		for i := range net.Edges {
			net.Edges[i].RTT = 0
		}
		p := everybody(net, netmap.Time, 100<<20)
		var tree []netmap.Link
		for i, w := range p.Wanters { // a random tree
			tree = append(tree, netmap.Link{From: id(r.IntN(i + 1)), To: w})
		}
		plan, err := mustMap(t, net).Predict(p, tree)
		if err != nil {
			t.Fatal(err)
		}
		got, want := plan.Seconds, simulate(net, p, tree)
		if math.Abs(got-want) > 0.08*want {
			t.Errorf("predicted %.2f s, simulated %.2f s, for\n%+v\n%+v", got, want, net.Nodes, plan.Hops)
		}
	}
}

// simulate sends blocks along a tree, from event to event: a node can send the blocks that it has whole, and edges that
// have something to send share what there is max-min fairly.
func simulate(net netmap.Network, p netmap.Problem, tree []netmap.Link) float64 {
	node, site := map[string]netmap.Node{}, map[string]netmap.Site{}
	for _, n := range net.Nodes {
		node[n.ID] = n
	}
	for _, s := range net.Sites {
		site[s.ID] = s
	}
	size := float64(p.Size)
	got := map[string]float64{p.Holders[0]: size}
	now := 0.0
	for {
		var active []netmap.Link
		for _, l := range tree {
			if whole(got[l.From], size) > got[l.To] {
				active = append(active, l)
			}
		}
		if len(active) == 0 {
			return now
		}
		rates := fairRates(node, site, active)
		step := math.Inf(1)
		for i, l := range active {
			next := math.Min(size, (math.Floor(got[l.To]/netmap.Block)+1)*netmap.Block)
			step = min(step, (next-got[l.To])/rates[i])
		}
		now += step
		for i, l := range active {
			sum := got[l.To] + rates[i]*step
			if near := math.Round(sum/netmap.Block) * netmap.Block; math.Abs(sum-near) < 1e-3 {
				sum = near
			}
			got[l.To] = min(size, sum)
		}
	}
}

func whole(got, size float64) float64 {
	if got >= size {
		return size
	}
	return math.Floor(got/netmap.Block) * netmap.Block
}

// fairRates fills all limits step by step.
func fairRates(node map[string]netmap.Node, site map[string]netmap.Site, active []netmap.Link) []float64 {
	type limit struct {
		left  float64
		edges []int
	}
	limits := map[string]*limit{}
	add := func(name string, capacity float64, edge int) {
		if limits[name] == nil {
			limits[name] = &limit{left: capacity}
		}
		limits[name].edges = append(limits[name].edges, edge)
	}
	for i, l := range active {
		u, v := node[l.From], node[l.To]
		add("up "+u.ID, u.Up, i)
		add("down "+v.ID, v.Down, i)
		if u.Site != v.Site {
			add("out "+u.Site, site[u.Site].Up, i)
			add("in "+v.Site, site[v.Site].Down, i)
		}
	}
	rates, rising := make([]float64, len(active)), make([]bool, len(active))
	for i := range rising {
		rising[i] = true
	}
	for left := len(active); left > 0; {
		least, name := math.Inf(1), ""
		for n, l := range limits {
			count := 0.0
			for _, e := range l.edges {
				if rising[e] {
					count++
				}
			}
			if count > 0 && l.left/count < least {
				least, name = l.left/count, n
			}
		}
		for _, e := range limits[name].edges {
			if !rising[e] {
				continue
			}
			rates[e], rising[e] = least, false
			left--
			for _, l := range limits {
				for _, other := range l.edges {
					if other == e {
						l.left = max(0, l.left-least)
					}
				}
			}
		}
	}
	return rates
}

func TestPredictRefusesWhatIsNoTree(t *testing.T) {
	t.Parallel()
	net := mesh(machines(0, 4, "", 10, 10), nil)
	net.Edges = net.Edges[1:] // not from 0 to 1
	m, p := mustMap(t, net), everybody(net, netmap.Time, gib)
	for place, tree := range map[string][]netmap.Link{
		"tree[0]": {{From: id(0), To: id(1)}},
		"tree[1]": {{From: id(0), To: id(2)}, {From: id(3), To: id(2)}},
		"tree[2]": {{From: id(0), To: id(2)}, {From: id(2), To: id(3)}, {From: id(3), To: id(0)}},
		"tree":    {{From: id(1), To: id(3)}, {From: id(3), To: id(1)}},
	} {
		_, err := m.Predict(p, tree)
		if e, ok := errors.AsType[*netmap.Error](err); !ok || e.Place != place {
			t.Errorf("%v: %v", place, err)
		}
	}
	plan, err := m.Predict(p, []netmap.Link{{From: id(0), To: id(2)}})
	if err != nil || len(plan.Unreachable) != 2 {
		t.Errorf("%+v, %v", plan, err)
	}
}
