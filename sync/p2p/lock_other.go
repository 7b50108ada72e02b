//go:build !linux

package p2p

import "golang.org/x/sys/unix"

// setLock takes locks that belong to the process: here two sessions of one process must be kept apart by their caller.
const setLock = unix.F_SETLK
