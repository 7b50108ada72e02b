package netmap_test

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"

	"github.com/git-arbor/arbor/sync/netmap"
)

const (
	swarmSlots      = 4  // how many blocks a node gets at a time, and how many it sends
	swarmNeighbours = 20 // at random
	swarmAsks       = 5  // of them, at a time, for a block
	swarmSweeps     = 4
)

// swarm spreads blocks as BitTorrent does, simplified: each node gets random blocks that it misses from random neighbours. Time
// goes in rounds, each of several sweeps, in which blocks on their way share what is left of uplinks, downlinks and lines
// equally. Round trips and the rates of edges do not hold it up, so a real one would be slower.
type swarm struct {
	r          *rand.Rand
	round      float64 // seconds
	blocks     int
	block      float64 // bytes
	neighbours [][]way
	has, comes [][]uint64 // bits, for each node: blocks that it has; those, and the ones on their way to it
	missing    []int
	sends      []int
	slots      [][]fetch
	capacity   []float64 // of uplinks, then downlinks, then the sites' lines out, then in
	left       []float64 // of the round
	users      []float64
	site       []int // or -1
}

// way is a neighbour to get blocks from.
type way struct {
	from int
	cost float64
}

// fetch is a block on its way; left is 0 when the slot is free.
type fetch struct {
	way
	block int
	left  float64
}

func newSwarm(net netmap.Network, p netmap.Problem, round float64) *swarm {
	n, sites := len(net.Nodes), len(net.Sites)
	blocks := int((p.Size + netmap.Block - 1) / netmap.Block)
	s := &swarm{
		r: rand.New(rand.NewPCG(12, uint64(n))), round: round, blocks: blocks, block: float64(p.Size) / float64(blocks),
		neighbours: make([][]way, n), missing: make([]int, n), sends: make([]int, n),
		capacity: make([]float64, 2*n+2*sites), left: make([]float64, 2*n+2*sites), users: make([]float64, 2*n+2*sites),
	}
	number, siteNumber := map[string]int{}, map[string]int{"": -1}
	for i, site := range net.Sites {
		siteNumber[site.ID] = i
		s.capacity[2*n+i], s.capacity[2*n+sites+i] = site.Up, site.Down
	}
	for v, node := range net.Nodes {
		number[node.ID] = v
		s.site = append(s.site, siteNumber[node.Site])
		s.capacity[v], s.capacity[n+v] = node.Up, node.Down
		s.has = append(s.has, make([]uint64, (blocks+63)/64))
		s.comes = append(s.comes, make([]uint64, (blocks+63)/64))
		s.slots = append(s.slots, make([]fetch, swarmSlots))
		s.missing[v] = blocks
	}
	for i, c := range s.capacity {
		if c == 0 {
			s.capacity[i] = math.Inf(1)
		}
	}
	source := number[p.Holders[0]]
	s.missing[source] = 0
	for b := range blocks {
		s.has[source][b/64] |= 1 << (b % 64)
	}
	copy(s.comes[source], s.has[source])
	for _, e := range net.Edges {
		v := number[e.To]
		s.neighbours[v] = append(s.neighbours[v], way{number[e.From], e.Cost})
	}
	for v, ways := range s.neighbours {
		s.r.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] })
		s.neighbours[v] = ways[:min(len(ways), swarmNeighbours)]
	}
	return s
}

// run tells how long it takes, and how many contents went over edges that cost more than dear.
func (s *swarm) run(dear float64) (seconds, crossed float64) {
	for missing := 1; missing > 0; seconds += s.round {
		for i, c := range s.capacity {
			s.left[i] = c * s.round
		}
		for range swarmSweeps {
			crossed += s.sweep(dear)
		}
		missing = 0
		for _, m := range s.missing {
			missing += m
		}
	}
	return seconds, crossed / float64(s.blocks)
}

func (s *swarm) sweep(dear float64) (crossed float64) {
	for _, v := range s.r.Perm(len(s.slots)) {
		for i := range s.slots[v] {
			if s.slots[v][i].left == 0 && !s.pick(v, &s.slots[v][i]) {
				break
			}
		}
	}
	clear(s.users)
	s.each(func(v int, f *fetch) {
		lines, count := s.lines(f.from, v)
		for _, l := range lines[:count] {
			s.users[l]++
		}
	})
	share := slices.Clone(s.left)
	s.each(func(v int, f *fetch) {
		give := f.left
		lines, count := s.lines(f.from, v)
		for _, l := range lines[:count] {
			give = min(give, share[l]/s.users[l])
		}
		for _, l := range lines[:count] {
			s.left[l] = max(0, s.left[l]-give)
		}
		if f.left -= give; f.left < 1e-6 {
			f.left = 0
			s.sends[f.from]--
			s.missing[v]--
			s.has[v][f.block/64] |= 1 << (f.block % 64)
			if f.cost > dear {
				crossed++
			}
		}
	})
	return crossed
}

// each visits what is on its way.
func (s *swarm) each(visit func(to int, f *fetch)) {
	for v := range s.slots {
		for i := range s.slots[v] {
			if f := &s.slots[v][i]; f.left > 0 {
				visit(v, f)
			}
		}
	}
}

// lines are the capacities that a block takes: so many of the list.
func (s *swarm) lines(u, v int) (list [4]int, count int) {
	n, sites := len(s.site), len(s.capacity)/2-len(s.site)
	list = [4]int{u, n + v, 2*n + s.site[u], 2*n + sites + s.site[v]}
	if s.site[u] == s.site[v] {
		return list, 2
	}
	return list, 4
}

// pick begins to get a random block for v, if a neighbour that can send has one.
func (s *swarm) pick(v int, f *fetch) bool {
	ways := s.neighbours[v]
	for i, start := 0, s.r.IntN(max(1, len(ways))); i < min(swarmAsks, len(ways)); i++ {
		from := ways[(start+i)%len(ways)]
		if s.sends[from.from] == swarmSlots {
			continue
		}
		words := len(s.has[v])
		for j, first := 0, s.r.IntN(words); j < words; j++ {
			w := (first + j) % words
			useful := s.has[from.from][w] &^ s.comes[v][w]
			if useful == 0 {
				continue
			}
			turn := s.r.IntN(64)
			bit := (bits.TrailingZeros64(bits.RotateLeft64(useful, -turn)) + turn) % 64
			s.comes[v][w] |= 1 << bit
			s.sends[from.from]++
			*f = fetch{from, 64*w + bit, s.block}
			return true
		}
	}
	return false
}
