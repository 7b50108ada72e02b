package netmap

import (
	"math"
	"math/bits"
	"slices"
)

// effort bounds the search for relays: the nodes and edges of all the trees that it may try, about ten milliseconds.
const effort = 1 << 20

// cheapest finds the tree of least cost that reaches the wanters. Which relays to use makes it the directed Steiner tree
// problem, which is NP-hard; with the relays chosen, the arborescence is exact. So all choices are tried where effort allows,
// and otherwise a choice is made better step by step.
func (t *task) cheapest() []int32 {
	if len(t.wanters) == 0 {
		return t.noTree()
	}
	s := &relaySearch{arborescence: t.newArborescence(), cost: math.Inf(1), left: effort}
	if r := len(t.relays); r == 0 || r < bits.Len(effort) && s.price()<<r <= effort {
		s.all()
	} else {
		s.stepwise()
	}
	return s.best
}

// relaySearch keeps the best tree found.
type relaySearch struct {
	*arborescence
	best []int32
	cost float64
	left int // of the effort
}

// price is the effort of one tree.
func (s *relaySearch) price() int { return len(s.ids) + len(s.from) }

// try spans the nodes of a choice, cuts off what leads to no wanter, and keeps the tree if it is cheaper than the best.
func (s *relaySearch) try(takes []bool) (better bool) {
	s.left -= s.price()
	by, ok := s.span(takes)
	if !ok {
		return false
	}
	s.prune(by)
	cost := s.treeCost(by)
	if s.best != nil && cost >= s.cost {
		return false
	}
	s.best, s.cost = append(s.best[:0], by...), cost
	return true
}

// all tries every set of relays, which is exact: the best tree spans the wanters and the relays that it uses.
func (s *relaySearch) all() {
	takes := slices.Clone(s.takes)
	for set := range 1 << len(s.relays) {
		for i, v := range s.relays {
			takes[v] = set>>i&1 != 0
		}
		s.try(takes)
	}
}

// stepwise starts with no relays, with all, and with those that were of use, and goes on by taking single relays out of the
// best tree and adding single ones, until nothing helps or the effort is spent.
func (s *relaySearch) stepwise() {
	takes := slices.Clone(s.takes)
	for _, v := range s.relays {
		takes[v] = false
	}
	s.try(takes)
	s.try(s.takes)
	for again := true; again && s.left > 0; {
		again = s.try(s.used(takes))
		for _, v := range s.relays {
			if s.left <= 0 {
				return
			}
			s.used(takes)
			takes[v] = !takes[v]
			again = s.try(takes) || again
		}
	}
}

// used sets takes to the nodes of the best tree, and all holders.
func (s *relaySearch) used(takes []bool) []bool {
	for v, e := range s.best {
		takes[v] = e != none || s.holder[v]
	}
	return takes
}
