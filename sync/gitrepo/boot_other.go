//go:build !linux

package gitrepo

import "time"

// bootTime is not known here.
func bootTime() (time.Time, bool) { return time.Time{}, false }
