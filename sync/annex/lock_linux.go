package annex

import "golang.org/x/sys/unix"

// setLock takes locks that belong to the open file, not to the process: they exclude other goroutines too, and closing another descriptor
// of the same file does not drop them.
const setLock = unix.F_OFD_SETLK

// getLock tells of a lock that excludes one of setLock.
const getLock = unix.F_OFD_GETLK
