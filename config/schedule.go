package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Schedule is a timetable of limits, in the file "08:00,512k 18:00,off", as rclone writes it: from each time on, what stands
// after it holds until the next. A time without a day, as "Mon-08:00", is that of every day. Two rates, as "512k:1M", are
// what is sent and what is received; one is both.
type Schedule []Change

// Change is one moment of a [Schedule].
type Change struct {
	EveryDay bool
	Day      time.Weekday // unless EveryDay
	Minute   int          // of the day
	Up, Down Rate
}

const (
	dayMinutes  = 24 * 60
	weekMinutes = 7 * dayMinutes
)

// UnmarshalText reads a timetable; "off" is none.
func (s *Schedule) UnmarshalText(text []byte) error {
	*s = nil
	if string(text) == "off" {
		return nil
	}
	for entry := range strings.FieldsSeq(string(text)) {
		c, err := parseChange(entry)
		if err != nil {
			return fmt.Errorf("%q: %w", entry, err)
		}
		*s = append(*s, c)
	}
	week := s.week()
	for i := 1; i < len(week); i++ {
		if week[i].minute == week[i-1].minute {
			return fmt.Errorf("%s stands there twice", clock(week[i].minute%dayMinutes))
		}
	}
	if len(week) == 0 {
		return errors.New("there is no time in it")
	}
	return nil
}

func parseChange(entry string) (Change, error) {
	at, rates, found := strings.Cut(entry, ",")
	if !found {
		return Change{}, errors.New("there is no comma between time and rate")
	}
	c := Change{EveryDay: true}
	if day, rest, found := strings.Cut(at, "-"); found {
		at, c.EveryDay, c.Day = rest, false, time.Sunday
		for !strings.EqualFold(day, c.Day.String()[:3]) && !strings.EqualFold(day, c.Day.String()) {
			if c.Day++; c.Day > time.Saturday {
				return Change{}, fmt.Errorf("%q is no day, as Mon", day)
			}
		}
	}
	t, err := time.Parse("15:04", at)
	if err != nil {
		return Change{}, fmt.Errorf("%q is no time, as 18:00", at)
	}
	c.Minute = t.Hour()*60 + t.Minute()
	up, down, two := strings.Cut(rates, ":")
	if !two {
		down = up
	}
	return c, errors.Join(c.Up.UnmarshalText([]byte(up)), c.Down.UnmarshalText([]byte(down)))
}

// String gives the timetable as it is written in the file.
func (s Schedule) String() string {
	var entries []string
	for _, c := range s {
		entry := clock(c.Minute) + "," + c.Up.String()
		if !c.EveryDay {
			entry = c.Day.String()[:3] + "-" + entry
		}
		if c.Up != c.Down {
			entry += ":" + c.Down.String()
		}
		entries = append(entries, entry)
	}
	if len(entries) == 0 {
		return "off"
	}
	return strings.Join(entries, " ")
}

func clock(minute int) string {
	return fmt.Sprintf("%02s:%02d", strconv.Itoa(minute/60), minute%60)
}

// At gives the limits that hold at a time and, as a time in the same zone, when other ones will; zero when never. What the
// clock shows decides: an hour that it shows twice in autumn is limited twice alike, and what would begin in the hour that
// it leaves out in spring begins at the leap.
func (s Schedule) At(now time.Time) (up, down Rate, until time.Time) {
	week := s.week()
	if len(week) == 0 {
		return 0, 0, time.Time{}
	}
	current := week[last(week, now)]
	// Between two leaps the clock runs evenly. In a week every moment comes once.
	for at := now; at.Before(now.AddDate(0, 0, 8)); {
		next := at.Add(wait(at, week[(last(week, at)+1)%len(week)].minute))
		if _, leap := at.ZoneBounds(); !leap.IsZero() && leap.Before(next) {
			next = leap
		}
		if m := week[last(week, next)]; m.up != current.up || m.down != current.down {
			return current.up, current.down, next
		}
		at = next
	}
	return current.up, current.down, time.Time{}
}

// moment is a change on one day of the week.
type moment struct {
	minute   int // since Sunday, 00:00
	up, down Rate
}

// week gives the moments of a week in order.
func (s Schedule) week() []moment {
	var week []moment
	for _, c := range s {
		for day := range 7 {
			if c.EveryDay || day == int(c.Day) {
				week = append(week, moment{day*dayMinutes + c.Minute, c.Up, c.Down})
			}
		}
	}
	slices.SortFunc(week, func(a, b moment) int { return cmp.Compare(a.minute, b.minute) })
	return week
}

// last finds the moment that has come last when the clock shows t; at the beginning of a week, that is the week's last.
func last(week []moment, t time.Time) int {
	shown := minuteOf(t)
	next, _ := slices.BinarySearchFunc(week, shown+1, func(m moment, minute int) int { return cmp.Compare(m.minute, minute) })
	return (next + len(week) - 1) % len(week)
}

func minuteOf(t time.Time) int { return int(t.Weekday())*dayMinutes + t.Hour()*60 + t.Minute() }

// wait gives how long after t a clock that runs evenly shows a minute of the week again.
func wait(t time.Time, minute int) time.Duration {
	minutes := (minute - minuteOf(t) + weekMinutes) % weekMinutes
	if minutes == 0 {
		minutes = weekMinutes
	}
	return time.Duration(minutes)*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond())
}
