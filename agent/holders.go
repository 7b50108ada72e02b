package agent

import (
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/netmap"
	"github.com/git-arbor/arbor/sync/transfer"
	"github.com/git-arbor/arbor/sync/wanted"
)

// holders is who has what and from whom it is got, for the goroutines of the transfer queue.
type holders struct {
	mu       sync.Mutex
	self     string // the clone's id
	repo     *annex.Repo
	settings *wanted.Settings       // nil before they are read
	named    map[annex.Key][]string // the files that name a key; changed by the actor alone
	said     map[annex.Key][]string // clone ids, by what their signals said
	reach    map[string]holder      // the peers that can be asked, by clone id
	rates    map[string]float64     // what they have brought, in bytes a second

	scales

	drawn   netmap.Network           // the map
	puts    map[string][]netmap.Edge // of it, those to remotes
	planner *netmap.Planner
}

// holder is a peer or a remote that can be asked for contents.
type holder struct {
	name   string
	cost   int
	remote bool
}

func newHolders() *holders {
	return &holders{named: make(map[annex.Key][]string), said: make(map[annex.Key][]string), reach: make(map[string]holder), rates: make(map[string]float64)}
}

// holdersChanged takes in who can be asked, and who said what about some keys.
func (c *clone) holdersChanged(keys ...annex.Key) {
	c.want.holdersChanged(c.peers.all(), c.remotes(), keys)
}

func (w *contents) holdersChanged(all []*peer, remotes []*place, keys []annex.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.reach)
	for _, p := range remotes {
		if p.Read {
			w.reach[p.id] = holder{p.Name, int(p.Cost), true}
		}
	}
	for _, p := range all {
		if p.reachable() && !p.refuses && !w.paused.has(p.id.device) {
			w.reach[p.id.clone] = holder{p.name, costOf(p.linkKind), false}
		}
	}
	for _, k := range keys {
		var who []string
		for _, p := range all {
			if p.keys[k] {
				who = append(who, p.id.clone)
			}
		}
		for _, p := range remotes {
			if p.has[k] {
				who = append(who, p.id)
			}
		}
		w.said[k] = who
		w.refresh = w.refresh || w.missing[k]
	}
	if len(keys) == 0 {
		w.refresh, w.redraw = true, true
	}
}

// redrawn takes in the map. It reports whether it is another one.
func (h *holders) redrawn(self string, n netmap.Network, remotes map[string]*place) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.planner != nil && reflect.DeepEqual(n, h.drawn) {
		return false, nil
	}
	m, err := netmap.New(n)
	if err != nil {
		return false, fmt.Errorf("draw map: %w", err)
	}
	h.self, h.drawn = self, n
	h.puts = make(map[string][]netmap.Edge)
	for _, e := range n.Edges { // they are in order, so that everybody finds the same one cheapest
		if remotes[e.To] != nil {
			h.puts[e.To] = append(h.puts[e.To], e)
		}
	}
	if h.planner == nil {
		h.planner = netmap.NewPlanner(m, netmap.Time, netmap.DefaultRoom)
	} else {
		h.planner.SetMap(m)
	}
	return true, nil
}

// came takes in what a peer brings. One that had to wait for others brings less than it could: rates go up at once, and down
// slowly.
func (h *holders) came(clone string, rate float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old := h.rates[clone]; rate < old {
		rate = old + (rate-old)/50
	}
	h.rates[clone] = rate
}

// forgetRate forgets what a peer has brought.
func (h *holders) forgetRate(clone string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.rates, clone)
}

// rateFrom returns what a peer has brought, in bytes a second; 0 when that was never seen.
func (h *holders) rateFrom(clone string) float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rates[clone]
}

// of returns the clones that can be asked for a key, first the one that the plan says, which may still be waiting for it
// itself: then those that said they have it, and those that the location log names.
func (h *holders) of(k annex.Key, logged []string) []transfer.Holder {
	h.mu.Lock()
	defer h.mu.Unlock()
	have := h.have(k, logged)
	var who []transfer.Holder
	for _, id := range have {
		if holder, ok := h.reach[id]; ok {
			who = append(who, transfer.Holder{Clone: id, Cost: holder.cost, Remote: holder.remote})
		}
	}
	hop, ok := h.parent(k, have)
	from, reachable := h.reach[hop.From]
	if !ok || !reachable || from.remote && !slices.Contains(have, hop.From) { // a remote passes nothing on before it has all
		return who
	}
	parent := transfer.Holder{Clone: hop.From, Partial: !slices.Contains(have, hop.From), Remote: from.remote}
	if !parent.Partial && h.rates[hop.From] > 0 {
		parent.Rate = min(hop.Rate, h.rates[hop.From])
	}
	who = slices.DeleteFunc(who, func(t transfer.Holder) bool { return t.Clone == hop.From })
	for i := range who {
		who[i].Beside = h.reach[who[i].Clone].cost == h.reach[hop.From].cost
	}
	return slices.Insert(who, 0, parent)
}

// whoHas lists the other clones that have a key, on the map or not.
func (h *holders) whoHas(k annex.Key, logged []string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.have(k, logged)
}

// have lists the other clones that have a key.
func (h *holders) have(k annex.Key, logged []string) []string {
	all := slices.Concat(h.said[k], logged)
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(id string) bool { return id == h.self })
}

// parent is the hop by which the plan brings a content here.
func (h *holders) parent(k annex.Key, have []string) (netmap.Hop, bool) {
	return h.hop(k, have, h.self)
}

// hop is the one by which the plan brings a content somewhere. Small ones have no plan.
func (h *holders) hop(k annex.Key, have []string, to string) (netmap.Hop, bool) {
	size, known := k.Size()
	if h.planner == nil || !known || size < planFrom {
		return netmap.Hop{}, false
	}
	return h.planner.Plan(h.planner.Group(have, h.wanters(k, have), size)).Parent(to)
}

// putter is the clone that puts a content to a remote: its parent in the plan or, of contents that have no plan, the one of those
// that have it for which that is cheapest.
func (h *holders) putter(k annex.Key, logged []string, remote string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	have := append(h.have(k, logged), h.self)
	if !h.wants(remote, k, have) {
		return ""
	}
	if hop, ok := h.hop(k, have, remote); ok {
		return hop.From
	}
	best := netmap.Edge{}
	for _, e := range h.puts[remote] {
		if slices.Contains(have, e.From) && (best.From == "" || e.Cost < best.Cost) {
			best = e
		}
	}
	return best.From
}

// wanters are those on the map that have a content or want it.
func (h *holders) wanters(k annex.Key, have []string) []string {
	all := make([]string, 0, len(h.drawn.Nodes))
	for _, node := range h.drawn.Nodes {
		if h.wants(node.ID, k, have) || slices.Contains(have, node.ID) {
			all = append(all, node.ID)
		}
	}
	return all
}

// problem is the map, and the problem that a content is on it; without a key, one that all want.
func (h *holders) problem(k annex.Key, have []string, size int64) (netmap.Network, netmap.Problem) {
	h.mu.Lock()
	defer h.mu.Unlock()
	wanters := make([]string, len(h.drawn.Nodes))
	for i, node := range h.drawn.Nodes {
		wanters[i] = node.ID
	}
	have = slices.DeleteFunc(slices.Sorted(slices.Values(have)), func(id string) bool { return !slices.Contains(wanters, id) })
	if !k.IsZero() {
		wanters = h.wanters(k, have)
	}
	return h.drawn, netmap.Problem{Holders: have, Wanters: wanters, Objective: netmap.Time, Size: size}
}

// dependsOnLocations reports whether it matters here, for what is wanted, who else has contents.
func (h *holders) dependsOnLocations() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.weighing) > 0 || h.settings != nil && h.settings.Depends(h.self)&wanted.Locations != 0
}

// why says why a content comes from a clone.
func (h *holders) why(k annex.Key, logged []string, clone string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	have := h.have(k, logged)
	if hop, ok := h.parent(k, have); ok && hop.From == clone {
		if slices.Contains(have, clone) {
			return "by the map"
		}
		return "by the map, as it comes"
	}
	others, nearer := 0, 0
	for _, id := range have {
		if other, reachable := h.reach[id]; reachable && id != clone {
			others++
			if other.cost < h.reach[clone].cost {
				nearer++
			}
		}
	}
	switch {
	case others == 0:
		return "nobody else has it"
	case nearer == 0:
		return "the nearest"
	}
	return "the nearer ones failed"
}

// nameOf returns what people call a clone.
func (h *holders) nameOf(clone string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reach[clone].name
}
