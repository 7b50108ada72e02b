package netmap

import (
	"encoding/json"
	"slices"
	"strings"
)

// Plan is a tree, or one tree for each holder that serves: every node in it gets the content from its parent.
type Plan struct {
	Objective   Objective
	Hops        []Hop    // by To, which is there once
	Cost        float64  // the sum over the hops
	Seconds     float64  // until the last wanter has everything, as far as the map tells
	Unreachable []string // wanters to which no way leads, sorted
}

// Hop is one edge of a plan.
type Hop struct {
	From, To string
	Cost     float64
	Rate     float64 // bytes a second that To can expect; +Inf when nothing limits it
	Seconds  float64 // until To has everything
}

// Parent is the hop by which a node gets the content. ok is false for holders and for nodes outside of the plan.
func (p *Plan) Parent(node string) (hop Hop, ok bool) {
	i, ok := slices.BinarySearchFunc(p.Hops, node, func(h Hop, node string) int { return strings.Compare(h.To, node) })
	if !ok {
		return Hop{}, false
	}
	return p.Hops[i], true
}

// Children are the hops by which others get the content from a node, by their To.
func (p *Plan) Children(node string) []Hop {
	var hops []Hop
	for _, h := range p.Hops {
		if h.From == node {
			hops = append(hops, h)
		}
	}
	return hops
}

// Roots are the holders from which the plan starts, sorted. A holder that serves nobody is not among them.
func (p *Plan) Roots() []string {
	var roots []string
	for _, h := range p.Hops {
		if _, ok := p.Parent(h.From); !ok {
			roots = append(roots, h.From)
		}
	}
	slices.Sort(roots)
	return slices.Compact(roots)
}

// MarshalJSON writes the plan as docs/netmap.md describes it.
func (p *Plan) MarshalJSON() ([]byte, error) {
	type edge struct {
		From string `json:"from"`
		To   string `json:"to"`
	}
	out := struct {
		Schema      int       `json:"schema"`
		Objective   Objective `json:"objective"`
		Cost        float64   `json:"cost"`
		Seconds     float64   `json:"seconds"`
		Edges       []edge    `json:"edges"`
		Unreachable []string  `json:"unreachable"`
	}{1, p.Objective, p.Cost, p.Seconds, make([]edge, len(p.Hops)), append([]string{}, p.Unreachable...)}
	for i, h := range p.Hops {
		out.Edges[i] = edge{h.From, h.To}
	}
	return json.Marshal(out)
}

// Plan finds the tree for a problem. What is wrong with the problem is told by an *Error.
func (m *Map) Plan(p Problem) (*Plan, error) {
	t, err := m.task(p)
	if err != nil {
		return nil, err
	}
	return t.plan(p.Objective), nil
}

// Link is an edge of a tree that Predict is asked about.
type Link struct {
	From, To string
}

// Predict tells what a given tree would cost and how long it would take. Every link must be an edge of the map, no node may
// have two parents, and every link must lead on from a holder.
func (m *Map) Predict(p Problem, tree []Link) (*Plan, error) {
	t, err := m.task(p)
	if err != nil {
		return nil, err
	}
	by := t.noTree()
	for i, l := range tree {
		place := at("tree", i)
		from, ok := m.number[l.From]
		if !ok {
			return nil, wrong(place, "unknown node %q", l.From)
		}
		to, ok := m.number[l.To]
		if !ok {
			return nil, wrong(place, "unknown node %q", l.To)
		}
		e := m.edge(from, to)
		switch {
		case e == none:
			return nil, wrong(place, "there is no edge from %q to %q", l.From, l.To)
		case t.holder[to]:
			return nil, wrong(place, "%q holds the content", l.To)
		case by[to] != none:
			return nil, wrong(place, "%q has two parents", l.To)
		}
		by[to] = e
	}
	if reached := len(t.preorder(by)); reached != len(tree) {
		return nil, wrong("tree", "%d of %d links are not led to from a holder", len(tree)-reached, len(tree))
	}
	var missed []int32
	for v := range m.ids {
		if t.wanter[v] && by[v] == none {
			missed = append(missed, int32(v))
		}
	}
	return t.finish(p.Objective, by, missed), nil
}

// task is a problem in numbers, and who can take part in solving it.
type task struct {
	*Map
	size    float64
	holder  []bool
	wanter  []bool // does not hold it
	holders []int32
	wanters []int32 // those that can be reached
	relays  []int32 // others that lie on a way from a holder to a wanter
	missed  []int32 // wanters that cannot be reached
	takes   []bool  // part: holders, wanters and relays of above
}

func (m *Map) task(p Problem) (*task, error) {
	if p.Objective != Cost && p.Objective != Time {
		return nil, wrong("objective", "%q is neither %q nor %q", p.Objective, Cost, Time)
	}
	if p.Size < 0 {
		return nil, wrong("size", "%d bytes", p.Size)
	}
	holders, err := m.numbers("holders", p.Holders)
	if err != nil {
		return nil, err
	}
	if len(holders) == 0 {
		return nil, wrong("holders", "nobody holds the content")
	}
	wanters, err := m.numbers("wanters", p.Wanters)
	if err != nil {
		return nil, err
	}
	return m.newTask(holders, wanters, p.Size), nil
}

func (m *Map) numbers(list string, ids []string) ([]int32, error) {
	seen := make(map[int32]int, len(ids))
	numbers := make([]int32, len(ids))
	for i, id := range ids {
		n, ok := m.number[id]
		if !ok {
			return nil, wrong(at(list, i), "unknown node %q", id)
		}
		if other, ok := seen[n]; ok {
			return nil, wrong(at(list, i), "node %q is at %s[%d] already", id, list, other)
		}
		seen[n], numbers[i] = i, n
	}
	return numbers, nil
}

func (m *Map) newTask(holders, wanters []int32, size int64) *task {
	n := len(m.ids)
	t := &task{Map: m, size: float64(size), holder: make([]bool, n), wanter: make([]bool, n), takes: make([]bool, n)}
	for _, v := range holders {
		t.holder[v] = true
	}
	for _, v := range wanters {
		t.wanter[v] = !t.holder[v]
	}
	led := make([]bool, n) // a way from a holder leads here
	var stack []int32
	for v := range int32(n) {
		if t.holder[v] {
			t.holders = append(t.holders, v)
			t.takes[v], led[v] = true, true
			stack = append(stack, v)
		}
	}
	for len(stack) > 0 {
		u := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, v := range m.outTo[m.outOf[u]:m.outOf[u+1]] {
			if !led[v] && (t.wanter[v] || m.relay[v]) {
				led[v] = true
				stack = append(stack, v)
			}
		}
	}
	for v := range int32(n) {
		switch {
		case t.wanter[v] && led[v]:
			t.wanters = append(t.wanters, v)
			t.takes[v] = true
			stack = append(stack, v)
		case t.wanter[v]:
			t.missed = append(t.missed, v)
		}
	}
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for e := m.into[v]; e < m.into[v+1]; e++ {
			if u := m.from[e]; led[u] && !t.takes[u] {
				t.takes[u] = true
				stack = append(stack, u)
			}
		}
	}
	for v := range int32(n) {
		if t.takes[v] && !t.holder[v] && !t.wanter[v] {
			t.relays = append(t.relays, v)
		}
	}
	return t
}

func (t *task) plan(objective Objective) *Plan {
	if objective == Cost {
		return t.finish(objective, t.cheapest(), t.missed)
	}
	return t.finish(objective, t.fastest(), t.missed)
}

// finish makes the plan of a tree: by[v] is the edge by which v gets the content, or none.
func (t *task) finish(objective Objective, by []int32, missed []int32) *Plan {
	p := &Plan{Objective: objective}
	flow := t.predict(by)
	for v := range int32(len(t.ids)) {
		e := by[v]
		if e == none {
			continue
		}
		p.Cost += t.cost[e]
		p.Hops = append(p.Hops, Hop{From: t.ids[t.from[e]], To: t.ids[v], Cost: t.cost[e], Rate: flow.rate[v], Seconds: flow.done[v]})
		if t.wanter[v] {
			p.Seconds = max(p.Seconds, flow.done[v])
		}
	}
	for _, v := range missed {
		p.Unreachable = append(p.Unreachable, t.ids[v])
	}
	return p
}

func (t *task) noTree() []int32 {
	return slices.Repeat([]int32{none}, len(t.ids))
}

// prune takes the relays that lead to no wanter out of a tree.
func (t *task) prune(by []int32) {
	children := make([]int32, len(t.ids))
	for _, e := range by {
		if e != none {
			children[t.from[e]]++
		}
	}
	for _, v := range t.relays {
		for !t.holder[v] && !t.wanter[v] && by[v] != none && children[v] == 0 {
			u := t.from[by[v]]
			by[v] = none
			children[u]--
			v = u
		}
	}
}

// preorder lists the nodes that a tree reaches from the holders, each after its parent and by number among siblings.
func (t *task) preorder(by []int32) []int32 {
	first, next := t.noTree(), t.noTree() // child, sibling
	for v := int32(len(by)) - 1; v >= 0; v-- {
		if by[v] != none {
			u := t.from[by[v]]
			first[u], next[v] = v, first[u]
		}
	}
	var order, stack []int32
	for _, h := range slices.Backward(t.holders) {
		stack = append(stack, h)
	}
	for len(stack) > 0 {
		u := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if by[u] != none {
			order = append(order, u)
		}
		at := len(stack)
		for v := first[u]; v != none; v = next[v] {
			stack = append(stack, v)
		}
		slices.Reverse(stack[at:])
	}
	return order
}

// treeCost sums in the order of the nodes, so that all agents round alike.
func (t *task) treeCost(by []int32) float64 {
	sum := 0.0
	for _, e := range by {
		if e != none {
			sum += t.cost[e]
		}
	}
	return sum
}
