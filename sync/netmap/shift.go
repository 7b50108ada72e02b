package netmap

import "slices"

// shifts bounds the search of shift: the nodes of all the trees that it may predict.
const shifts = 1 << 14

// shift makes a tree faster by small changes, as long as they help: one of the nodes on which the last wanter depends, or
// that share what limits it, gets another parent. A node can come below its own branch when the branch gets another parent
// first.
func (t *task) shift(by []int32, goal float64) {
	s := &shifter{task: t, by: by, left: shifts}
	s.flow = t.predict(by)
	s.last, s.sum = s.score(s.flow)
	for s.last > goal && s.better() {
	}
}

type shifter struct {
	*task
	by   []int32
	flow flow
	last float64 // seconds until the last wanter is done
	sum  float64 // of the seconds of all wanters
	left int
}

func (s *shifter) score(f flow) (last, sum float64) {
	for _, v := range s.wanters {
		last = max(last, f.done[v])
		sum += f.done[v]
	}
	return last, sum
}

// better makes the first change that helps, and says whether there was one.
func (s *shifter) better() bool {
	for _, w := range s.critical() {
		for e := s.into[w]; e < s.into[w+1]; e++ {
			x := s.from[e]
			switch {
			case e == s.by[w] || !s.inside(x):
			case !s.below(x, w):
				if s.try(w, e, w, e) {
					return true
				}
			default:
				for y := x; y != w; y = s.from[s.by[y]] {
					for other := s.into[y]; other < s.into[y+1]; other++ {
						if z := s.from[other]; s.inside(z) && !s.below(z, w) && s.try(w, e, y, other) {
							return true
						}
					}
				}
			}
		}
	}
	return false
}

// try gives parents to two nodes, which may be the same, and keeps the tree if the last wanter is done earlier, or no later
// and the others are.
func (s *shifter) try(w, e, y, other int32) bool {
	if s.left <= 0 {
		return false
	}
	s.left -= len(s.ids)
	by := slices.Clone(s.by)
	by[w], by[y] = e, other
	s.prune(by)
	f := s.predict(by)
	last, sum := s.score(f)
	const less = 1 - 1e-9 // than rounding can make
	if last >= s.last*less && (last > s.last || sum >= s.sum*less) {
		return false
	}
	copy(s.by, by)
	s.flow, s.last, s.sum = f, last, sum
	return true
}

// critical lists the nodes on the way to the last wanter, from its end, and then those whose edges share a limit with the one
// that is as slow as the wanter and nearest to the holder.
func (s *shifter) critical() []int32 {
	slowest := s.wanters[0]
	for _, v := range s.wanters {
		if s.flow.done[v] > s.flow.done[slowest] {
			slowest = v
		}
	}
	var nodes []int32
	neck := slowest
	for v := slowest; s.by[v] != none; v = s.from[s.by[v]] {
		nodes = append(nodes, v)
		if s.flow.rate[v] <= s.flow.rate[slowest] {
			neck = v
		}
	}
	for v, e := range s.by {
		if e != none && s.sharesLimit(e, s.by[neck]) && !slices.Contains(nodes, int32(v)) {
			nodes = append(nodes, int32(v))
		}
	}
	return nodes
}

func (s *shifter) sharesLimit(a, b int32) bool {
	return s.from[a] == s.from[b] ||
		s.leaves(a) != none && s.leaves(a) == s.leaves(b) ||
		s.enters(a) != none && s.enters(a) == s.enters(b)
}

func (s *shifter) inside(v int32) bool { return s.holder[v] || s.by[v] != none }

// below says whether x is w, or gets the content through it.
func (s *shifter) below(x, w int32) bool {
	for ; x != w; x = s.from[s.by[x]] {
		if s.by[x] == none {
			return false
		}
	}
	return true
}
