package netmap

// spare has the holders send a content fewer times, where that makes the last wanter hardly later: their children get other
// parents, by edges that cost no more. A holder is often one machine on a thin uplink. What is known of those who pass contents
// on is moreover the least that they can do: they were seen waiting for what comes.
func (t *task) spare(by []int32) {
	s := &shifter{task: t, by: by, left: shifts}
	last, _ := s.score(t.predict(by))
	children := make([]int, len(t.ids))
	for _, e := range by {
		if e != none {
			children[t.from[e]]++
		}
	}
	for w, e := range by {
		if e == none || !t.holder[t.from[e]] || children[t.from[e]] < 2 {
			continue
		}
		if other := s.elsewhere(int32(w), last/nearlyBest); other != none {
			by[w] = other
			children[t.from[e]]--
		}
	}
}

// elsewhere finds the edge from somebody who is no holder by which a node may get the content instead, so that the last wanter is
// done earliest, and no later than at most; or none.
func (s *shifter) elsewhere(w int32, most float64) int32 {
	old, best := s.by[w], int32(none)
	for e := s.into[w]; e < s.into[w+1] && s.left > 0; e++ {
		x := s.from[e]
		dearer := s.cost[e] > s.cost[old] || s.enters(e) != none && s.enters(old) == none
		if s.holder[x] || !s.inside(x) || dearer || s.below(x, w) {
			continue
		}
		s.left -= len(s.ids)
		s.by[w] = e
		if last, _ := s.score(s.predict(s.by)); last <= most && (best == none || last < s.last) {
			best, s.last = e, last
		}
	}
	s.by[w] = old
	return best
}
