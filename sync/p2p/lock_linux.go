package p2p

import "golang.org/x/sys/unix"

// setLock takes locks that belong to the open file, so that two sessions of one process exclude each other too.
const setLock = unix.F_OFD_SETLK
