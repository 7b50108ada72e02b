package netmap

import "cmp"

// Block is how many bytes a node must have before it can send them on.
const Block = 1 << 20

// flow is what a tree does: by node, the bytes a second that it gets, and the seconds until it has everything.
type flow struct {
	rate, done []float64
}

// predict tells how fast a content goes along a tree when all its edges carry it at the same time. What several edges share
// (the uplink of a node, the lines of a site) is shared max-min fairly, as TCP roughly does: all rates rise together, and
// those that come to a limit stay there, and with them all below, because nobody can send on what has not come. A node sends on
// each block as it comes, so an edge adds its round trip and the time of a block, not of a content.
//
// By max-min fairness, the slowest rate is the largest that this tree allows. Edges that are done earlier free only what the
// slowest do not share, so the rate of the last node is exact in this model; those before may be done a little earlier.
func (t *task) predict(by []int32) flow {
	order := t.preorder(by)
	f := t.fill(by, order)
	begin := make([]float64, len(by)) // when the first block is there
	for _, v := range order {
		e := by[v]
		begin[v] = begin[t.from[e]] + t.rtt[e] + min(Block, t.size)/max(f.rate[v], f.share[v])
	}
	done := begin
	for _, v := range order {
		done[v] += max(0, t.size-Block) / f.rate[v]
	}
	return flow{f.rate, done}
}

// filling settles rates, by node that an edge leads to.
type filling struct {
	*task
	by      []int32
	rate    []float64
	share   []float64 // what an edge gets when all that share with it get the same: a single block may go faster than a content
	settled []bool
	limits  []limit      // of uplinks by node, then of the sites outwards, then of the sites inwards
	next    [][3]int32   // the node after a node on its uplink, its site outwards, its site inwards
	events  queue[event] // that may come, the lowest rate first
}

// limit is on the sum of the rates of some edges.
type limit struct {
	kind     int // of the three of next
	capacity float64
	taken    float64 // by edges whose rate is settled
	rising   int     // the other edges
	first    int32   // of the nodes that the edges lead to
}

// fair is the rate at which the limit is reached, when all that rise have the same. It grows when others settle before.
func (l *limit) fair() float64 { return max(0, l.capacity-l.taken) / float64(l.rising) }

// event is a rate at which a limit is reached, unless others settle before, or what a single edge and its end can carry.
type event struct {
	rate  float64
	limit int32 // or none
	node  int32
}

func (e event) before(other event) bool {
	return cmp.Or(cmp.Compare(e.rate, other.rate), cmp.Compare(e.limit, other.limit), cmp.Compare(e.node, other.node)) < 0
}

// fill sets the rates of the nodes in order, which is that of a tree.
func (t *task) fill(by, order []int32) *filling {
	n, sites := len(t.ids), len(t.siteUp)
	f := &filling{
		task: t, by: by, rate: make([]float64, n), share: make([]float64, n), settled: make([]bool, n),
		limits: make([]limit, n+2*sites), next: make([][3]int32, n), events: queue[event]{less: event.before},
	}
	for l := range f.limits {
		switch {
		case l < n:
			f.limits[l] = limit{kind: 0, capacity: t.up[l], first: none}
		case l < n+sites:
			f.limits[l] = limit{kind: 1, capacity: t.siteUp[l-n], first: none}
		default:
			f.limits[l] = limit{kind: 2, capacity: t.siteDown[l-n-sites], first: none}
		}
	}
	for _, v := range order {
		f.rate[v] = noLimit
		for kind, l := range f.on(v) {
			if l != none {
				f.next[v][kind] = f.limits[l].first
				f.limits[l].first = v
				f.limits[l].rising++
			}
		}
		if own := min(t.rate[by[v]], t.down[v]); own < noLimit {
			f.events.push(event{own, none, v})
		}
	}
	for l := range f.limits {
		if f.limits[l].rising > 0 && f.limits[l].capacity < noLimit {
			f.events.push(event{f.limits[l].fair(), int32(l), none})
		}
	}
	for _, v := range order {
		f.share[v] = min(t.rate[by[v]], t.down[v])
		for _, l := range f.on(v) {
			if l != none {
				f.share[v] = min(f.share[v], f.limits[l].fair())
			}
		}
	}
	for e, ok := f.events.pop(); ok; e, ok = f.events.pop() {
		f.happen(e)
	}
	return f
}

// on is the limits that the edge to a node counts for: the uplink, the site outwards, the site inwards; or none.
func (f *filling) on(v int32) [3]int32 {
	n, sites := int32(len(f.ids)), int32(len(f.siteUp))
	on := [3]int32{f.from[f.by[v]], none, none}
	if s := f.leaves(f.by[v]); s != none {
		on[1] = n + s
	}
	if s := f.enters(f.by[v]); s != none {
		on[2] = n + sites + s
	}
	return on
}

func (f *filling) happen(e event) {
	if e.limit == none {
		f.settle(e.node, e.rate)
		return
	}
	l := &f.limits[e.limit]
	if l.rising == 0 {
		return
	}
	if fair := l.fair(); fair > e.rate {
		f.events.push(event{fair, e.limit, none})
		return
	}
	for v := l.first; v != none; v = f.next[v][l.kind] {
		f.settle(v, e.rate)
	}
}

// settle leaves a node and all below it at a rate, unless they are at a lower one.
func (f *filling) settle(v int32, rate float64) {
	if f.settled[v] {
		return
	}
	f.settled[v], f.rate[v] = true, rate
	for _, l := range f.on(v) {
		if l != none {
			f.limits[l].taken += rate
			f.limits[l].rising--
		}
	}
	for child := f.limits[v].first; child != none; child = f.next[child][0] {
		f.settle(child, rate)
	}
}
