package annex

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const (
	uuidA = "19a7806f-0000-4000-8000-00000000000a"
	uuidB = "7134c180-0000-4000-8000-00000000000b"
)

func TestClock(t *testing.T) {
	oldest := []string{"-2s", "-1.5s", "-1s", "0s", "1795332994", "1795332996.114343859s", "1795332996.114343859001s", "1795332996.2", "1795332997s"}
	for i, text := range oldest {
		c, ok := parseClock(text)
		if !ok {
			t.Fatalf("parseClock(%q) failed", text)
		}
		if got := c.String(); strings.TrimSuffix(got, "s") != strings.TrimSuffix(text, "s") {
			t.Errorf("clock %q is written as %q", text, got)
		}
		if i > 0 {
			before, _ := parseClock(oldest[i-1])
			if c.compare(before) <= 0 || before.compare(c) >= 0 || c.compare(c) != 0 || c.compare(clock{}) <= 0 {
				t.Errorf("%s is not after %s", text, oldest[i-1])
			}
		}
	}
	for _, text := range []string{"", "s", ".5", "1.", "1.s", "1.5x", " 1", "1e3", "9999999999999999999s", strings.Repeat("1", 10) + "." + strings.Repeat("1", 60)} {
		if c, ok := parseClock(text); ok {
			t.Errorf("parseClock(%q) = %v", text, c)
		}
	}
	if a, _ := parseClock("1.50"); a.String() != "1.5s" {
		t.Errorf("1.50 is written as %s", a)
	}
}

func TestPresenceLog(t *testing.T) {
	now := time.Unix(1000, 5e8)
	for _, c := range []struct {
		name, log string
		want      []string
	}{
		{"empty", "", nil},
		{"newest wins", "1s 0 A\n3s 1 A\n2s 0 A\n", []string{"A"}},
		{"first of a tie wins", "1s 1 A\n1s 0 A\n1s 0 B\n1s 1 B\n", []string{"A"}},
		{"dead is missing", "2s X A\n1s 1 A\n", nil},
		{"either line end, bad lines", " 1s 1 A\r1s 1 B\r\nx\n1s 2 C\n1s 1\n1s 1 \n", []string{"B"}},
		{"picosecond", "1.114343859s 1 A\n1.114343859001s X A\n", nil},
	} {
		log := parsePresenceLog([]byte(c.log))
		if got := log.present(); !slices.Equal(got, c.want) {
			t.Errorf("%s: present in %q, want %q", c.name, got, c.want)
		}
	}
	log := parsePresenceLog([]byte("5s 1 A\n1s 0 A\n2000.7s 1 B\nfrom the future\n"))
	if log.set("A", present, now) {
		t.Error("what is known already is news")
	}
	if !log.set("A", missing, now) || !log.set("B", missing, now) || !log.set("C", present, now) {
		t.Error("what is not known is no news")
	}
	if got, want := string(log.bytes()), "1000s 0 A\n2001s 0 B\n1000s 1 C\nfrom the future\n"; got != want {
		t.Errorf("log is %q, want %q", got, want)
	}
}

func TestValueLog(t *testing.T) {
	log := parseValueLog([]byte("A my  laptop timestamp=5s\nB old style\nA other timestamp=5s\nC x timestamp=bad\nD timestamp=7s\n"), uuidLogFormat)
	for subject, want := range map[string]string{"A": "other", "B": "old style", "D": ""} {
		if got, ok := log.get(subject); !ok || got != want {
			t.Errorf("%s is %q, want %q", subject, got, want)
		}
	}
	if log.set("A", "other", time.Unix(9, 0)) || !log.set("B", "new", time.Unix(9, 0)) || !log.set("E", "e", time.Unix(9, 0)) {
		t.Error("news is not what differs")
	}
	if got, want := string(log.bytes()), "A other timestamp=5s\nB new timestamp=9s\nD timestamp=7s\nE e timestamp=9s\nC x timestamp=bad\n"; got != want {
		t.Errorf("log is %q, want %q", got, want)
	}
	config := parseValueLog([]byte("1s annex.largefiles a b\n1s annex.largefiles c\n2s annex.dotfiles \nodd\n"), configLogFormat)
	if got, _ := config.get("annex.largefiles"); got != "c" {
		t.Errorf("annex.largefiles is %q", got)
	}
	config.set("annex.largefiles", "anything", time.Unix(0, 0))
	if got, want := string(config.bytes()), "2s annex.dotfiles \n2s annex.largefiles anything\nodd\n"; got != want {
		t.Errorf("log is %q, want %q", got, want)
	}
}

func TestUnionMerge(t *testing.T) {
	for _, c := range []struct {
		versions []string
		want     string
		same     int
	}{
		{[]string{"b\na\n", "c\n"}, "a\nb\nc\n", -1},
		{[]string{"b\na\n", "a\n"}, "b\na\n", 0},
		{[]string{"a\n", "b\na\nb\n"}, "b\na\nb\n", 1},
		{[]string{"", "a\n"}, "a\n", 1},
		{[]string{"a", "b"}, "a\nb\n", -1},
	} {
		var versions [][]byte
		for _, v := range c.versions {
			versions = append(versions, []byte(v))
		}
		if got, same := unionMerge(versions); string(got) != c.want || same != c.same {
			t.Errorf("unionMerge(%q) = %q, %d, want %q, %d", c.versions, got, same, c.want, c.same)
		}
	}
}

// Whatever two clones write, both see the same after each has merged the other.
func TestUnionMergeConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("%ds %c %s\n", rapid.IntRange(1, 4).Draw(t, "clock"), rapid.SampledFrom([]byte("01X")).Draw(t, "status"), rapid.SampledFrom([]string{uuidA, uuidB}).Draw(t, "uuid"))
		})
		side := rapid.Custom(func(t *rapid.T) []byte {
			return []byte(strings.Join(rapid.SliceOfN(line, 0, 6).Draw(t, "lines"), ""))
		})
		a, b := side.Draw(t, "a"), side.Draw(t, "b")
		ab, _ := unionMerge([][]byte{a, b})
		ba, _ := unionMerge([][]byte{b, a})
		if !slices.EqualFunc(sortedLines(ab), sortedLines(ba), bytes.Equal) {
			t.Fatalf("%q and %q differ", ab, ba)
		}
		if again, _ := unionMerge([][]byte{ab, a}); !slices.EqualFunc(sortedLines(again), sortedLines(ab), bytes.Equal) {
			t.Fatalf("%q merged again is %q", ab, again)
		}
		log := parsePresenceLog(ab)
		compact := parsePresenceLog(log.bytes())
		if !slices.Equal(log.lines, compact.lines) {
			t.Fatalf("%v written is read as %v", log.lines, compact.lines)
		}
		for _, line := range log.lines {
			now := time.Unix(2, 0)
			changed := compact.set(line.uuid, present, now)
			if changed == (line.status == present) || !slices.Contains(compact.present(), line.uuid) {
				t.Fatalf("%v set to present gives %v", line, compact.lines)
			}
		}
	})
}

func FuzzParsePresenceLog(f *testing.F) {
	f.Add([]byte("1795332996.114343859001s 1 " + uuidA + "\n1s X " + uuidB + "\r\nodd\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		log := parsePresenceLog(content)
		again := parsePresenceLog(log.bytes())
		if !slices.Equal(log.lines, again.lines) || !slices.Equal(log.unknown, again.unknown) {
			t.Errorf("%v written is read as %v", log, again)
		}
	})
}

func FuzzParseValueLog(f *testing.F) {
	f.Add([]byte(uuidA+" my laptop timestamp=1795332994.662964044s\n"+uuidB+" old\n"), true)
	f.Add([]byte("1795332995.476882932s annex.autocommit false\nodd\n"), false)
	f.Fuzz(func(t *testing.T, content []byte, byUUID bool) {
		format := configLogFormat
		if byUUID {
			format = uuidLogFormat
		}
		log := parseValueLog(content, format)
		again := parseValueLog(log.bytes(), format)
		if !slices.Equal(log.lines, again.lines) || !slices.Equal(log.unknown, again.unknown) {
			t.Errorf("%v written is read as %v", log, again)
		}
	})
}
