//go:build !linux

package annex

import "golang.org/x/sys/unix"

// setLock takes the locks of the process, where locks of an open file are not to be had.
const setLock = unix.F_SETLK

// getLock tells of a lock that excludes one of setLock.
const getLock = unix.F_GETLK
