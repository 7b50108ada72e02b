package netmap_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/git-arbor/arbor/sync/netmap"
)

func TestPlanner(t *testing.T) {
	t.Parallel()
	net := mesh(machines(0, 6, "", 100, 100), nil)
	m := mustMap(t, net)
	p := netmap.NewPlanner(m, netmap.Time, netmap.DefaultRoom)

	g := p.Group([]string{id(0), id(1)}, []string{id(2), id(3)}, 1<<24)
	if same := p.Group([]string{id(1), id(0)}, []string{id(3), id(2), id(3)}, 1<<22+1); same != g {
		t.Error("the same sets and size class are another group")
	}
	for _, other := range []*netmap.Group{
		p.Group([]string{id(0)}, []string{id(2), id(3)}, 1<<24),
		p.Group([]string{id(0), id(1)}, []string{id(2)}, 1<<24),
		p.Group([]string{id(0), id(1), id(2)}, []string{id(3)}, 1<<24),
		p.Group([]string{id(0), id(1)}, []string{id(2), id(3)}, 1<<24+1),
	} {
		if other == g {
			t.Error("another group is the same")
		}
	}
	plan := p.Plan(g)
	want := mustPlan(t, m, netmap.Problem{Holders: []string{id(0), id(1)}, Wanters: []string{id(2), id(3)}, Objective: netmap.Time, Size: 1 << 24})
	if d := cmp.Diff(want, plan); d != "" {
		t.Error(d)
	}
	if p.Plan(g) != plan {
		t.Error("the plan is made twice")
	}

	net.Edges = slices.DeleteFunc(net.Edges, func(e netmap.Edge) bool { return e.To == id(2) })
	p.SetMap(mustMap(t, net))
	if changed := p.Plan(g); !slices.Equal(changed.Unreachable, []string{id(2)}) {
		t.Errorf("%+v", changed)
	}

	stranger := p.Plan(p.Group([]string{"lost", id(0)}, []string{id(1), "lost", "new"}, 1))
	if !slices.Equal(stranger.Unreachable, []string{"new"}) || len(stranger.Hops) != 1 {
		t.Errorf("%+v", stranger)
	}
	nobody := p.Plan(p.Group([]string{"lost"}, []string{id(1)}, 1))
	if !slices.Equal(nobody.Unreachable, []string{id(1)}) || len(nobody.Hops) != 0 {
		t.Errorf("%+v", nobody)
	}
}

func TestPlannerForgets(t *testing.T) {
	t.Parallel()
	m := mustMap(t, mesh(machines(0, 10, "", 100, 100), nil))
	p := netmap.NewPlanner(m, netmap.Cost, 12) // four groups of one holder and one wanter
	group := func(v int) *netmap.Group { return p.Group([]string{id(0)}, []string{id(v)}, 1) }
	first := group(1)
	plan := p.Plan(first)
	p.Plan(group(2))
	p.Plan(group(3))
	if group(1) != first || p.Plan(first) != plan { // used again: 2 is now the oldest
		t.Error("forgotten too early")
	}
	second := group(2)
	for v := 3; v < 8; v++ {
		p.Plan(group(v))
	}
	if group(2) == second {
		t.Error("nothing is forgotten")
	}
	if d := cmp.Diff(plan, p.Plan(first)); d != "" {
		t.Errorf("a forgotten group has another plan: %s", d)
	}
}

func BenchmarkPlanner(b *testing.B) {
	const clones, keys, sets = 1000, 100_000, 50
	net := cities(clones, clones-1)
	m, again := mustMap(b, net), mustMap(b, net)
	r := rand.New(rand.NewPCG(6, 6))
	type content struct {
		holders, wanters []string
		size             int64
	}
	var distinct []content
	for range sets {
		var c content
		for v := range clones {
			if r.IntN(20) == 0 {
				c.holders = append(c.holders, id(v))
			} else {
				c.wanters = append(c.wanters, id(v))
			}
		}
		slices.Sort(c.holders)
		slices.Sort(c.wanters)
		c.size = 1 << 28
		distinct = append(distinct, c)
	}
	p := netmap.NewPlanner(m, netmap.Time, netmap.DefaultRoom)
	groups := make([]*netmap.Group, keys)
	for k := range groups {
		c := distinct[k%sets]
		groups[k] = p.Group(c.holders, c.wanters, c.size)
		p.Plan(groups[k])
	}
	b.Run("key-changes", func(b *testing.B) { // one more holder, of one key
		c := distinct[0]
		for b.Loop() {
			g := p.Group(c.holders, c.wanters, c.size)
			p.Plan(g).Parent(id(1))
		}
	})
	b.Run(fmt.Sprintf("all-%d-keys", keys), func(b *testing.B) {
		for b.Loop() {
			for _, g := range groups {
				p.Plan(g)
			}
		}
	})
	b.Run(fmt.Sprintf("map-changes-%d-groups", sets), func(b *testing.B) {
		for b.Loop() {
			m, again = again, m
			p.SetMap(m)
			for _, g := range groups {
				p.Plan(g)
			}
		}
	})
}
