//go:build !linux

package annex

import (
	"errors"
	"os"
)

// syncFileSystem makes all of the file system durable on which an open file is, where the system can.
func syncFileSystem(*os.File) error { return errors.ErrUnsupported }
