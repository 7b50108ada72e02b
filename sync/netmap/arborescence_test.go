package netmap_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/git-arbor/arbor/sync/netmap"
)

func TestCheapestIsExact(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 6_000 {
		net, p := randomProblem(r, 1+r.IntN(7), i%3 != 0)
		checkCheapest(t, net, p)
	}
	for range 100 {
		net, p := randomProblem(r, 12, true)
		checkCheapest(t, net, p)
	}
}

func checkCheapest(t *testing.T, net netmap.Network, p netmap.Problem) {
	t.Helper()
	plan := mustPlan(t, mustMap(t, net), p)
	checkTree(t, net, p, plan)
	if want := leastCost(net, p); plan.Cost != want {
		t.Fatalf("cost %v, want %v\n%+v\n%+v\n%+v", plan.Cost, want, net, p, plan)
	}
}

// randomProblem makes a problem of n nodes with whole costs, many of them equal.
func randomProblem(r *rand.Rand, n int, relays bool) (netmap.Network, netmap.Problem) {
	var net netmap.Network
	p := netmap.Problem{Objective: netmap.Cost, Holders: []string{id(0)}}
	most, density := 1+r.IntN(20), r.Float64()
	for v := range n {
		net.Nodes = append(net.Nodes, netmap.Node{ID: id(v), Relay: relays && r.IntN(2) == 0})
		switch {
		case v > 0 && r.IntN(6) == 0:
			p.Holders = append(p.Holders, id(v))
		case !relays || r.IntN(2) == 0:
			p.Wanters = append(p.Wanters, id(v))
		}
		for u := range n {
			if u != v && r.Float64() < density {
				net.Edges = append(net.Edges, netmap.Edge{From: id(u), To: id(v), Cost: float64(r.IntN(most))})
			}
		}
	}
	return net, p
}

// leastCost tries everything: the cheapest tree of a set of nodes is that of the set without one of its leaves, and the cheapest
// edge to the leaf.
func leastCost(net netmap.Network, p netmap.Problem) float64 {
	n := len(net.Nodes)
	number := map[string]int{}
	for v, node := range net.Nodes {
		number[node.ID] = v
	}
	reached, may := reach(net, p), make([]bool, n)
	start, want := 0, 0
	for _, h := range p.Holders {
		start |= 1 << number[h]
	}
	for _, w := range p.Wanters {
		may[number[w]] = true
		if reached[w] {
			want |= 1 << number[w]
		}
	}
	for v, node := range net.Nodes {
		may[v] = may[v] || node.Relay
	}
	cost := make([]float64, 1<<n)
	least := math.Inf(1)
	for set := range cost {
		cost[set] = math.Inf(1)
		if set == start {
			cost[set] = 0
		}
	}
	for set := start; set < len(cost); set++ { // a larger set is a larger number
		if math.IsInf(cost[set], 1) {
			continue
		}
		if want&^set == 0 {
			least = min(least, cost[set])
		}
		for _, e := range net.Edges {
			u, v := number[e.From], number[e.To]
			if set>>u&1 == 1 && set>>v&1 == 0 && may[v] {
				cost[set|1<<v] = min(cost[set|1<<v], cost[set]+e.Cost)
			}
		}
	}
	return least
}

func TestCheapestOfManyNodes(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 80 {
		net, p := randomProblem(r, 1+r.IntN(60), false)
		plan := mustPlan(t, mustMap(t, net), p)
		checkTree(t, net, p, plan)
		if want := contracted(net, p); plan.Cost != want {
			t.Fatalf("cost %v, want %v", plan.Cost, want)
		}
	}
	// A nest of cycles, each of which has to be contracted into the next.
	net, p := nest(300)
	plan := mustPlan(t, mustMap(t, net), p)
	checkTree(t, net, p, plan)
	if want := contracted(net, p); plan.Cost != want {
		t.Fatalf("cost %v, want %v", plan.Cost, want)
	}
}

// nest is a path of which every node would rather be reached from the next one, and the last from the one before.
func nest(n int) (netmap.Network, netmap.Problem) {
	var net netmap.Network
	p := netmap.Problem{Objective: netmap.Cost, Holders: []string{id(0)}}
	for v := range n {
		net.Nodes = append(net.Nodes, netmap.Node{ID: id(v)})
		if v == 0 {
			continue
		}
		p.Wanters = append(p.Wanters, id(v))
		net.Edges = append(net.Edges, netmap.Edge{From: id(v - 1), To: id(v), Cost: float64(2*(n-v) + 1)})
		if v > 1 {
			net.Edges = append(net.Edges, netmap.Edge{From: id(v), To: id(v - 1), Cost: 1})
		}
	}
	return net, p
}

// contracted is the cost by the algorithm of Chu, Liu and Edmonds as they wrote it, in O(nm): choose the cheapest edge
// into each node, contract the cycles, and begin again.
func contracted(net netmap.Network, p netmap.Problem) float64 {
	type arc struct {
		from, to int
		cost     float64
	}
	reached, number := reach(net, p), map[string]int{}
	for _, h := range p.Holders {
		number[h] = 0
	}
	n := 1
	for _, w := range p.Wanters {
		if _, holds := number[w]; !holds && reached[w] {
			number[w] = n
			n++
		}
	}
	var arcs []arc
	for _, e := range net.Edges {
		u, ok := number[e.From]
		v, ok2 := number[e.To]
		if ok && ok2 {
			arcs = append(arcs, arc{u, v, e.Cost})
		}
	}
	total := 0.0
	for {
		least, parent := make([]float64, n), make([]int, n)
		for v := range least {
			least[v] = math.Inf(1)
		}
		for _, a := range arcs {
			if a.from != a.to && a.to != 0 && a.cost < least[a.to] {
				least[a.to], parent[a.to] = a.cost, a.from
			}
		}
		least[0] = 0
		component, seen := make([]int, n), make([]int, n)
		cycles := 0
		for v := range n {
			total += least[v]
			u := v
			for ; u != 0 && component[u] == 0 && seen[u] != v+1; u = parent[u] {
				seen[u] = v + 1
			}
			if u != 0 && component[u] == 0 {
				cycles++
				for component[u] == 0 {
					component[u] = cycles
					u = parent[u]
				}
			}
		}
		if cycles == 0 {
			return total
		}
		next := cycles + 1
		for v := 1; v < n; v++ {
			if component[v] == 0 {
				component[v] = next
				next++
			}
		}
		rest := arcs[:0]
		for _, a := range arcs {
			if component[a.from] != component[a.to] && a.to != 0 {
				rest = append(rest, arc{component[a.from], component[a.to], a.cost - least[a.to]})
			}
		}
		arcs, n = rest, next
	}
}

func TestPlanDependsOnTheMapAlone(t *testing.T) {
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
		checkTree(t, net, p, plan)
		other, q := shuffled(net, p, rapid.Uint64().Draw(t, "order"))
		m2, err := netmap.New(other)
		if err != nil {
			t.Fatal(err)
		}
		again, err := m2.Plan(q)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(plan, again); d != "" {
			t.Fatal(d)
		}
	})
}

func TestCheapest(t *testing.T) {
	t.Parallel()
	type edges = []netmap.Edge
	tests := []struct {
		name             string
		holders, wanters []string
		relays           []string
		edges            edges
		want             map[string]string // parents
		cost             float64
		unreachable      []string
	}{
		{
			name: "once over the dear link", holders: []string{"a"}, wanters: []string{"b", "c"},
			edges: edges{{From: "a", To: "b", Cost: 100}, {From: "a", To: "c", Cost: 100}, {From: "b", To: "c", Cost: 1}, {From: "c", To: "b", Cost: 2}},
			want:  map[string]string{"b": "a", "c": "b"}, cost: 101,
		},
		{
			name: "the nearer of two holders", holders: []string{"a", "b"}, wanters: []string{"c"},
			edges: edges{{From: "a", To: "c", Cost: 5}, {From: "b", To: "c", Cost: 4}, {From: "a", To: "b", Cost: 0}},
			want:  map[string]string{"c": "b"}, cost: 4,
		},
		{
			name: "equal: from the holder", holders: []string{"z"}, wanters: []string{"a", "b", "c"},
			edges: edges{
				{From: "a", To: "b", Cost: 7},
				{From: "b", To: "a", Cost: 7},
				{From: "a", To: "c", Cost: 7},
				{From: "c", To: "b", Cost: 7},
				{From: "z", To: "a", Cost: 7},
				{From: "z", To: "b", Cost: 7},
				{From: "z", To: "c", Cost: 7},
			},
			want: map[string]string{"a": "z", "b": "z", "c": "z"}, cost: 21,
		},
		{
			name: "equal holders: by ID", holders: []string{"y", "x"}, wanters: []string{"a"},
			edges: edges{{From: "y", To: "a", Cost: 0}, {From: "x", To: "a", Cost: 0}},
			want:  map[string]string{"a": "x"},
		},
		{
			name: "a relay that is worth it", holders: []string{"a"}, wanters: []string{"b", "c"}, relays: []string{"r", "s"},
			edges: edges{
				{From: "a", To: "b", Cost: 10},
				{From: "a", To: "c", Cost: 10},
				{From: "a", To: "r", Cost: 6},
				{From: "r", To: "b", Cost: 3},
				{From: "r", To: "c", Cost: 3},
				{From: "a", To: "s", Cost: 1},
			},
			want: map[string]string{"b": "r", "c": "r", "r": "a"}, cost: 12,
		},
		{
			name: "no relay against its will", holders: []string{"a"}, wanters: []string{"b"}, relays: []string{"s"},
			edges:       edges{{From: "a", To: "r", Cost: 1}, {From: "r", To: "b", Cost: 1}, {From: "s", To: "b", Cost: 1}},
			unreachable: []string{"b"},
		},
		{
			name: "who holds it already", holders: []string{"a", "b"}, wanters: []string{"b"},
			edges: edges{{From: "a", To: "b", Cost: 1}},
		},
		{
			name: "huge costs", holders: []string{"a"}, wanters: []string{"b", "c"},
			edges: edges{{From: "a", To: "b", Cost: 0x1p996}, {From: "a", To: "c", Cost: 0x1p996}, {From: "b", To: "c", Cost: 0x1p990}, {From: "c", To: "b", Cost: 0x1p950}},
			want:  map[string]string{"b": "c", "c": "a"}, cost: 0x1p996 + 0x1p950,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			net := netmap.Network{Edges: tt.edges}
			known := map[string]bool{}
			for _, r := range tt.relays {
				net.Nodes = append(net.Nodes, netmap.Node{ID: r, Relay: true})
				known[r] = true
			}
			for _, e := range tt.edges {
				for _, v := range []string{e.From, e.To} {
					if !known[v] {
						net.Nodes = append(net.Nodes, netmap.Node{ID: v})
						known[v] = true
					}
				}
			}
			plan := mustPlan(t, mustMap(t, net), netmap.Problem{Holders: tt.holders, Wanters: tt.wanters, Objective: netmap.Cost})
			got := map[string]string{}
			for _, h := range plan.Hops {
				got[h.To] = h.From
			}
			if len(tt.want) == 0 {
				tt.want = map[string]string{}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			if plan.Cost != tt.cost {
				t.Errorf("cost %v, want %v", plan.Cost, tt.cost)
			}
			if d := cmp.Diff(tt.unreachable, plan.Unreachable); d != "" {
				t.Error(d)
			}
		})
	}
}
