package netmap

import (
	"cmp"
	"math"
	"slices"
)

// Numbers outside are refused, so that sums and quotients stay finite.
const (
	largest      = 1e300
	smallestRate = 1e-9 // bytes a second
)

// none stands for no edge, no node and no site.
const none = -1

var noLimit = math.Inf(1)

// Map is a Network that was checked and indexed. It does not change, and any number of goroutines may use it.
type Map struct {
	ids      []string         // of the nodes, sorted: a node's number is its place here
	number   map[string]int32 // of a node, by ID
	relay    []bool
	up, down []float64 // noLimit where there is none
	site     []int32   // of each node, or none

	siteUp, siteDown []float64

	// Edges are numbered by the node they lead to, then by cost, then by the node they come from.
	into      []int32 // the edges into v are into[v] to into[v+1]-1
	from, to  []int32
	cost      []float64
	rate, rtt []float64

	// The edges out of u are out[outOf[u]] to out[outOf[u+1]-1], by the node they lead to. What is asked of one after the
	// other is there in the same order, too.
	outOf    []int32
	out      []int32
	outTo    []int32
	outRTT   []float64
	outWidth []float64 // the rate of an edge that has everything for itself
}

// New checks a network and makes a map of it. What is wrong is told by an *Error.
func New(n Network) (*Map, error) {
	m := &Map{}
	sites, err := m.addSites(n.Sites)
	if err != nil {
		return nil, err
	}
	if err := m.addNodes(n.Nodes, sites); err != nil {
		return nil, err
	}
	if err := m.addEdges(n.Edges); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Map) addSites(sites []Site) (map[string]int32, error) {
	number := make(map[string]int32, len(sites))
	for i, s := range sites {
		place := at("sites", i)
		if s.ID == "" {
			return nil, wrong(place+".id", "a site needs an id")
		}
		if other, ok := number[s.ID]; ok {
			return nil, wrong(place, "site %q is at sites[%d] already", s.ID, other)
		}
		if err := checkRates(place, s.Up, s.Down); err != nil {
			return nil, err
		}
		number[s.ID] = int32(i)
	}
	byID := slices.SortedFunc(slices.Values(sites), func(a, b Site) int { return cmp.Compare(a.ID, b.ID) })
	for i, s := range byID {
		number[s.ID] = int32(i)
		m.siteUp = append(m.siteUp, orNoLimit(s.Up))
		m.siteDown = append(m.siteDown, orNoLimit(s.Down))
	}
	return number, nil
}

func (m *Map) addNodes(nodes []Node, sites map[string]int32) error {
	m.number = make(map[string]int32, len(nodes))
	for i, n := range nodes {
		place := at("nodes", i)
		if n.ID == "" {
			return wrong(place+".id", "a node needs an id")
		}
		if other, ok := m.number[n.ID]; ok {
			return wrong(place, "node %q is at nodes[%d] already", n.ID, other)
		}
		if _, ok := sites[n.Site]; !ok && n.Site != "" {
			return wrong(place+".site", "unknown site %q", n.Site)
		}
		if err := checkRates(place, n.Up, n.Down); err != nil {
			return err
		}
		m.number[n.ID] = int32(i)
	}
	byID := slices.SortedFunc(slices.Values(nodes), func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	for i, n := range byID {
		m.number[n.ID] = int32(i)
		m.ids = append(m.ids, n.ID)
		m.relay = append(m.relay, n.Relay)
		m.up = append(m.up, orNoLimit(n.Up))
		m.down = append(m.down, orNoLimit(n.Down))
		site, ok := sites[n.Site]
		if !ok {
			site = none
		}
		m.site = append(m.site, site)
	}
	return nil
}

// arc is an edge by the numbers of its nodes.
type arc struct {
	from, to int32
	at       int32 // in Network.Edges
	cost     float64
}

func (m *Map) addEdges(edges []Edge) error {
	arcs := make([]arc, len(edges))
	m.into = make([]int32, len(m.ids)+1)
	m.outOf = make([]int32, len(m.ids)+1)
	for i, e := range edges {
		from, ok := m.number[e.From]
		if !ok {
			return wrong(at("edges", i)+".from", "unknown node %q", e.From)
		}
		to, ok := m.number[e.To]
		if !ok {
			return wrong(at("edges", i)+".to", "unknown node %q", e.To)
		}
		if from == to {
			return wrong(at("edges", i), "an edge from %q to itself", e.From)
		}
		if err := checkEdge(i, e); err != nil {
			return err
		}
		arcs[i] = arc{from, to, int32(i), e.Cost}
		m.into[to+1]++
		m.outOf[from+1]++
	}
	for v := range m.ids {
		m.into[v+1] += m.into[v]
		m.outOf[v+1] += m.outOf[v]
	}
	arcs, err := m.sorted(arcs)
	if err != nil {
		return err
	}
	m.from, m.to = make([]int32, len(arcs)), make([]int32, len(arcs))
	m.cost, m.rate, m.rtt = make([]float64, len(arcs)), make([]float64, len(arcs)), make([]float64, len(arcs))
	m.out, m.outTo = make([]int32, len(arcs)), make([]int32, len(arcs))
	m.outRTT, m.outWidth = make([]float64, len(arcs)), make([]float64, len(arcs))
	next := slices.Clone(m.outOf)
	for i, a := range arcs {
		e := &edges[a.at]
		m.from[i], m.to[i] = a.from, a.to
		m.cost[i], m.rate[i], m.rtt[i] = e.Cost, orNoLimit(e.Rate), e.RTT
		at := next[a.from]
		m.out[at], m.outTo[at], m.outRTT[at], m.outWidth[at] = int32(i), a.to, e.RTT, m.width(int32(i))
		next[a.from]++
	}
	return nil
}

// sorted puts the arcs in the order of the map, and refuses one that is there twice.
func (m *Map) sorted(arcs []arc) ([]arc, error) {
	byHead := make([]arc, len(arcs))
	next := slices.Clone(m.into)
	for _, a := range arcs {
		byHead[next[a.to]] = a
		next[a.to]++
	}
	last := slices.Repeat([]arc{{to: none}}, len(m.ids)) // that was seen from a node
	for v := range m.ids {
		into := byHead[m.into[v]:m.into[v+1]]
		for _, a := range into {
			if other := last[a.from]; other.to == a.to {
				return nil, wrong(at("edges", int(a.at)), "the edge from %q to %q is at edges[%d] already", m.ids[a.from], m.ids[v], other.at)
			}
			last[a.from] = a
		}
		slices.SortFunc(into, func(a, b arc) int {
			return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(a.from, b.from))
		})
	}
	return byHead, nil
}

// edge finds the edge between two nodes, or none.
func (m *Map) edge(from, to int32) int32 {
	begin, end := m.outOf[from], m.outOf[from+1]
	i, ok := slices.BinarySearch(m.outTo[begin:end], to)
	if !ok {
		return none
	}
	return m.out[begin:end][i]
}

// leaves is the site whose line to the world the edge goes out through, or none; enters the one that it comes in through.
func (m *Map) leaves(e int32) int32 {
	if s := m.site[m.from[e]]; s != m.site[m.to[e]] {
		return s
	}
	return none
}

func (m *Map) enters(e int32) int32 {
	if s := m.site[m.to[e]]; s != m.site[m.from[e]] {
		return s
	}
	return none
}

// width is the rate of an edge that has everything for itself.
func (m *Map) width(e int32) float64 {
	w := min(m.rate[e], m.up[m.from[e]], m.down[m.to[e]])
	if s := m.leaves(e); s != none {
		w = min(w, m.siteUp[s])
	}
	if s := m.enters(e); s != none {
		w = min(w, m.siteDown[s])
	}
	return w
}

func orNoLimit(rate float64) float64 {
	if rate == 0 {
		return noLimit
	}
	return rate
}

// checkRates checks what a node or a site can send and receive; 0 is no limit.
func checkRates(place string, up, down float64) error {
	if !isRate(up) {
		return wrong(place+".up", notRate, up, smallestRate, largest)
	}
	if !isRate(down) {
		return wrong(place+".down", notRate, down, smallestRate, largest)
	}
	return nil
}

func checkEdge(i int, e Edge) error {
	if !(e.Cost >= 0 && e.Cost <= largest) {
		return wrong(at("edges", i)+".cost", "%v is not a cost; it must be between 0 and %g", e.Cost, largest)
	}
	if !(e.RTT >= 0 && e.RTT <= largest) {
		return wrong(at("edges", i)+".rtt", "%v is not a round trip; it must be between 0 and %g", e.RTT, largest)
	}
	if !isRate(e.Rate) {
		return wrong(at("edges", i)+".rate", notRate, e.Rate, smallestRate, largest)
	}
	return nil
}

const notRate = "%v is not a rate; it must be between %g and %g"

func isRate(rate float64) bool {
	return rate == 0 || rate >= smallestRate && rate <= largest
}
