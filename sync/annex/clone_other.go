//go:build !linux

package annex

import (
	"errors"
	"os"
)

// CloneFile makes to share the blocks of from, where the file system can. What to has beyond the size of from stays.
func CloneFile(_, _ *os.File) error { return errors.ErrUnsupported }

func exchange(_, _ string) error { return errors.ErrUnsupported }
