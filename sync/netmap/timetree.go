package netmap

import (
	"math"
	"slices"
)

// closeEnough is how near to the bound a tree must come for the search to end.
const closeEnough = 0.95

// refinements is how many paces are tried between the best of the coarse search and the next faster one.
const refinements = 4

// little is how much better a tree must be to be worth a slower pace, which leaves less to those that are not the last.
const little = 0.98

// fastest finds a tree in which the last wanter is done early. With shared uplinks this is NP-hard (a bottleneck arborescence
// of bounded degree), so trees are grown greedily at several paces: how many bytes a second any node asks for at most. At a
// high pace a holder serves few, who serve others; at a low one it serves many itself. The prediction says which is best.
// Relays are used only where the wanters alone do not come close to the bound.
func (t *task) fastest() []int32 {
	if len(t.wanters) == 0 {
		return t.noTree()
	}
	s := &paceSearch{task: t, best: attempt{last: math.Inf(1)}}
	widest := t.widest(t.takes)
	s.goal = t.bound(widest) / closeEnough
	if len(t.relays) == 0 {
		s.run(t.takes, widest)
	} else if alone := s.choice(nil); !s.run(alone, t.widest(alone)) {
		s.run(t.takes, widest)
		used := s.choice(s.best.by)
		s.run(used, t.widest(used))
	}
	if s.best.last > s.goal {
		t.shift(s.best.by, s.goal)
	}
	t.spare(s.best.by)
	return s.best.by
}

// attempt is a tree and what it promises.
type attempt struct {
	by   []int32
	pace float64
	last float64 // seconds until the last wanter is done
	slow float64 // the least rate of the wanters that a better tree could give more
}

// paceSearch keeps the best attempt.
type paceSearch struct {
	*task
	goal float64 // seconds
	best attempt
}

// choice is the nodes that take part when only the relays of a tree do; without a tree, none.
func (s *paceSearch) choice(by []int32) []bool {
	takes := slices.Clone(s.takes)
	for _, v := range s.relays {
		takes[v] = by != nil && by[v] != none
	}
	return takes
}

// run grows trees at paces from the fastest down, until the goal is reached or a slower pace cannot help, and then at paces
// between the best and the next faster one.
func (s *paceSearch) run(takes []bool, widest []float64) (reached bool) {
	g := s.newGrower(takes, widest)
	pace, ok := g.fastestPace()
	if !ok {
		return false
	}
	s.try(g, pace)
	faster := pace
	// Two thirds, a half, a third, a quarter …: an uplink serves a whole number of children.
	for i := 0; s.best.last > s.goal && pace > s.best.slow/2; i++ {
		slower := pace * 2 / 3
		if i%2 == 1 {
			slower = pace * 3 / 4
		}
		if s.try(g, slower) {
			faster = pace
		}
		pace = slower
	}
	low := s.best.pace
	for range refinements {
		if s.best.last <= s.goal || low >= faster {
			break
		}
		middle := (low + faster) / 2
		if s.try(g, middle) {
			low = middle
		} else {
			faster = middle
		}
	}
	return s.best.last <= s.goal
}

// try keeps the tree grown at a pace if it is better than the best by more than a little.
func (s *paceSearch) try(g *grower, pace float64) (better bool) {
	by := g.grow(pace)
	f := s.predict(by)
	a := attempt{by: by, pace: pace, slow: noLimit}
	for _, v := range s.wanters {
		a.last = max(a.last, f.done[v])
		if f.rate[v] < g.widest[v]*little {
			a.slow = min(a.slow, f.rate[v])
		}
	}
	if s.best.by != nil && a.last >= s.best.last*little {
		return false
	}
	s.best = a
	return true
}
