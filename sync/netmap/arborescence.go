package netmap

import "slices"

// arborescence finds trees of least cost from the holders to every one of a set of nodes, by the method of Chu and Liu
// (1965) and Edmonds (1967) in the form of Gabow, Galil, Spencer and Tarjan (1986): grow a path backwards along cheapest
// edges, contract each cycle that it closes, and go on until it comes to the tree.
//
// The edges into a node are sorted by the map, so a mergeable heap need not hold edges: it holds the nodes of a contracted
// component, each with the cheapest of its edges that comes from outside. It has n items, not m, and most edges of a dense
// map are never looked at. The heaps are skew heaps (Sleator and Tarjan 1986), contractions are undone by a union-find with
// rollback. The time is O(m log n) at worst, once the map is sorted.
type arborescence struct {
	*task
	direct []int32 // the cheapest edge into each node from a holder, or none

	// Of each node as an item of a heap:
	best        []int32   // its cheapest edge from outside of its component
	less        []float64 // what was taken off the costs of its edges
	lazy        []float64 // what is still to be taken off those of this item and all below it
	left, right []int32

	heap []int32 // of each component, by its representative
	sets []int32 // union-find: the parent, or the size negated
	undo []change

	visited     []int32 // the node that the path started from when it came to a component, or none
	by          []int32
	path        []step
	cycles      []int32 // the edges of all contracted cycles
	contraction []contraction
}

type change struct {
	at, value int32
}

type step struct {
	component, edge int32
}

type contraction struct {
	component int32
	undo      int // length of undo before
	cycle     int // length of cycles before
}

func (t *task) newArborescence() *arborescence {
	n := len(t.ids)
	a := &arborescence{
		task: t, direct: t.noTree(),
		best: make([]int32, n), less: make([]float64, n), lazy: make([]float64, n), left: make([]int32, n), right: make([]int32, n),
		heap: make([]int32, n), sets: make([]int32, n), visited: make([]int32, n), by: make([]int32, n),
	}
	for _, h := range t.holders {
		for _, e := range t.out[t.outOf[h]:t.outOf[h+1]] {
			if v := t.to[e]; a.direct[v] == none || e < a.direct[v] {
				a.direct[v] = e
			}
		}
	}
	return a
}

// span finds the tree that reaches all nodes that take part, and says whether there is one. The tree is overwritten by the
// next call.
func (a *arborescence) span(takes []bool) (by []int32, ok bool) {
	a.undo, a.cycles, a.contraction = a.undo[:0], a.cycles[:0], a.contraction[:0]
	for v := range int32(len(a.ids)) {
		a.less[v], a.lazy[v], a.left[v], a.right[v] = 0, 0, none, none
		a.heap[v], a.sets[v], a.visited[v], a.by[v] = none, -1, none, none
		if a.holder[v] {
			a.visited[v] = v // the tree so far
		}
	}
	for v := range int32(len(a.ids)) {
		if takes[v] && !a.holder[v] && a.seek(v, a.into[v], takes) {
			a.heap[v] = v
		}
	}
	for v := range int32(len(a.ids)) {
		if takes[v] && !a.holder[v] && !a.grow(v, takes) {
			return nil, false
		}
	}
	a.expand()
	return a.by, true
}

// grow makes a path backwards from start until it comes to the tree. ok is false when it cannot.
func (a *arborescence) grow(start int32, takes []bool) (ok bool) {
	a.path = a.path[:0]
	for u := a.find(start); a.visited[u] == none; {
		v := a.top(u, takes)
		if v == none {
			return false
		}
		e := a.best[v]
		// Whichever other edge into u is chosen in the end, this one is saved.
		w := a.cost[e] - a.less[v]
		a.lazy[v] += w
		a.push(v)
		a.path = append(a.path, step{u, e})
		a.visited[u] = start
		u = a.find(a.from[e])
		if a.visited[u] == start {
			u = a.contract(u)
		}
	}
	for _, s := range a.path {
		a.by[a.find(a.to[s.edge])] = s.edge
	}
	return true
}

// contract makes one component of the cycle from u along the end of the path back to u.
func (a *arborescence) contract(u int32) int32 {
	c := contraction{undo: len(a.undo), cycle: len(a.cycles)}
	merged := int32(none)
	for {
		s := a.path[len(a.path)-1]
		a.path = a.path[:len(a.path)-1]
		a.cycles = append(a.cycles, s.edge)
		merged = a.merge(merged, a.heap[s.component])
		if s.component == u {
			break
		}
		a.join(a.find(u), s.component)
	}
	c.component = a.find(u)
	a.contraction = append(a.contraction, c)
	a.heap[c.component] = merged
	a.visited[c.component] = none
	return c.component
}

// expand undoes the contractions, the last one first: each cycle loses the edge into the node by which it is entered.
func (a *arborescence) expand() {
	end := len(a.cycles)
	for _, c := range slices.Backward(a.contraction) {
		entry := a.by[c.component]
		a.rollback(c.undo)
		for _, e := range a.cycles[c.cycle:end] {
			a.by[a.find(a.to[e])] = e
		}
		a.by[a.find(a.to[entry])] = entry
		end = c.cycle
	}
}

// top is the node of component u whose best edge is the cheapest into u, or none.
func (a *arborescence) top(u int32, takes []bool) int32 {
	for v := a.heap[u]; v != none; v = a.heap[u] {
		a.push(v)
		if a.find(a.from[a.best[v]]) != u {
			return v
		}
		rest := a.merge(a.left[v], a.right[v])
		a.left[v], a.right[v] = none, none
		if a.seek(v, a.best[v]+1, takes) {
			rest = a.merge(rest, v)
		}
		a.heap[u] = rest
	}
	return none
}

// seek sets the best edge of v: the first from e on that comes from another component. Of equal cost, one from a holder goes
// first, so that a tree is not deeper than it need be.
func (a *arborescence) seek(v, e int32, takes []bool) bool {
	u := a.find(v)
	for ; e < a.into[v+1]; e++ {
		if f := a.from[e]; takes[f] && a.find(f) != u {
			if d := a.direct[v]; d > e && a.cost[d] == a.cost[e] {
				e = d
			}
			a.best[v] = e
			return true
		}
	}
	return false
}

// before orders the items of a heap, those that equal reductions have not set apart: the cheaper edge, then the one
// from a holder, then by number. The lazy reductions of both must have been pushed.
func (a *arborescence) before(v, w int32) bool {
	x, y := a.cost[a.best[v]]-a.less[v], a.cost[a.best[w]]-a.less[w]
	if x != y {
		return x < y
	}
	p, q := a.holder[a.from[a.best[v]]], a.holder[a.from[a.best[w]]]
	if p != q {
		return p
	}
	return v < w
}

// push moves what is lazily taken off from an item to those below.
func (a *arborescence) push(v int32) {
	w := a.lazy[v]
	if w == 0 {
		return
	}
	a.lazy[v] = 0
	a.less[v] += w
	if l := a.left[v]; l != none {
		a.lazy[l] += w
	}
	if r := a.right[v]; r != none {
		a.lazy[r] += w
	}
}

// merge is the top-down meld of skew heaps: the right paths are merged, and at each step left and right change places.
func (a *arborescence) merge(v, w int32) int32 {
	if v == none {
		return w
	}
	if w == none {
		return v
	}
	a.push(v)
	a.push(w)
	if a.before(w, v) {
		v, w = w, v
	}
	root := v
	for {
		r := a.right[v]
		a.right[v] = a.left[v]
		if r == none {
			a.left[v] = w
			return root
		}
		a.push(r)
		if a.before(w, r) {
			r, w = w, r
		}
		a.left[v] = r
		v = r
	}
}

// find does not shorten paths, so that unions can be undone; they are by size, so paths are logarithmic.
func (a *arborescence) find(v int32) int32 {
	for a.sets[v] >= 0 {
		v = a.sets[v]
	}
	return v
}

// join unites two different components.
func (a *arborescence) join(u, v int32) {
	if a.sets[u] > a.sets[v] {
		u, v = v, u
	}
	a.undo = append(a.undo, change{u, a.sets[u]}, change{v, a.sets[v]})
	a.sets[u] += a.sets[v]
	a.sets[v] = u
}

func (a *arborescence) rollback(length int) {
	for _, c := range slices.Backward(a.undo[length:]) {
		a.sets[c.at] = c.value
	}
	a.undo = a.undo[:length]
}
