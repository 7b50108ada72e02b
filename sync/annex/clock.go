package annex

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxClockLength bounds the text of a clock, in bytes. git-annex writes at most 24.
const maxClockLength = 64

// A clock orders the lines of a log: seconds since 1970 with any number of decimals, as git-annex writes them. Decimals beyond
// the ninth are in use (`git annex dead --key` adds a picosecond), so a clock is never a float or a time.Time. The zero clock
// stands for a line without one, which is older than any other.
type clock struct {
	known    bool
	seconds  int64
	decimals string // digits after the point, without trailing zeros
}

// parseClock reads "1795332996.114343859001s"; the final s may be missing, as in logs of old versions.
func parseClock(s string) (clock, bool) {
	if len(s) > maxClockLength {
		return clock{}, false
	}
	whole, decimals, pointed := strings.Cut(strings.TrimSuffix(s, "s"), ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || pointed && decimals == "" {
		return clock{}, false
	}
	for _, c := range []byte(decimals) {
		if c < '0' || c > '9' {
			return clock{}, false
		}
	}
	return clock{known: true, seconds: seconds, decimals: strings.TrimRight(decimals, "0")}, true
}

// String gives the clock as git-annex writes it.
func (c clock) String() string {
	s := strconv.FormatInt(c.seconds, 10)
	if c.decimals != "" {
		s += "." + c.decimals
	}
	return s + "s"
}

// compare is negative when c is older than d. Decimals of a negative clock count away from zero, as in git-annex.
func (c clock) compare(d clock) int {
	if c.known != d.known {
		if c.known {
			return 1
		}
		return -1
	}
	if c.seconds != d.seconds {
		return cmp.Compare(c.seconds, d.seconds)
	}
	order := strings.Compare(c.decimals, d.decimals)
	if c.seconds < 0 {
		return -order
	}
	return order
}

// clockAt gives the clock of a time.
func clockAt(t time.Time) clock {
	return clock{known: true, seconds: t.Unix(), decimals: strings.TrimRight(fmt.Sprintf("%09d", t.Nanosecond()), "0")}
}

// follows says whether the clock is not before a time, in whole seconds.
func (c clock) follows(now time.Time) bool {
	return c.compare(clock{known: true, seconds: now.Unix()}) >= 0
}

// latest gives the newer of two clocks.
func latest(c, d clock) clock {
	if c.compare(d) < 0 {
		return d
	}
	return c
}

// nextClock gives the clock of a line that must win over old: now in whole seconds, which is what newer versions of git-annex write,
// or the next second after old when now is not later.
func nextClock(old clock, now time.Time) clock {
	next := clock{known: true, seconds: now.Unix()}
	if old.known && next.compare(old) <= 0 {
		next.seconds = old.seconds + 1
	}
	return next
}
