package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of bytes per second; 0 means no limit. In the file it is written "512k", "10M" or "off".
type Rate int64

// minRate is the lowest limit, in bytes per second: below it a link would seem to be dead. It also tells who leaves out the k.
const minRate = 1 << 10

// UnmarshalText reads a rate. The suffixes k, M and G are powers of 1024.
func (r *Rate) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "off" {
		*r = 0
		return nil
	}
	digits := strings.TrimRight(s, "kKMG")
	var unit int64
	switch s[len(digits):] {
	case "":
		unit = 1
	case "k", "K":
		unit = 1 << 10
	case "M":
		unit = 1 << 20
	case "G":
		unit = 1 << 30
	default:
		return fmt.Errorf("%q has an unknown suffix", s)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a rate", s)
	case n <= 0:
		return errors.New("a rate must be positive")
	case n > math.MaxInt64/unit:
		return fmt.Errorf("%q is too large", s)
	}
	if n*unit < minRate {
		return fmt.Errorf("%q is less than 1k", s)
	}
	*r = Rate(n * unit)
	return nil
}

// String gives the rate as it is written in the file.
func (r Rate) String() string {
	switch {
	case r == 0:
		return "off"
	case r%(1<<30) == 0:
		return fmt.Sprintf("%dG", r>>30)
	case r%(1<<20) == 0:
		return fmt.Sprintf("%dM", r>>20)
	case r%(1<<10) == 0:
		return fmt.Sprintf("%dk", r>>10)
	default:
		return strconv.FormatInt(int64(r), 10)
	}
}

// Duration is a time span, written in the file as "90s", "15m" or "1h30m".
type Duration time.Duration

// UnmarshalText reads a duration in the form of [time.ParseDuration].
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("parse duration: %w", err)
	}
	*d = Duration(v)
	return nil
}

// String gives the duration as it is written in the file.
func (d Duration) String() string { return time.Duration(d).String() }
