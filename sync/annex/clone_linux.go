package annex

import (
	"os"

	"golang.org/x/sys/unix"
)

// cloneFile makes to share the blocks of from, where the file system can; to must be empty.
func cloneFile(to, from *os.File) error {
	return unix.IoctlFileClone(int(to.Fd()), int(from.Fd()))
}

// exchange swaps what two paths name, at once.
func exchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}
