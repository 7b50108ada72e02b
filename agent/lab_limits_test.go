package agent_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/git-arbor/arbor/config"
)

// TestLabLimit limits what a laptop sends while several machines get several files, and changes that in the middle. Counted is
// what is on the wire, with the headers of TLS, TCP, IP and Ethernet.
func TestLabLimit(t *testing.T) {
	if !inLab(t) {
		return
	}
	const files = 4
	window, off := 2*time.Second, 0.2
	_, timed := labSize(t, 0)
	if timed {
		window, off = 10*time.Second, 0.05
	}
	far := []string{"far1", "far2", "far3"}
	l := newLab(t, thinLine(line{}, far...))
	ms := l.grove(append([]string{laptop}, far...)...)
	a, others := ms[0], ms[1:]
	limits := []config.Rate{4 << 20, 2 << 20, 6 << 20}
	a.limit(func(c *config.Limits) { c.Up = limits[0] })
	enough := 8 << 20
	for _, limit := range limits {
		enough += int(limit) * int(window/time.Second+2)
	}
	for i := range files {
		a.save(fmt.Sprintf("large%d.bin", i), noise(enough/files))
	}
	a.eventually("send over several connections", func() error {
		n := 0
		for _, m := range others {
			n += len(m.gets(a.name))
		}
		if n < 2 {
			return fmt.Errorf("%d transfers", n)
		}
		return nil
	})
	for _, limit := range limits {
		a.limit(func(c *config.Limits) { c.Up = limit })
		<-time.After(time.Second) // by then a change counts
		before, begun := l.carried(laptop, "near"), time.Now()
		<-time.After(window) // what is measured
		share := float64(l.carried(laptop, "near")-before) / time.Since(begun).Seconds() / float64(limit)
		t.Logf("limited to %d bytes a second: %.3f times that were on the wire for %v", limit, share, window)
		if share > 1+off || timed && share < 1-off {
			t.Errorf("limited to %d bytes a second, %.3f times that were on the wire", limit, share)
		}
	}
}
