package config

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones are the same wherever this runs
)

func TestScheduleAt(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	const (
		day   = "08:00,512k 18:00,off"
		night = "22:00,1M:2M 06:00,off"
		week  = "Mon-08:00,512k Fri-18:00,off"
		leap  = "02:30,512k 18:00,off"
	)
	for _, test := range []struct {
		schedule, now string
		up, down      Rate
		until         string // empty: never
	}{
		{day, "2026-01-05 07:59:59 +0100", 0, 0, "2026-01-05 08:00:00 +0100"},
		{day, "2026-01-05 08:00:00 +0100", 512 << 10, 512 << 10, "2026-01-05 18:00:00 +0100"},
		{day, "2026-01-05 17:59:59 +0100", 512 << 10, 512 << 10, "2026-01-05 18:00:00 +0100"},
		{day, "2026-01-05 18:00:00 +0100", 0, 0, "2026-01-06 08:00:00 +0100"},
		{day, "2026-01-05 08:00:00 +0000", 512 << 10, 512 << 10, "2026-01-05 18:00:00 +0100"}, // it is 09:00 here

		// Around midnight, the end of the week (Saturday) and of the year.
		{night, "2026-01-05 23:59:59 +0100", 1 << 20, 2 << 20, "2026-01-06 06:00:00 +0100"},
		{night, "2026-01-06 00:00:00 +0100", 1 << 20, 2 << 20, "2026-01-06 06:00:00 +0100"},
		{night, "2026-01-03 23:30:00 +0100", 1 << 20, 2 << 20, "2026-01-04 06:00:00 +0100"},
		{night, "2026-01-04 00:30:00 +0100", 1 << 20, 2 << 20, "2026-01-04 06:00:00 +0100"},
		{night, "2025-12-31 23:30:00 +0100", 1 << 20, 2 << 20, "2026-01-01 06:00:00 +0100"},

		{week, "2026-01-05 07:59:00 +0100", 0, 0, "2026-01-05 08:00:00 +0100"},
		{week, "2026-01-07 12:00:00 +0100", 512 << 10, 512 << 10, "2026-01-09 18:00:00 +0100"},
		{week, "2026-01-10 12:00:00 +0100", 0, 0, "2026-01-12 08:00:00 +0100"},
		{week, "2026-01-11 12:00:00 +0100", 0, 0, "2026-01-12 08:00:00 +0100"},

		// A day beside every day; times in any order.
		{"18:00,off 08:00,1M Sat-09:00,2M", "2026-01-10 10:00:00 +0100", 2 << 20, 2 << 20, "2026-01-10 18:00:00 +0100"},

		// What stays the same is no change.
		{"00:00,1M", "2026-01-05 12:00:00 +0100", 1 << 20, 1 << 20, ""},
		{"08:00,1M 12:00,1M 18:00,off", "2026-01-05 09:00:00 +0100", 1 << 20, 1 << 20, "2026-01-05 18:00:00 +0100"},
		{"off", "2026-01-05 12:00:00 +0100", 0, 0, ""},

		// In spring 02:00 is 03:00: there is no 02:30.
		{leap, "2026-03-29 01:59:00 +0100", 0, 0, "2026-03-29 03:00:00 +0200"},
		{leap, "2026-03-29 03:00:00 +0200", 512 << 10, 512 << 10, "2026-03-29 18:00:00 +0200"},
		{day, "2026-03-28 19:00:00 +0100", 0, 0, "2026-03-29 08:00:00 +0200"}, // an hour sooner than on other days
		// In autumn 03:00 is 02:00 once more: so is 02:30.
		{leap, "2026-10-25 02:29:00 +0200", 0, 0, "2026-10-25 02:30:00 +0200"},
		{leap, "2026-10-25 02:45:00 +0200", 512 << 10, 512 << 10, "2026-10-25 02:00:00 +0100"},
		{leap, "2026-10-25 02:00:00 +0100", 0, 0, "2026-10-25 02:30:00 +0100"},
		{leap, "2026-10-25 02:30:00 +0100", 512 << 10, 512 << 10, "2026-10-25 18:00:00 +0100"},
		{day, "2026-10-24 19:00:00 +0200", 0, 0, "2026-10-25 08:00:00 +0100"},
	} {
		const layout = "2006-01-02 15:04:05 -0700"
		now, err := time.Parse(layout, test.now)
		if err != nil {
			t.Fatal(err)
		}
		var s Schedule
		if err := s.UnmarshalText([]byte(test.schedule)); err != nil {
			t.Fatal(err)
		}
		up, down, until := s.At(now.In(zone))
		shown := ""
		if !until.IsZero() {
			shown = until.Format(layout)
		}
		if up != test.up || down != test.down || shown != test.until {
			t.Errorf("%s at %s: up %s, down %s until %q; want %s, %s until %q", test.schedule, test.now, up, down, shown, test.up, test.down, test.until)
		}
	}
}

// TestScheduleChangesInTime goes through a year from change to change: nothing is left out, and nothing comes late.
func TestScheduleChangesInTime(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	var s Schedule
	if err := s.UnmarshalText([]byte("01:30,1M 02:15,2M 23:45,off Tue-12:00,3M Sat-00:00,4M:5M")); err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, zone)
	up, down, until := s.At(begin)
	for now := begin; now.Before(begin.AddDate(1, 0, 0)); now = now.Add(15 * time.Minute) {
		newUp, newDown, newUntil := s.At(now)
		if due := !now.Before(until); due != (newUp != up || newDown != down) || !newUntil.After(now) {
			t.Fatalf("at %v: up %s, down %s until %v, where the change was due at %v", now, newUp, newDown, newUntil, until)
		}
		up, down, until = newUp, newDown, newUntil
	}
}

func TestScheduleText(t *testing.T) {
	for text, want := range map[string]string{
		"8:00,512K   18:00,off":              "08:00,512k 18:00,off",
		"monday-08:00,1M:1M fri-00:00,1M:2M": "Mon-08:00,1M Fri-00:00,1M:2M",
		"off":                                "off",
	} {
		var s, again Schedule
		if err := s.UnmarshalText([]byte(text)); err != nil || s.String() != want {
			t.Errorf("%q: got %q, %v; want %q", text, s, err, want)
		}
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again.String() != want {
			t.Errorf("%q: read again: %q, %v", text, again, err)
		}
	}
	for text, want := range map[string]string{
		"":                        "no time",
		"512k":                    "no comma",
		"08:00 512k":              "no comma",
		"24:00,1M":                `"24:00" is no time`,
		"-08:00,1M":               "no day",
		"M-08:00,1M":              `"M" is no day`,
		"08:00,512":               "less than 1k",
		"08:00,1M:x":              `"08:00,1M:x": "x" is not a rate`,
		"08:00,1M 08:00,2M":       "08:00 stands there twice",
		"08:00,1M Mon-08:00,2M":   "08:00 stands there twice",
		"Mon-8:00,1M mon-08:00,1": "less than 1k",
	} {
		var s Schedule
		if err := s.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", text, err, want)
		}
	}
}
