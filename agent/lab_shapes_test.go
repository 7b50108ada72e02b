package agent_test

import (
	"fmt"
	"slices"
	"testing"
)

// TestLabChain has a large file go along a row of machines, of which only neighbours reach each other. Each passes on what is
// checked while the rest still comes, and nothing else is ever seen among the objects.
func TestLabChain(t *testing.T) {
	if !inLab(t) {
		return
	}
	size, timed := labSize(t, 8e6)
	row := []string{"host1", "host2", "host3", "host4", "host5"}
	if !timed {
		row = row[:3] // finding out who cannot be reached takes long
	}
	var top topology
	for i, h := range row {
		top.lines = append(top.lines, line{a: server, b: h})
		if i > 0 {
			top.lines = append(top.lines, line{a: row[i-1], b: h, mbit: 80})
		}
	}
	l := newLab(t, top)
	ms := l.grove(row...)
	var seen []func() int
	for _, m := range ms {
		seen = append(seen, watchObjects(m))
	}
	before := make([]int64, len(row))
	for i := range row[1:] {
		before[i] = l.carried(row[i], row[i+1])
	}
	took := spread(ms, size)
	for i, stop := range seen {
		if n := stop(); n != 2 {
			t.Errorf("%s: %d objects were seen", ms[i].name, n)
		}
	}
	first, last := took[0], slices.Max(took)
	t.Logf("%d MB along a chain: the machines had it after %v; the last after %.2f times the first",
		size/1e6, took, last.Seconds()/first.Seconds())
	for i := range row[1:] {
		carried := l.carried(row[i], row[i+1]) - before[i]
		t.Logf("hop %d carried %.3f times the content", i+1, float64(carried)/float64(size))
		once(t, fmt.Sprint("hop ", i+1), carried, size)
	}
	if timed && last.Seconds() > 1.15*first.Seconds() {
		t.Errorf("the last had it after %v, the first after %v", last, first)
	}
}

// TestLabStar has a laptop with a thin uplink save a large file, which a NAS with a wide one and some more machines want, each
// elsewhere: the uplink carries it once, and the NAS gives it to the rest.
func TestLabStar(t *testing.T) {
	if !inLab(t) {
		return
	}
	size, timed := labSize(t, 5e6)
	const internet = "internet"
	uplink, clients := 50, []string{"client1", "client2", "client3", "client4"}
	if !timed {
		uplink, clients = 20, clients[:3] // what agents measure is what the lines are like, also where the machine is slow
	}
	top := topology{
		lans:  map[string][]string{internet: {server}},
		lines: []line{{a: laptop, b: internet, mbit: uplink}, {a: "nas", b: internet, mbit: 10 * uplink}},
	}
	for _, c := range clients {
		top.lines = append(top.lines, line{a: c, b: internet, mbit: 4 * uplink})
	}
	l := newLab(t, top)
	ms := l.grove(append([]string{laptop, "nas"}, clients...)...)
	one, _ := l.copies("cubic", size, "nas")
	before := l.carried(laptop, internet)
	last := slices.Max(spread(ms, size))
	carried := l.carried(laptop, internet) - before
	t.Logf("%d MB to a NAS and %d clients: the uplink carried %.3f times that, the last had it after %v, %.2f times what TCP takes (%v)",
		size/1e6, len(clients), float64(carried)/float64(size), last, last.Seconds()/one.Seconds(), one)
	once(t, "the uplink", carried, size)
	if timed && last.Seconds() > 1.15*one.Seconds() {
		t.Errorf("the last had it after %v, what crosses the uplink once takes %v", last, one)
	}
}
