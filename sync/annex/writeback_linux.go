package annex

import (
	"os"

	"golang.org/x/sys/unix"
)

// beginWriteBack has a part of a file begin to go to the disk. It is a hint: what fails is told by the sync.
func beginWriteBack(f *os.File, offset, bytes int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, bytes, unix.SYNC_FILE_RANGE_WRITE)
}
