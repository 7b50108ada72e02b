package p2p

import (
	"errors"
	"syscall"

	"github.com/git-arbor/arbor/sync/annex"
)

// IsDiskFull says whether content could not be stored because the disk, or the quota, is full or shall not get fuller. What
// came of it is kept.
func IsDiskFull(err error) bool {
	return errors.Is(err, annex.ErrNoRoom) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
