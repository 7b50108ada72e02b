package annex

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncFileSystem makes all of the file system durable on which an open file is. Since Linux 5.8 it tells of what could not be written since the
// file was opened.
func syncFileSystem(f *os.File) error { return unix.Syncfs(int(f.Fd())) }
