//go:build !linux

package gitrepo

import "errors"

// syncAll does not exist here.
func syncAll(string) error { return errors.ErrUnsupported }
