package watch

import (
	"errors"

	"golang.org/x/sys/unix"
)

// writers tells by a read lease whether anybody has the regular file at the absolute path open for writing or mapped
// shared and writable: the kernel grants the lease iff not (fcntl(2), F_SETLEASE). The lease is given back at once; an
// open for writing that falls into these microseconds waits for it. It is untold where leases do not exist (network
// and FUSE file systems) or are not ours to take (another owner's file).
func writers(path string) sight {
	fd, err := openForLease(path)
	switch {
	case err == nil:
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return gone
	case errors.Is(err, unix.EWOULDBLOCK):
		return busy // somebody holds a write lease, Samba for one
	default:
		return untold
	}
	defer unix.Close(fd)
	if _, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); errors.Is(err, unix.EAGAIN) {
		return busy
	}
	if err != nil {
		return untold
	}
	// Closing releases the lease too, but later: after the file was flushed.
	if _, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
		return untold
	}
	return complete
}

// openForLease opens for reading, without following a link and without waiting for the writer of a pipe.
func openForLease(path string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK
	for {
		fd, err := unix.Open(path, flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
