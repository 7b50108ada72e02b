package agent_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
)

// TestPausePeer has the desktop exchange no contents with the laptop, also after a restart, while commits go on. With the nas
// it exchanges them.
func TestPausePeer(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop", "nas")
	a, b, c := ms[0], ms[1], ms[2]
	if err := b.client().Pause(t.Context(), control.PauseRequest{Peer: "nobody"}); !hasCode(err, "no-such-peer") {
		t.Errorf("pause of nobody: %v", err)
	}
	if err := b.client().Pause(t.Context(), control.PauseRequest{Clone: b.dir, Peer: "laptop"}); err != nil {
		t.Fatal(err)
	}
	paused := func(want bool) {
		t.Helper()
		b.eventually("show who is paused", func() error {
			row, err := b.clone()
			for _, p := range row.Peers {
				if p.Paused != (want && p.Name == "laptop") {
					err = errors.New(p.Name + " is wrong")
				}
			}
			return err
		})
	}
	paused(true)
	b.stop()
	b.start()
	b.online(2)
	paused(true)
	c.stop() // so that nothing goes around

	ofA, ofB := noise(300_000), noise(400_000)
	a.save("of the laptop", ofA)
	b.save("of the desktop", ofB)
	a.save("note", "1\n")
	for _, m := range []*machine{a, b} {
		m.has("note", "1\n")
	}
	b.pointer("of the laptop")
	a.pointer("of the desktop")
	told := func(want bool) {
		t.Helper()
		a.eventually("know that the desktop has paused it", func() error {
			row, err := a.clone()
			for _, p := range row.Peers {
				if p.PausedThere != (want && p.Name == "desktop") {
					err = errors.New(p.Name + " is wrong")
				}
			}
			return err
		})
	}
	told(true)
	if told, err := a.get(true, "of the desktop"); err != nil || len(told[0].Unreachable) != 1 || !slices.Equal(told[0].Unreachable[0].Holders, []string{"desktop (paused there)"}) {
		t.Errorf("get of what the desktop has: %+v, %v", told, err)
	}
	b.save("note", "2\n")
	a.has("note", "2\n") // by now contents would have come
	b.pointer("of the laptop")
	a.pointer("of the desktop")

	c.start()
	for _, m := range ms { // by the nas
		m.has("of the laptop", ofA)
		m.has("of the desktop", ofB)
	}
	c.stop()

	more := [2]string{noise(500_000), noise(600_000)}
	a.save("more of the laptop", more[0])
	b.save("more of the desktop", more[1])
	b.pointer("more of the laptop")
	a.pointer("more of the desktop")
	if err := b.client().Resume(t.Context(), control.PauseRequest{Peer: "laptop"}); err != nil {
		t.Fatal(err)
	}
	paused(false)
	told(false)
	b.has("more of the laptop", more[0])
	a.has("more of the desktop", more[1])
	c.start()
	settled(t, ms...)
}
