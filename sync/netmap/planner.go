package netmap

import (
	"container/list"
	"hash/maphash"
	"math/bits"
	"slices"
)

// DefaultRoom is the room of a Planner that fits most: about 64 MiB of plans.
const DefaultRoom = 1 << 20

// Planner keeps the plans of a map. Contents that the same nodes hold and want, and that are of about the same size, are a
// Group and share a plan. It is made when it is first asked for, and again after the map changed. A Planner is used by one
// goroutine at a time; the plans that it gives do not change and may be shared.
type Planner struct {
	objective Objective
	network   *Map
	room      int
	used      int // of the room
	seed      maphash.Seed
	groups    map[uint64]*Group // by hash
	recent    *list.List        // of *Group, the last used in front
}

// Group is the contents that share a plan. Two that are equal are the same pointer, as long as the Planner remembers them. One
// that it has forgotten can still be asked about.
type Group struct {
	holders, wanters []string // sorted sets
	size             int64
	hash             uint64

	plan  *Plan // or nil
	of    *Map  // that the plan is made for
	known *list.Element
	takes int // of the Planner's room
}

// NewPlanner makes a Planner for a map and an objective. Its room bounds what it remembers: the nodes in the sets of its
// groups and the hops of their plans, all together.
func NewPlanner(m *Map, objective Objective, room int) *Planner {
	return &Planner{
		objective: objective, network: m, room: room,
		seed: maphash.MakeSeed(), groups: make(map[uint64]*Group), recent: list.New(),
	}
}

// SetMap changes the map. Plans for the one before are made anew when they are asked for.
func (p *Planner) SetMap(m *Map) { p.network = m }

// Group finds the group of a content of so many bytes. The lists are sets in any order; sorted ones are faster, and are kept:
// do not change them. Nodes that are not on the map may be among them.
func (p *Planner) Group(holders, wanters []string, size int64) *Group {
	g := &Group{holders: sorted(holders), wanters: sorted(wanters), size: p.sizeClass(size)}
	g.hash = p.hash(g)
	if known := p.groups[g.hash]; known != nil && known.equal(g) {
		g = known
	}
	p.remember(g)
	return g
}

// Plan gives the plan of a group. Holders that are not on the map do not count, and wanters that are not on it cannot be
// reached. Seconds is for the largest content of the group's size class.
func (p *Planner) Plan(g *Group) *Plan {
	if g.of != p.network {
		g.plan, g.of = p.make(g), p.network
	}
	p.remember(g)
	return g.plan
}

func (p *Planner) make(g *Group) *Plan {
	m := p.network
	var holders, wanters []int32
	for _, id := range g.holders {
		if v, ok := m.number[id]; ok {
			holders = append(holders, v)
		}
	}
	var unknown []string
	for _, id := range g.wanters {
		if v, ok := m.number[id]; ok {
			wanters = append(wanters, v)
		} else if _, holds := slices.BinarySearch(g.holders, id); !holds {
			unknown = append(unknown, id)
		}
	}
	plan := m.newTask(holders, wanters, g.size).plan(p.objective)
	plan.Unreachable = append(plan.Unreachable, unknown...)
	slices.Sort(plan.Unreachable)
	return plan
}

// remember puts a group in front, and forgets those that were not used for longest where there is no room.
func (p *Planner) remember(g *Group) {
	if g.known == nil {
		g.known = p.recent.PushFront(g)
		p.groups[g.hash] = g
	}
	p.recent.MoveToFront(g.known)
	p.used -= g.takes
	g.takes = len(g.holders) + len(g.wanters)
	if g.plan != nil {
		g.takes += len(g.plan.Hops)
	}
	p.used += g.takes
	for p.used > p.room && p.recent.Len() > 1 {
		p.forget(p.recent.Back().Value.(*Group))
	}
}

func (p *Planner) forget(g *Group) {
	p.recent.Remove(g.known)
	if p.groups[g.hash] == g {
		delete(p.groups, g.hash)
	}
	p.used -= g.takes
	g.plan, g.of, g.known, g.takes = nil, nil, nil, 0
}

// sizeClass is the power of four that size is rounded up to. Costs do not depend on sizes.
func (p *Planner) sizeClass(size int64) int64 {
	if p.objective == Cost || size <= 1 {
		return 1
	}
	exponent := (bits.Len64(uint64(size-1)) + 1) / 2 * 2
	return 1 << min(exponent, 62)
}

func (p *Planner) hash(g *Group) uint64 {
	h := uint64(g.size)
	for _, id := range g.holders {
		h = h*31 + maphash.String(p.seed, id)
	}
	h = h*31 + 1
	for _, id := range g.wanters {
		h = h*31 + maphash.String(p.seed, id)
	}
	return h
}

func (g *Group) equal(other *Group) bool {
	return g.size == other.size && slices.Equal(g.holders, other.holders) && slices.Equal(g.wanters, other.wanters)
}

// sorted returns a set in order, without doubles.
func sorted(ids []string) []string {
	for i := 1; i < len(ids); i++ {
		if ids[i-1] >= ids[i] {
			return slices.Compact(slices.Sorted(slices.Values(ids)))
		}
	}
	return ids
}
