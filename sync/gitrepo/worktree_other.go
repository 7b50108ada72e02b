//go:build !linux

package gitrepo

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// dirFlags open a directory to name files in it.
const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY

// exchange is not offered here.
func exchange(int, string, int, string) error { return errors.ErrUnsupported }

// renameNew gives a file a new name that must be free.
func renameNew(dirA int, a string, dirB int, b string) error { return linkNew(dirA, a, dirB, b) }

// BeingWritten cannot be told here.
func BeingWritten(*os.File) bool { return false }
