package annex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A fileLock is a lock on a whole file that excludes git-annex, which takes POSIX locks on the same files.
type fileLock struct {
	file *os.File
}

// errLocked says that somebody holds a lock that excludes the one asked for.
var errLocked = errors.New("locked by another process")

// tryLock takes a lock on path, which is made when missing, without waiting; errLocked when it cannot be had.
func tryLock(path string, exclusive bool) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return nil, fmt.Errorf("make lock directory: %w", err)
		}
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	}
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	return lockOpen(f, exclusive)
}

// lockOpen takes a lock on an open file, which it closes when the lock cannot be had.
func lockOpen(f *os.File, exclusive bool) (*fileLock, error) {
	kind := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart}
	if exclusive {
		kind.Type = unix.F_WRLCK
	}
	err := unix.FcntlFlock(f.Fd(), setLock, &kind)
	if err == nil {
		return &fileLock{f}, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, errLocked
	}
	return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
}

// waitLock takes a lock on path as soon as it can be had. The wait is a poll, because a lock call that blocks cannot be ended by ctx.
func waitLock(ctx context.Context, path string, exclusive bool) (*fileLock, error) {
	const longest = 50 * time.Millisecond
	for pause := time.Millisecond; ; pause = min(2*pause, longest) {
		lock, err := tryLock(path, exclusive)
		if !errors.Is(err, errLocked) {
			return lock, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("wait for lock %s: %w", path, ctx.Err())
		case <-timer.C:
		}
	}
}

// is says whether the locked file still is the one at path.
func (l *fileLock) is(path string) bool {
	now, err := os.Stat(path)
	if err != nil {
		return false
	}
	locked, err := l.file.Stat()
	return err == nil && os.SameFile(now, locked)
}

// shared says whether somebody else has a lock on the file, too.
func (l *fileLock) shared() bool {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err := unix.FcntlFlock(l.file.Fd(), getLock, &lock)
	return err != nil || lock.Type != unix.F_UNLCK
}

// unlock gives the lock back. The file stays. Closing alone would not do while a child that is being started has it open.
func (l *fileLock) unlock() {
	_ = unix.FcntlFlock(l.file.Fd(), setLock, &unix.Flock_t{Type: unix.F_UNLCK, Whence: io.SeekStart})
	_ = l.file.Close()
}
