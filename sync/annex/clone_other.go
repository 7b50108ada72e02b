//go:build !linux

package annex

import (
	"errors"
	"os"
)

func cloneFile(_, _ *os.File) error { return errors.ErrUnsupported }

func exchange(_, _ string) error { return errors.ErrUnsupported }
