package p2p

import (
	"math"

	"golang.org/x/sys/unix"
)

// timestamp is the monotonic clock, in seconds: the same for every process since the machine started.
func timestamp() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return math.MaxInt64 // too late for any removal
	}
	return ts.Sec
}
