package gitrepo

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime is when the machine was started, to a second.
func bootTime() (time.Time, bool) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return time.Time{}, false
	}
	return time.Now().Add(-time.Duration(info.Uptime) * time.Second), true
}
