package netmap

import (
	"cmp"
	"math"
	"slices"
)

// nearlyBest is how near to the best a parent must come to be taken because it is cheaper.
const nearlyBest = 0.9

// rearranging bounds the search for room in a tree: the edges that it may look at.
const rearranging = 1 << 17

// rounding is by how much a promise may exceed what a site has left.
const rounding = 1e-9

// grower grows trees from the holders, node by node, for the time objective. Each node asks for its widest rate, or for the
// pace if that is less. A parent promises it of what it gets itself and of what is left of its uplink, and the edges that
// cross the border of a site of what is left of the site's lines.
//
// The strongest of those that can be served goes first, because it can then serve others. Of the parents with which it would
// be done nearly as early as with the best, the cheapest is chosen; then one of its site; then the earliest; then by ID.
// Nodes that nobody has room for wait until others that can serve them are in the tree, or nothing else is left to do; then they
// take an equal share.
type grower struct {
	*task
	takes  []bool
	widest []float64

	asks    []float64
	rank    []int32 // in which nodes are served, the strongest first
	state   []state
	suitor  []int32 // the edge by which a node that had waited can be served
	by      []int32
	rate    []float64 // promised to a node
	begin   []float64 // when it has the first block
	uplink  []line
	siteUp  []line
	siteIn  []line
	queued  queue[int32]
	waiting queue[int32]
	offers  []offer
	effort  int // left for making room
}

type state uint8

const (
	outside state = iota // no neighbour is in the tree
	queued               // to be served
	waiting              // nobody had room for it
	again                // queued after it had waited
	inside
)

// line is a capacity that several edges share.
type line struct {
	capacity float64
	most     float64 // that may be promised
	promised float64
	edges    int
}

// room is what can still be promised.
func (l *line) room() float64 {
	if l.capacity == noLimit {
		return noLimit
	}
	return l.most - l.promised
}

// share is what one more edge gets at least, when all get the same.
func (l *line) share() float64 { return l.capacity / float64(l.edges+1) }

// kept is the part of a further promise that comes.
func (l *line) kept(rate float64) float64 {
	if l.capacity == noLimit {
		return 1
	}
	return min(1, l.capacity/(l.promised+rate))
}

// offer is what a parent can do for a node.
type offer struct {
	edge  int32
	rate  float64
	begin float64 // when the node has the first block
	done  float64 // when it has everything
}

func (t *task) newGrower(takes []bool, widest []float64) *grower {
	n := len(t.ids)
	g := &grower{
		task: t, takes: takes, widest: widest,
		asks: make([]float64, n), rank: make([]int32, n), state: make([]state, n), suitor: make([]int32, n),
		rate: make([]float64, n), begin: make([]float64, n), uplink: make([]line, n),
		siteUp: make([]line, len(t.siteUp)), siteIn: make([]line, len(t.siteUp)),
	}
	first := func(v, w int32) bool { return g.rank[v] < g.rank[w] }
	g.queued.less, g.waiting.less = first, first
	return g
}

// fastestPace is the largest rate with a limit that any wanter can have, or no limit if there is none. ok is false when
// a wanter cannot be reached by those who take part.
func (g *grower) fastestPace() (pace float64, ok bool) {
	for _, v := range g.wanters {
		if math.IsNaN(g.widest[v]) {
			return 0, false
		}
		if g.widest[v] < noLimit {
			pace = max(pace, g.widest[v])
		}
	}
	if pace == 0 {
		pace = noLimit
	}
	return pace, true
}

// grow returns a tree of all that can be reached, without the relays that lead to no wanter.
func (g *grower) grow(pace float64) (by []int32) {
	g.reset(pace)
	g.effort = rearranging
	for _, h := range g.holders {
		g.lead(h)
	}
	for {
		if v, ok := g.queued.pop(); ok {
			best := offer{edge: none}
			if g.state[v] != again || g.offer(g.suitor[v], false).rate > 0 {
				best = g.choose(v, false)
			}
			if best.edge != none {
				g.attach(v, best)
			} else {
				g.state[v] = waiting
				g.waiting.push(v)
			}
			continue
		}
		v, ok := g.waiting.pop()
		if !ok {
			break
		}
		if g.state[v] != waiting {
			continue
		}
		best := g.makeRoom(v)
		if best.edge == none {
			best = g.choose(v, true)
		}
		g.attach(v, best)
	}
	g.prune(g.by)
	return g.by
}

func (g *grower) reset(pace float64) {
	g.by = g.noTree()
	var nodes []int32
	for v := range int32(len(g.ids)) {
		g.state[v] = outside
		if g.holder[v] {
			g.state[v], g.rate[v], g.begin[v] = inside, noLimit, 0
		}
		g.asks[v] = min(pace, g.widest[v])
		g.uplink[v] = line{capacity: g.up[v], most: g.up[v] / nearlyBest}
		if g.takes[v] && !g.holder[v] && !math.IsNaN(g.widest[v]) {
			nodes = append(nodes, v)
		}
	}
	for s := range g.siteUp {
		up, down := g.task.siteUp[s], g.siteDown[s]
		g.siteUp[s] = line{capacity: up, most: up * (1 + rounding)}
		g.siteIn[s] = line{capacity: down, most: down * (1 + rounding)}
	}
	slices.SortFunc(nodes, func(v, w int32) int {
		return cmp.Or(
			cmp.Compare(min(g.asks[w], g.up[w]), min(g.asks[v], g.up[v])),
			cmp.Compare(g.up[w], g.up[v]),
			cmp.Compare(g.asks[w], g.asks[v]),
			cmp.Compare(v, w))
	})
	for i, v := range nodes {
		g.rank[v] = int32(i)
	}
}

// offer is what the edge's start, which is inside, can do for its end. Its rate is 0 when there is no room. To squeeze is to
// take an equal share from those who were promised more.
func (g *grower) offer(e int32, squeeze bool) offer {
	u, v := g.from[e], g.to[e]
	rate := min(g.asks[v], g.rate[u], g.task.rate[e], g.down[v])
	room, share, kept := g.uplink[u].room(), g.uplink[u].share(), g.uplink[u].kept(rate)
	if s := g.leaves(e); s != none {
		room, share = min(room, g.siteUp[s].room()), min(share, g.siteUp[s].share())
	}
	if s := g.enters(e); s != none {
		room, share = min(room, g.siteIn[s].room()), min(share, g.siteIn[s].share())
	}
	switch {
	case squeeze:
		rate = min(rate, max(room, share))
	case rate > room || rate < g.asks[v]*nearlyBest:
		return offer{edge: e}
	}
	begin := g.begin[u] + g.rtt[e] + min(Block, g.size)/max(rate, min(share, g.task.rate[e], g.down[v]))
	return offer{e, rate, begin, begin + max(0, g.size-Block)/(rate*kept)}
}

// choose finds the parent for a node. Its edge is none when nobody has room.
func (g *grower) choose(v int32, squeeze bool) offer {
	g.offers = g.offers[:0]
	earliest := math.Inf(1)
	for e := g.into[v]; e < g.into[v+1]; e++ {
		if g.state[g.from[e]] != inside {
			continue
		}
		if o := g.offer(e, squeeze); o.rate > 0 {
			g.offers = append(g.offers, o)
			earliest = min(earliest, o.done)
		}
	}
	best := offer{edge: none}
	for _, o := range g.offers { // the cheaper first, then by ID
		if o.done > earliest/nearlyBest {
			continue
		}
		if best.edge == none {
			best = o
			continue
		}
		if g.cost[o.edge] > g.cost[best.edge] {
			break
		}
		home, homeBest := g.enters(o.edge) == none, g.enters(best.edge) == none
		if home != homeBest && home || home == homeBest && o.done < best.done {
			best = o
		}
	}
	return best
}

// makeRoom finds a parent for a node that nobody has room for: one of whose children another parent has room for. That child
// changes its parent. The edge is none when there is no such child.
func (g *grower) makeRoom(v int32) offer {
	for e := g.into[v]; e < g.into[v+1]; e++ {
		u := g.from[e]
		if g.state[u] != inside || min(g.rate[u], g.task.rate[e], g.down[v]) < g.asks[v]*nearlyBest {
			continue
		}
		for _, down := range g.out[g.outOf[u]:g.outOf[u+1]] {
			if g.effort <= 0 {
				return offer{edge: none}
			}
			g.effort--
			w := g.to[down]
			if g.by[w] != down {
				continue
			}
			g.promise(down, -g.rate[w], -1)
			if o := g.offer(e, false); o.rate > 0 {
				if other := g.move(w, u); other.edge != none {
					g.by[w], g.rate[w] = other.edge, other.rate
					g.promise(other.edge, other.rate, 1)
					return o
				}
			}
			g.promise(down, g.rate[w], 1)
		}
	}
	return offer{edge: none}
}

// move finds another parent than u for a node of the tree, at nearly its rate.
func (g *grower) move(w, u int32) offer {
	for e := g.into[w]; e < g.into[w+1]; e++ {
		g.effort--
		x := g.from[e]
		if x == u || g.state[x] != inside {
			continue
		}
		if o := g.offer(e, false); o.rate >= g.rate[w]*nearlyBest && !g.above(w, x) {
			return o
		}
	}
	return offer{edge: none}
}

// above says whether x is w, or gets the content through it.
func (g *grower) above(w, x int32) bool {
	for ; x != w; x = g.from[g.by[x]] {
		if g.by[x] == none {
			return false
		}
	}
	return true
}

// promise notes, or takes back, what an edge was promised by all that it goes through.
func (g *grower) promise(e int32, rate float64, edges int) {
	note := func(l *line) {
		l.promised += rate
		l.edges += edges
	}
	note(&g.uplink[g.from[e]])
	if s := g.leaves(e); s != none {
		note(&g.siteUp[s])
	}
	if s := g.enters(e); s != none {
		note(&g.siteIn[s])
	}
}

func (g *grower) attach(v int32, o offer) {
	g.by[v], g.rate[v], g.begin[v] = o.edge, o.rate, o.begin
	g.promise(o.edge, o.rate, 1)
	g.state[v] = inside
	g.lead(v)
}

// lead queues those that a node of the tree leads to.
func (g *grower) lead(v int32) {
	most := min(g.rate[v], g.uplink[v].room())
	for i := g.outOf[v]; i < g.outOf[v+1]; i++ {
		w := g.outTo[i]
		switch {
		case !g.takes[w]:
		case g.state[w] == outside:
			g.state[w] = queued
			g.queued.push(w)
		case g.state[w] == waiting && most >= g.asks[w]*nearlyBest && g.offer(g.out[i], false).rate > 0:
			g.state[w], g.suitor[w] = again, g.out[i]
			g.queued.push(w)
		}
	}
}
