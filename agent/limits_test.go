package agent_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/config"
)

// limit changes the limits of a machine as git arbor limit does, and gives those in force.
func (m *machine) limit(change func(*config.Limits)) status.Limits {
	m.t.Helper()
	if err := config.ChangeLimits(m.paths.Config, change); err != nil {
		m.t.Fatal(err)
	}
	if err := m.client().Reload(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	s, err := m.client().Status(m.t.Context(), 0)
	if err != nil {
		m.t.Fatal(err)
	}
	return s.Limits
}

// TestLimitHolds has contents come over several connections, which together are never faster than the limit, whosever it
// is; a change counts for what is under way.
func TestLimitHolds(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	const bytesPerSecond, each = 2 << 20, 1 << 20
	least := time.Duration(0.95 * 2 * each / bytesPerSecond * float64(time.Second))
	round := 0
	// took measures how long it takes until two contents are there.
	took := func() time.Duration {
		round++
		var contents [2]string
		begun := time.Now()
		for i := range contents {
			contents[i] = noise(each)
			a.save(fmt.Sprintf("%d/%d.bin", round, i), contents[i])
		}
		for i := range contents {
			b.has(fmt.Sprintf("%d/%d.bin", round, i), contents[i])
		}
		return time.Since(begun)
	}
	for _, test := range []struct {
		name   string
		m      *machine
		change func(*config.Limits)
	}{
		{"down", b, func(l *config.Limits) { l.Down, l.LAN = bytesPerSecond, true }},
		{"up", a, func(l *config.Limits) { l.Up, l.LAN = bytesPerSecond, true }},
		{"down, of the peer", b, func(l *config.Limits) { l.Peers["laptop"] = config.PeerLimits{Down: bytesPerSecond} }},
		{"up, of the peer", a, func(l *config.Limits) { l.Peers["desktop"] = config.PeerLimits{Up: bytesPerSecond} }},
		{"down, by the timetable", b, func(l *config.Limits) {
			l.Schedule, l.LAN = config.Schedule{{EveryDay: true, Down: bytesPerSecond}}, true
		}},
	} {
		test.m.limit(test.change)
		if took := took(); took < least {
			t.Errorf("%s: %d bytes came in %v, at %d a second", test.name, 2*each, took, bytesPerSecond)
		}
		test.m.limit(func(l *config.Limits) { *l = config.Limits{} })
	}

	// At the lowest limit none of these would come in time.
	b.limit(func(l *config.Limits) { l.Down, l.Up = 1<<10, 1<<10 })
	took() // the LAN is exempt
	b.limit(func(l *config.Limits) { l.LAN = true })
	large := noise(4 << 20)
	a.save("large.bin", large)
	b.eventually("begin", func() error {
		s, err := b.client().Status(t.Context(), 0)
		if err == nil && len(s.Transfers) == 0 {
			err = fmt.Errorf("no transfer")
		}
		return err
	})
	b.limit(func(l *config.Limits) { l.LAN = false })
	b.has("large.bin", large)
	settled(t, a, b)
}

// TestLimitsAreShown: what is in force is in the status, and again after a restart.
func TestLimitsAreShown(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop")
	a := ms[0]
	// On every day of the week from the first minute on, so that it holds whenever the test runs.
	got := a.limit(func(l *config.Limits) {
		l.Schedule = config.Schedule{{EveryDay: true, Up: 1 << 20}}
		l.Peers["nas"] = config.PeerLimits{Down: 2 << 20}
		l.Peers["cloud"] = config.PeerLimits{Up: 3 << 20}
	})
	check := func(got status.Limits) {
		t.Helper()
		if got.Up != 1<<20 || got.Down != 0 || got.LAN || got.Schedule != "00:00,1M:off" || !got.Until.IsZero() || len(got.Peers) != 2 ||
			got.Peers[0] != (status.PeerLimits{Name: "cloud", Up: 3 << 20}) || got.Peers[1] != (status.PeerLimits{Name: "nas", Down: 2 << 20}) {
			t.Errorf("the limits in force are %+v", got)
		}
	}
	check(got)
	a.stop()
	a.start()
	a.eventually("show them again", func() error {
		s, err := a.client().Status(t.Context(), 0)
		if err == nil && len(s.Limits.Peers) == 0 {
			err = fmt.Errorf("%+v", s.Limits)
		}
		got = s.Limits
		return err
	})
	check(got)
	got = a.limit(func(l *config.Limits) {
		l.Schedule = config.Schedule{{EveryDay: true, Up: 1 << 20}, {EveryDay: true, Minute: 12 * 60, Up: 2 << 20}}
	})
	if wait := time.Until(got.Until); wait < -time.Minute || wait > 13*time.Hour || got.Up != 1<<20 && got.Up != 2<<20 {
		t.Errorf("the limits in force are %+v", got)
	}
}

// TestTimetableCrossed has a content on its way, under a limit that would keep it there for an hour, when the timetable ends
// that.
func TestTimetableCrossed(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	noon := time.Date(2026, 3, 2, 12, 0, 0, 0, time.Local)
	var atNoon atomic.Int64 // when the desktop's clock shows noon, in nanoseconds since the test began
	begun := time.Now()
	atNoon.Store(int64(time.Hour))
	b.stop()
	b.now = func() time.Time { return noon.Add(time.Since(begun) - time.Duration(atNoon.Load())) }
	b.start()
	b.online(1)
	const slow = 2 << 10
	b.limit(func(l *config.Limits) { l.Down, l.LAN = slow, true })
	large := noise(8 << 20)
	a.save("large.bin", large)
	b.row("that it comes", comes("large.bin", 1))
	atNoon.Store(int64(time.Since(begun) + 2*time.Second))
	got := b.limit(func(l *config.Limits) {
		*l = config.Limits{LAN: true, Schedule: config.Schedule{{EveryDay: true, Down: slow}, {EveryDay: true, Minute: 12 * 60}}}
	})
	if got.Schedule == "" {
		t.Errorf("the limits in force are %+v", got)
	}
	b.has("large.bin", large)
	b.eventually("show the new limits", func() error {
		s, err := b.client().Status(t.Context(), 0)
		if err == nil && (s.Limits.Down != 0 || s.Limits.Until.IsZero()) {
			err = fmt.Errorf("they are %+v", s.Limits)
		}
		return err
	})
	settled(t, a, b)
}
