package gitrepo

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// dirFlags open a directory to name files in it, which needs no permission to list it.
const dirFlags = unix.O_PATH | unix.O_DIRECTORY

// exchange swaps two names in one step; errors.ErrUnsupported where the file system cannot.
func exchange(dirA int, a string, dirB int, b string) error {
	err := retryEINTR(func() error { return unix.Renameat2(dirA, a, dirB, b, unix.RENAME_EXCHANGE) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return errors.ErrUnsupported
	}
	return err
}

// renameNew gives a file a new name that must be free.
func renameNew(dirA int, a string, dirB int, b string) error {
	err := retryEINTR(func() error { return unix.Renameat2(dirA, a, dirB, b, unix.RENAME_NOREPLACE) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return linkNew(dirA, a, dirB, b)
	}
	return err
}

// BeingWritten reports whether somebody has the file open for writing, or mapped: a read lease is then refused. False
// where leases do not exist or are not allowed.
func BeingWritten(f *os.File) bool {
	fd := f.Fd()
	_, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_, _ = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK)
	}
	return errors.Is(err, unix.EAGAIN)
}
