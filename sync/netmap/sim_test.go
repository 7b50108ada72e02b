package netmap_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/git-arbor/arbor/sync/netmap"
)

// edgeBytes is an estimate of what one edge takes in a signal: the other clone's address, a cost, a rate and a round trip. Nothing
// is counted for what carries the signal.
const edgeBytes = 64

// degree is how many edges a clone tells of when it measures its links.
const degree = 12

// vector is what a clone tells all others about itself. A later version replaces an earlier one, whatever comes first.
type vector struct {
	version int
	gone    bool
	node    netmap.Node
	line    netmap.Site // the site's, as this clone knows it
	edges   []netmap.Edge
}

func (v vector) bytes() int { return edgeBytes * max(1, len(v.edges)) }

// world is a network as it is, with clones that come and go: sites in a square, about five clones in each. A clone has edges to
// others of its site, to some in the sites around, and to two that may be anywhere.
type world struct {
	r       *rand.Rand
	sites   []square
	near    [][]int           // of each site, the nearest others
	members [][]string        // of each site
	told    map[string]int    // versions
	at      map[string]int    // the site of a clone
	node    map[string]int    // its place in present
	present []string          // clones
	was     map[string]vector // the last that a clone told
}

type square struct {
	x, y float64
	line netmap.Site
}

func newWorld(seed uint64, clones int) *world {
	w := &world{
		r: rand.New(rand.NewPCG(seed, uint64(clones))), told: map[string]int{}, at: map[string]int{}, node: map[string]int{},
		was: map[string]vector{},
	}
	for s := range max(1, clones/5) {
		up := []float64{10, 20, 40, 100, 500}[w.r.IntN(5)] * mbit
		w.sites = append(w.sites, square{w.r.Float64(), w.r.Float64(), netmap.Site{ID: fmt.Sprintf("s%d", s), Up: up, Down: 4 * up}})
	}
	w.members = make([][]string, len(w.sites))
	for s := range w.sites {
		near := nearest(len(w.sites), s, len(w.sites)-1, nil) // all others
		slices.SortFunc(near, func(a, b int) int {
			if w.distance(s, a) < w.distance(s, b) {
				return -1
			}
			return 1
		})
		w.near = append(w.near, slices.Clone(near[:min(8, len(near))]))
	}
	for range clones {
		w.settle()
	}
	for _, c := range w.present {
		w.measure(c, "")
	}
	return w
}

func (w *world) distance(a, b int) float64 {
	return math.Hypot(w.sites[a].x-w.sites[b].x, w.sites[a].y-w.sites[b].y)
}

// settle puts a new clone somewhere.
func (w *world) settle() string {
	c, s := id(len(w.told)), w.r.IntN(len(w.sites))
	w.told[c], w.at[c], w.node[c] = 0, s, len(w.present)
	w.present = append(w.present, c)
	w.members[s] = append(w.members[s], c)
	return c
}

// measure is a clone finding out about its links, and telling: those it has have other rates, and those to clones that left are
// replaced. If met is given, it is a clone that it has just met.
func (w *world) measure(c, met string) vector {
	s := w.at[c]
	v := w.tell(c)
	v.node, v.line = w.was[c].node, w.sites[s].line
	if v.node.ID == "" {
		up := []float64{50, 100, 200, 1000}[w.r.IntN(4)] * mbit
		v.node = netmap.Node{ID: c, Site: v.line.ID, Up: up, Down: up, Relay: w.r.IntN(100) == 0}
	}
	seen := map[string]bool{c: true, "": true}
	link := func(to string) {
		if seen[to] || len(v.edges) == degree {
			return
		}
		seen[to] = true
		e := netmap.Edge{From: c, To: to, Cost: 100, RTT: 0.0005, Rate: 1000 * mbit * (0.5 + w.r.Float64()/2)}
		if far := w.distance(s, w.at[to]); s != w.at[to] {
			e.Cost, e.RTT = 200+math.Round(1000*far), 0.003+0.1*far
			e.Rate = (0.5 + w.r.Float64()) * 4e6 / e.RTT
		}
		v.edges = append(v.edges, e)
	}
	link(met)
	for _, e := range w.was[c].edges {
		if _, there := w.node[e.To]; there {
			link(e.To)
		}
	}
	for range 2 {
		link(w.anyOf(w.present))
	}
	for i, mates := 0, w.members[s]; i < min(5, len(mates)); i++ {
		link(mates[(i+v.version+len(c))%len(mates)])
	}
	for tries := 0; tries < 50 && len(w.near[s]) > 0; tries++ {
		if others := w.members[w.near[s][w.r.IntN(len(w.near[s]))]]; len(others) > 0 {
			link(w.anyOf(others))
		}
	}
	w.was[c] = v
	return v
}

func (w *world) tell(c string) vector {
	w.told[c]++
	return vector{version: w.told[c], node: netmap.Node{ID: c}}
}

func (w *world) anyOf(clones []string) string { return clones[w.r.IntN(len(clones))] }

// change is one thing that happens: a clone joins, which those that it meets tell of too, or leaves, or its rates change. The
// vectors are what is told because of it.
func (w *world) change() []vector {
	switch w.r.IntN(4) {
	case 0:
		c := w.settle()
		told := []vector{w.measure(c, "")}
		for _, e := range told[0].edges[:min(4, len(told[0].edges))] {
			told = append(told, w.measure(e.To, c))
		}
		return told
	case 1:
		c := w.anyOf(w.present)
		last := w.present[len(w.present)-1]
		w.present[w.node[c]], w.node[last] = last, w.node[c]
		w.present = w.present[:len(w.present)-1]
		delete(w.node, c)
		s := w.at[c]
		w.members[s] = slices.DeleteFunc(w.members[s], func(m string) bool { return m == c })
		v := w.tell(c)
		v.gone = true
		w.was[c] = v
		return []vector{v}
	default:
		return []vector{w.measure(w.anyOf(w.present), "")}
	}
}

// listener is the part of an agent that keeps what clones tell.
type listener struct {
	known map[string]vector
	order []string // in which it first heard of them
}

func (a *listener) hear(v vector) {
	old, known := a.known[v.node.ID]
	if !known {
		a.order = append(a.order, v.node.ID)
	}
	if !known || v.version > old.version {
		a.known[v.node.ID] = v
	}
}

// network is what the agent knows, in the order in which it heard of it.
func (a *listener) network() netmap.Network {
	net := netmap.Network{Edges: make([]netmap.Edge, 0, degree*len(a.order))}
	sites := map[string]bool{}
	for _, c := range a.order {
		v := a.known[c]
		if v.gone {
			continue
		}
		net.Nodes = append(net.Nodes, v.node)
		if !sites[v.line.ID] {
			sites[v.line.ID] = true
			net.Sites = append(net.Sites, v.line)
		}
		for _, e := range v.edges { // an edge to one that it has not heard of, or that left, leads nowhere
			if to, known := a.known[e.To]; known && !to.gone {
				net.Edges = append(net.Edges, e)
			}
		}
	}
	return net
}

// key is a content: who holds it and who wants it.
type key struct {
	objective        netmap.Objective
	holders, wanters []string
}

// keys are contents that all want, that some want, and that a few want. Some of these clones left.
func (w *world) keys() []key {
	some, few := key{objective: netmap.Cost}, key{objective: netmap.Time}
	for i := range len(w.told) {
		c := id(i)
		switch {
		case i%100 == 7:
			some.holders = append(some.holders, c)
		case i%3 == 0:
			some.wanters = append(some.wanters, c)
		}
		if i < 100 {
			few.holders = append(few.holders, c)
		} else if i < 200 {
			few.wanters = append(few.wanters, c)
		}
	}
	return []key{w.everybody(netmap.Cost), some, few, w.everybody(netmap.Time)}
}

// everybody is a content that one clone holds and all others want.
func (w *world) everybody(objective netmap.Objective) key {
	return key{objective: objective, holders: []string{w.present[0]}, wanters: slices.Sorted(slices.Values(w.present))}
}

// planKeys plans for all keys on the network that an agent knows.
func planKeys(planners map[netmap.Objective]*netmap.Planner, m *netmap.Map, keys []key) []*netmap.Plan {
	var plans []*netmap.Plan
	for _, k := range keys {
		p := planners[k.objective]
		if p == nil {
			p = netmap.NewPlanner(m, k.objective, netmap.DefaultRoom)
			planners[k.objective] = p
		}
		p.SetMap(m)
		plans = append(plans, p.Plan(p.Group(k.holders, k.wanters, 64<<20)))
	}
	return plans
}

// settles lets a world of clones change, and agents hear of it, each in another order and so many things at a time, some of them
// twice. In between they sometimes plan with what they know. It fails unless all of them plan the same in the end; for the last
// key, which takes long, only one in so many of them does. It returns the bytes of signals per change, which is what every other
// agent receives.
func settles(t testing.TB, w *world, agents, changes, every int) float64 {
	t.Helper()
	var told []vector
	truth := &listener{known: map[string]vector{}}
	for _, c := range slices.Clone(w.present) {
		told = append(told, w.was[c])
	}
	bytes, hops := 0, 0
	for range changes {
		for _, v := range w.change() {
			told = append(told, v)
			bytes += v.bytes()
		}
	}
	for _, v := range told {
		truth.hear(v)
	}
	keys := w.keys()
	want := planKeys(map[netmap.Objective]*netmap.Planner{}, mustMap(t, truth.network()), keys)
	for _, plan := range want {
		hops += len(plan.Hops)
	}
	for agent := range agents {
		r := rand.New(rand.NewPCG(uint64(agent), 11))
		heard := slices.Clone(told)
		for range len(told) / 10 {
			heard = append(heard, told[r.IntN(len(told))])
		}
		r.Shuffle(len(heard), func(i, j int) { heard[i], heard[j] = heard[j], heard[i] })
		a, planners := &listener{known: map[string]vector{}}, map[netmap.Objective]*netmap.Planner{}
		for len(heard) > 0 {
			batch := min(len(heard), 1+r.IntN(len(told)))
			for _, v := range heard[:batch] {
				a.hear(v)
			}
			heard = heard[batch:]
			if r.IntN(3) == 0 {
				planKeys(planners, mustMap(t, a.network()), keys[:1])
			}
		}
		mine := keys
		if agent%every != 0 {
			mine = keys[:len(keys)-1]
		}
		for i, plan := range planKeys(planners, mustMap(t, a.network()), mine) {
			if !slices.Equal(plan.Hops, want[i].Hops) || !slices.Equal(plan.Unreachable, want[i].Unreachable) {
				t.Fatalf("agent %d has another plan for key %d", agent, i)
			}
		}
	}
	t.Logf("%d clones after %d changes: %d agents have the same plans for %d keys (the last: 1 agent in %d), %d hops; %d bytes of signals a change",
		len(w.present), changes, agents, len(keys), every, hops, bytes/changes)
	return float64(bytes) / float64(changes)
}

func TestAgentsAgreeAfterChurn(t *testing.T) {
	t.Parallel()
	settles(t, newWorld(21, 1000), 20, 500, 20)
}

// BenchmarkChurn is what one change costs an agent: to put what it knows into a map and to plan for one content that everybody
// wants. That all agents plan the same is checked before.
func BenchmarkChurn(b *testing.B) {
	for _, clones := range []int{1000, 10_000} {
		var w *world
		var bytes float64
		for _, objective := range []netmap.Objective{netmap.Cost, netmap.Time} {
			b.Run(fmt.Sprintf("%s-%d", objective, clones), func(b *testing.B) {
				if w == nil { // not if another size is asked for
					w = newWorld(22, clones)
					bytes = settles(b, w, 20, clones/2, 1)
				}
				a, planners := &listener{known: map[string]vector{}}, map[netmap.Objective]*netmap.Planner{}
				for _, c := range w.present {
					a.hear(w.was[c])
				}
				for b.Loop() {
					b.StopTimer()
					told, k := w.change(), w.everybody(objective)
					b.StartTimer()
					for _, v := range told {
						a.hear(v)
					}
					planKeys(planners, mustMap(b, a.network()), []key{k})
				}
				b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/change")
				b.ReportMetric(bytes, "signal-B/change")
			})
		}
	}
}
