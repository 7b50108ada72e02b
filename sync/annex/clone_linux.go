package annex

import (
	"os"

	"golang.org/x/sys/unix"
)

// CloneFile makes to share the blocks of from, where the file system can. What to has beyond the size of from stays.
func CloneFile(to, from *os.File) error {
	return unix.IoctlFileClone(int(to.Fd()), int(from.Fd()))
}

// exchange swaps what two paths name, at once.
func exchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}
