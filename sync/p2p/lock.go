package p2p

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/sync/annex"
)

// lockFile takes the exclusive lock that git-annex takes on such a file; ErrBusy when somebody has it.
func lockFile(path string) (*os.File, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				return nil, err
			}
			file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // the folder went in between
		}
		if err != nil {
			return nil, err
		}
		whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
		if err := unix.FcntlFlock(file.Fd(), setLock, &whole); err != nil {
			_ = file.Close()
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
				return nil, ErrBusy
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// Who had the lock before may have removed the file before letting go.
		mine, err := file.Stat()
		if err != nil {
			_ = file.Close()
			return nil, err
		}
		if there, err := os.Lstat(path); err == nil && os.SameFile(mine, there) {
			return file, nil
		}
		_ = file.Close()
	}
}

// LockUpload takes the lock under which git-annex sends the content of a key to another place, named by its uuid; ErrBusy when
// somebody is sending it there.
func LockUpload(repo *annex.Repo, key annex.Key, to string) (unlock func(), err error) {
	if to == "" || to != filepath.Base(to) {
		return nil, fmt.Errorf("send %s: bad uuid %q", key, to)
	}
	annexDir := filepath.Dir(filepath.Dir(repo.TmpPath(key)))
	lock, err := lockFile(filepath.Join(annexDir, "transfer", "upload", to, "lck."+key.File()))
	if err != nil {
		return nil, fmt.Errorf("send %s: %w", key, err)
	}
	return func() { unlockFile(lock) }, nil
}

// unlockFile removes the file, as git-annex does, and lets go of its lock.
func unlockFile(file *os.File) {
	_ = os.Remove(file.Name())
	_ = file.Close()
}
