package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// indexPatience is how long we wait for another process to release index.lock.
	indexPatience = 500 * time.Millisecond
	// indexPoll is how often we look.
	indexPoll = time.Millisecond
)

// IndexLock is index.lock, held. It keeps every process that respects it, as git does, from changing the index or the
// files of the work tree, and most of what moves HEAD.
type IndexLock struct {
	r       *Repo
	release func()
}

// LockIndex takes index.lock; a person's git fails until Unlock, so that has to be soon. ErrIndexLocked when another
// process keeps it.
func (r *Repo) LockIndex(ctx context.Context) (*IndexLock, error) {
	unlock, err := r.lockOwn(ctx)
	if err != nil {
		return nil, err
	}
	l, err := r.holdIndex(ctx)
	if err != nil {
		unlock()
		return nil, err
	}
	release := l.release
	l.release = func() { release(); unlock() }
	return l, nil
}

// holdIndex is LockIndex for those who have our own lock.
func (r *Repo) holdIndex(ctx context.Context) (*IndexLock, error) {
	private := r.ownPath("index")
	if err := writeFresh(private, nil); err != nil {
		return nil, fmt.Errorf("lock index: %w", err)
	}
	release, err := takeLock(ctx, private, filepath.Join(r.gitDir, "index.lock"))
	if err != nil {
		os.Remove(private)
		return nil, err
	}
	return &IndexLock{r, func() { release(); os.Remove(private) }}, nil
}

// Unlock lets others have the index. It is called once.
func (l *IndexLock) Unlock() { l.release() }

// Advance is Repo.Advance for the holder of the lock.
func (l *IndexLock) Advance(ctx context.Context, a Advance) error {
	if err := l.r.prepareAdvance(a); err != nil {
		return err
	}
	if len(a.Index) == 0 {
		return l.r.UpdateRefs(ctx, a.updates(), a.Reason)
	}
	return l.advance(ctx, a)
}

func (l *IndexLock) advance(ctx context.Context, a Advance) error {
	next := l.r.ownPath("index.next")
	defer os.Remove(next)
	if err := l.r.prepareIndex(ctx, next, a); err != nil {
		return err
	}
	return l.r.swapIndex(ctx, a, next)
}

// IndexTouched returns when another process has last replaced the index; the zero time when none has since we know it.
func (r *Repo) IndexTouched() (time.Time, error) {
	st, err := lstatPath(filepath.Join(r.gitDir, "index"))
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("look at index: %w", err)
	}
	if ours, err := lstatPath(r.ownPath(lastIndex)); err == nil && ours.id() == st.id() {
		return r.touched, nil
	}
	return time.Unix(0, st.Ctime), nil
}

// lastIndex is a second name of the index that we wrote last. Git never changes an index in place.
const lastIndex = "index.last"

// markIndex gives an index that takes the place of the old one its second name.
func (r *Repo) markIndex(next string) (err error) {
	if r.touched, err = r.IndexTouched(); err != nil {
		return err
	}
	last := r.ownPath(lastIndex)
	if err := os.Remove(last); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("mark index: %w", err)
	}
	if err := os.Link(next, last); err != nil {
		return fmt.Errorf("mark index: %w", err)
	}
	return nil
}

// takeLock makes private the index lock: git takes it by O_EXCL, which link respects. After a kill the lock is known to
// be ours by being the private file under a second name. release gives it back, unless it was renamed.
func takeLock(ctx context.Context, private, lock string) (release func(), err error) {
	deadline := time.Now().Add(indexPatience)
	for {
		err := os.Link(private, lock)
		if err == nil {
			ours, err := identify(private)
			return func() {
				if id, lerr := identify(lock); err == nil && lerr == nil && id == ours {
					os.Remove(lock)
				}
			}, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("lock index: %w", err)
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("advance: %w", ErrIndexLocked)
		}
		if err := pause(ctx, indexPoll); err != nil {
			return nil, err
		}
	}
}

// ownPath is a path in the folder that is ours inside the git directory.
func (r *Repo) ownPath(name string) string { return filepath.Join(r.gitDir, "arbor", name) }

// lockOwn takes the lock that keeps a second process of ours from the private index and the staging folder.
func (r *Repo) lockOwn(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(r.ownPath(""), 0o777); err != nil {
		return nil, fmt.Errorf("lock %s: %w", r.gitDir, err)
	}
	for {
		unlock, err := r.tryLockOwn()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return unlock, err
		}
		if err := pause(ctx, indexPoll); err != nil {
			return nil, err
		}
	}
}

// tryLockOwn fails with EWOULDBLOCK when another process has the lock. The kernel releases it when a process dies.
func (r *Repo) tryLockOwn() (unlock func(), err error) {
	f, err := os.OpenFile(r.ownPath("lock"), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", r.gitDir, err)
	}
	if err := retryEINTR(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", r.gitDir, err)
	}
	return func() {
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN) // a child that is being started may have the file open too, for a moment
		f.Close()
	}, nil
}

// lockToRecover is lockOwn for those who mend what another process has left; unlock is nil while one is at work. One that was killed may still
// have the lock for a moment, by a child that it was starting.
func (r *Repo) lockToRecover(ctx context.Context) (unlock func(), err error) {
	soon, cancel := context.WithTimeout(ctx, indexPatience)
	defer cancel()
	unlock, err = r.lockOwn(soon)
	if soon.Err() != nil && ctx.Err() == nil && unlock == nil {
		return nil, nil
	}
	return unlock, err
}

// recoverAdvance removes what a killed Advance left. Its index.lock is known by being the private index under a second
// name; another's is never touched.
func (r *Repo) recoverAdvance(ctx context.Context) error {
	private := r.ownPath("index")
	if _, err := os.Lstat(private); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := r.lockToRecover(ctx)
	if unlock == nil {
		return err
	}
	defer unlock()
	ours, err := identify(private)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	lock := filepath.Join(r.gitDir, "index.lock")
	if id, err := identify(lock); err == nil && id == ours {
		if err := os.Remove(lock); err != nil {
			return fmt.Errorf("recover: %w", err)
		}
	}
	if err := os.Remove(private); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	return nil
}
