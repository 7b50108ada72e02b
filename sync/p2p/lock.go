package p2p

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/sync/annex"
)

// notedTransfer is the size, in bytes, from which `git annex info` shows a transfer.
const notedTransfer = 1 << 20

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
	noteTransfer(lock, key, "")
	return func() { unlockTransfer(lock) }, nil
}

// noteTransfer has `git annex info` show the transfer of a key, of which lock is the lock, under the name of a file, which may be "". It is of no
// use for what is done in a moment. The file beside the lock is that of git-annex.md §1.9; git-annex removes it when nobody has the lock.
func noteTransfer(lock *os.File, key annex.Key, file string) {
	if size, ok := key.Size(); ok && size < notedTransfer || strings.Contains(file, "\n") {
		return
	}
	_ = os.WriteFile(noteOf(lock), fmt.Appendf(nil, "%ds\n%s\n", time.Now().Unix(), file), 0o666) // it only tells
}

// noteOf gives the file that tells of the transfer under a lock.
func noteOf(lock *os.File) string {
	dir, name := filepath.Split(lock.Name())
	return filepath.Join(dir, strings.TrimPrefix(name, "lck."))
}

// unlockTransfer ends a transfer.
func unlockTransfer(lock *os.File) {
	_ = os.Remove(noteOf(lock))
	unlockFile(lock)
}

// unlockFile removes the file, as git-annex does, and lets go of its lock.
func unlockFile(file *os.File) {
	_ = os.Remove(file.Name())
	_ = file.Close()
}
