//go:build !linux

package p2p

import "time"

// timestamp is a clock, in seconds. Where no monotonic one is common to all processes it is the wall clock: a removal may
// then be refused for no reason, when that is set forward.
func timestamp() int64 { return time.Now().Unix() }
