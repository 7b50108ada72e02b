package config

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLoadLimits(t *testing.T) {
	got, err := Load(writeConfig(t, `
[limits]
lan = true
schedule = "08:00,512k:1M 18:00,off"
[limits.peers."the nas"]
up = "1M"
[limits.peers]
desktop = { down = "2M" }
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Limits{
		LAN: true,
		Schedule: Schedule{
			{EveryDay: true, Minute: 8 * 60, Up: 512 << 10, Down: 1 << 20}, {EveryDay: true, Minute: 18 * 60},
		},
		Peers: map[string]PeerLimits{"the nas": {Up: 1 << 20}, "desktop": {Down: 2 << 20}},
	}
	if diff := cmp.Diff(want, got.Limits); diff != "" {
		t.Error(diff)
	}
}

func TestChangeLimitsMakesTheFile(t *testing.T) {
	path := writeConfig(t, "")
	if err := ChangeLimits(path, func(l *Limits) { l.Peers["nas"] = PeerLimits{Up: 1 << 20} }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("[limits.peers.nas]\nup = \"1M\"\n", readConfig(t, path)); diff != "" {
		t.Error(diff)
	}
	if err := ChangeLimits(path, func(l *Limits) { *l = Limits{} }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("", readConfig(t, path)); diff != "" {
		t.Error(diff)
	}
}

// TestChangeLimitsRefuses: what cannot be meant is not written, nor is a file edited that is written in another form.
func TestChangeLimitsRefuses(t *testing.T) {
	for _, test := range []struct {
		name, text string
		change     func(*Limits)
		key        string
	}{
		{"both", "", func(l *Limits) { l.Up, l.Schedule = 1<<20, Schedule{{EveryDay: true}} }, "limits.schedule"},
		{"no name", "", func(l *Limits) { l.Peers[""] = PeerLimits{Up: 1 << 20} }, `limits.peers.""`},
		{"inline", "limits = { up = \"1M\" }\n", func(l *Limits) { l.Up = 0 }, ""},
		{"dotted", "limits.up = \"1M\"\n", func(l *Limits) { l.Up = 0 }, ""},
		{"inline peer", "[limits.peers]\nnas = { up = \"1M\" }\n", func(l *Limits) { delete(l.Peers, "nas") }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := writeConfig(t, test.text)
			e, ok := errors.AsType[*Error](ChangeLimits(path, test.change))
			if !ok || e.Key != test.key || e.Fix == "" {
				t.Errorf("got %+v, want an error about %q with a remedy", e, test.key)
			}
			if got := readConfig(t, path); got != test.text {
				t.Errorf("the file changed to %q", got)
			}
		})
	}
}
