package netmap

import "math"

// Bound is a number of seconds that no way of spreading the content beats, be it one tree, many or a swarm: every wanter that
// can be reached needs all of it over its widest way, and all of them together need as many contents as there are wanters
// from the uplinks of those who can take part, in the whole network, inside each site and outside of it. What is wrong with
// the problem is told by an *Error.
func (m *Map) Bound(p Problem) (float64, error) {
	t, err := m.task(p)
	if err != nil {
		return 0, err
	}
	return t.bound(t.widest(t.takes)), nil
}

func (t *task) bound(widest []float64) float64 {
	least := 0.0
	trip := t.soonest()
	for _, v := range t.wanters {
		least = max(least, trip[v]+t.size/widest[v])
	}
	up, wanters := make([]float64, len(t.siteUp)+1), make([]float64, len(t.siteUp)+1)
	all := len(t.siteUp) // the whole network, after the sites
	for v, takes := range t.takes {
		if !takes {
			continue
		}
		for _, place := range []int32{t.site[v], int32(all)} {
			if place == none {
				continue
			}
			up[place] += t.up[v]
			if t.wanter[v] {
				wanters[place]++
			}
		}
	}
	least = max(least, ratio(wanters[all]*t.size, up[all]))
	for s := range t.siteUp {
		least = max(least, ratio(wanters[s]*t.size, up[s]+t.siteDown[s]))
		outside := 0.0
		for v, takes := range t.takes {
			if takes && t.site[v] != int32(s) {
				outside += t.up[v]
			}
		}
		least = max(least, ratio((wanters[all]-wanters[s])*t.size, outside+t.siteUp[s]))
	}
	return least
}

// ratio is the time for bytes, of which there may be none.
func ratio(bytes, rate float64) float64 {
	if bytes == 0 {
		return 0
	}
	return bytes / rate
}

// widest is, for each node, the rate of the widest way from a holder when nobody else uses it.
func (t *task) widest(takes []bool) []float64 {
	return t.spread(takes, noLimit, func(far float64, at int32) float64 { return min(far, t.outWidth[at]) },
		func(a, b float64) bool { return a > b })
}

// soonest is, for each node, the sum of the round trips of the quickest way from a holder.
func (t *task) soonest() []float64 {
	return t.spread(t.takes, 0, func(far float64, at int32) float64 { return far + t.outRTT[at] },
		func(a, b float64) bool { return a < b })
}

// spread is Dijkstra's algorithm from all holders at once: a way's value goes on over the edge at a place of Map.out by along,
// which never makes it better. Nodes that do not take part, or are not led to, have NaN.
func (t *task) spread(takes []bool, start float64, along func(value float64, at int32) float64, better func(a, b float64) bool) []float64 {
	type arrival struct {
		value float64
		node  int32
	}
	value := make([]float64, len(t.ids))
	settled := make([]bool, len(t.ids))
	for v := range value {
		value[v] = math.NaN()
	}
	next := queue[arrival]{less: func(a, b arrival) bool { return better(a.value, b.value) }}
	for _, h := range t.holders {
		value[h] = start
		next.push(arrival{start, h})
	}
	for {
		near, ok := next.pop()
		if !ok {
			return value
		}
		if settled[near.node] {
			continue
		}
		settled[near.node] = true
		for i := t.outOf[near.node]; i < t.outOf[near.node+1]; i++ {
			v := t.outTo[i]
			known := !math.IsNaN(value[v])
			if !takes[v] || settled[v] || known && !better(near.value, value[v]) {
				continue
			}
			if far := along(near.value, i); !known || better(far, value[v]) {
				value[v] = far
				next.push(arrival{far, v})
			}
		}
	}
}
