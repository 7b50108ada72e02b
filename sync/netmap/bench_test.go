package netmap_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/git-arbor/arbor/sync/netmap"
)

// complete is a network in which everybody can reach everybody, with random costs.
func complete(n int) netmap.Network {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	var net netmap.Network
	for v := range n {
		net.Nodes = append(net.Nodes, netmap.Node{ID: id(v)})
		for u := range n {
			if u != v {
				net.Edges = append(net.Edges, netmap.Edge{From: id(u), To: id(v), Cost: r.Float64()})
			}
		}
	}
	return net
}

// sparse is a random network with degree edges into each node, and a long way round all of them.
func sparse(n, degree int) netmap.Network {
	r := rand.New(rand.NewPCG(uint64(n), 2))
	net := netmap.Network{Edges: make([]netmap.Edge, 0, n*degree)}
	for v := range n {
		net.Nodes = append(net.Nodes, netmap.Node{ID: id(v)})
		from := map[int]bool{v: true}
		for u := (v + n - 1) % n; len(from) <= degree; u = r.IntN(n) {
			if !from[u] {
				from[u] = true
				net.Edges = append(net.Edges, netmap.Edge{From: id(u), To: id(v), Cost: r.Float64()})
			}
		}
	}
	return net
}

// everybody wants what the first node has.
func everybody(net netmap.Network, objective netmap.Objective, size int64) netmap.Problem {
	p := netmap.Problem{Holders: []string{id(0)}, Objective: objective, Size: size}
	for _, n := range net.Nodes[1:] {
		p.Wanters = append(p.Wanters, n.ID)
	}
	return p
}

func BenchmarkArborescence(b *testing.B) {
	for _, bb := range []struct {
		name string
		net  netmap.Network
	}{
		{"complete-100", complete(100)},
		{"complete-1000", complete(1000)},
		{"sparse-1000x12", sparse(1000, 12)},
		{"sparse-100000x10", sparse(100_000, 10)},
		{"nest-10000", first(nest(10_000))},
	} {
		b.Run(bb.name, func(b *testing.B) {
			m := mustMap(b, bb.net)
			p := everybody(bb.net, netmap.Cost, 0)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Plan(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func first(net netmap.Network, _ netmap.Problem) netmap.Network { return net }

func BenchmarkNew(b *testing.B) {
	for _, bb := range []struct {
		name string
		net  netmap.Network
	}{
		{"complete-1000", complete(1000)},
		{"sparse-1000x12", sparse(1000, 12)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				mustMap(b, bb.net)
			}
		})
	}
}

func BenchmarkTimePlan(b *testing.B) {
	for _, n := range []int{100, 1000} {
		for _, degree := range []int{12, n - 1} {
			b.Run(fmt.Sprintf("cities-%dx%d", n, degree), func(b *testing.B) {
				net := cities(n, degree)
				m := mustMap(b, net)
				p := everybody(net, netmap.Time, 256<<20)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := m.Plan(p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// cities is a random network of machines in ten cities: uplinks from 10 to 1,000 Mbit/s, round trips and costs by distance, and
// a rate by round trip. Each node has edges from the nearest so many, and from the first.
func cities(n, degree int) netmap.Network {
	r := rand.New(rand.NewPCG(5, uint64(n)))
	var net netmap.Network
	type place struct{ x, y float64 }
	var city, places []place
	for range 10 {
		city = append(city, place{r.Float64(), r.Float64()})
	}
	up := []float64{10, 20, 20, 40, 40, 100, 100, 500, 500, 1000}
	down := []float64{50, 100, 100, 250, 250, 500, 500, 1000, 1000, 1000}
	for v := range n {
		c, k := city[r.IntN(10)], r.IntN(10)
		places = append(places, place{c.x + r.NormFloat64()*0.02, c.y + r.NormFloat64()*0.02})
		node := netmap.Node{ID: id(v), Up: up[k] * mbit, Down: down[k] * mbit}
		if v == 0 {
			node.Up, node.Down = 100*mbit, 250*mbit
		}
		net.Nodes = append(net.Nodes, node)
	}
	distance := func(u, v int) float64 { return math.Hypot(places[u].x-places[v].x, places[u].y-places[v].y) }
	for v := range n {
		for _, u := range nearest(n, v, degree, distance) {
			rtt := 0.005 + 0.15*distance(u, v)
			net.Edges = append(net.Edges, netmap.Edge{From: net.Nodes[u].ID, To: net.Nodes[v].ID, Cost: distance(u, v), RTT: rtt, Rate: 4e6 / rtt})
		}
	}
	return net
}

// nearest lists so many of the other nodes: the first node and the nearest.
func nearest(n, v, degree int, distance func(u, v int) float64) []int {
	var nodes []int
	for u := range n {
		if u != v {
			nodes = append(nodes, u)
		}
	}
	if degree == n-1 {
		return nodes
	}
	slices.SortFunc(nodes, func(a, b int) int {
		if a == 0 || b == 0 {
			return cmp.Compare(a, b)
		}
		return cmp.Compare(distance(a, v), distance(b, v))
	})
	return nodes[:degree]
}
