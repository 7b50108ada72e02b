package annex

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// ErrInUse says that somebody counts on the copy that is here: its content is locked, or is to be kept until some time.
var ErrInUse = errors.New("somebody counts on the copy that is here")

// A Removal is the lock under which content goes from here. While it is held nobody can lock the content (LockContent, git-annex), so that no
// other repository counts on this copy while it removes its own; LockContent says no, and so does another Removal.
type Removal struct {
	repo   *Repo
	key    Key
	object string
	lock   *fileLock
	locked string // the path that is locked: in repositories before version 10 that of the object
}

// LockForRemoval locks content that is to go. It wraps fs.ErrNotExist when the content is not here, and ErrInUse when it is locked, is being removed
// by another, or has a time of retention that git-annex has set and that has not passed. Release must follow.
func (r *Repo) LockForRemoval(k Key) (*Removal, error) {
	l, err := r.lockForRemoval(k)
	switch {
	case errors.Is(err, errLocked):
		err = ErrInUse
	case err == nil && retention(l.object).follows(time.Now()):
		l.Release()
		err = ErrInUse
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s for removal: %w", k, err)
	}
	return l, nil
}

func (r *Repo) lockForRemoval(k Key) (*Removal, error) {
	object, present := r.ObjectPath(k)
	if !present {
		return nil, fs.ErrNotExist
	}
	l := &Removal{repo: r, key: k, object: object, locked: object + ".lck"}
	lock := func() (err error) {
		if _, err := os.Lstat(object); err != nil {
			return err
		}
		l.lock, err = tryLock(l.locked, true)
		return err
	}
	if r.locksObjects() {
		l.locked = object
		lock = func() (err error) {
			l.lock, err = lockWritable(object)
			return err
		}
	}
	if err := r.intoKeyDir(filepath.Dir(object), lock); err != nil {
		return nil, err
	}
	if !l.lock.is(l.locked) { // whoever had the lock before has removed the file
		l.lock.unlock()
		return nil, errLocked
	}
	if _, err := os.Lstat(object); err != nil {
		l.Release()
		return nil, err
	}
	return l, nil
}

// lockWritable takes the exclusive lock on an object, which nobody may write to: such a lock needs a file that is open for writing.
func lockWritable(object string) (lock *fileLock, err error) {
	st, err := os.Lstat(object)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(object, st.Mode()|0o200); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(object, os.O_RDWR, 0)
	if err = errors.Join(err, os.Chmod(object, st.Mode())); err != nil {
		return nil, err
	}
	return lockOpen(f, true)
}

// Remove takes the content away. First the unlocked files among paths that have it become pointers again; one that a person has changed, or has
// open for writing, keeps what it has. Then the object goes. The entries are what the index must say of the files that were replaced, also after
// an error. Where the object is still there after an error, Populate gives the files their content back.
//
// The caller has proven that there are enough other copies, and records that this one is gone before it calls Release.
func (l *Removal) Remove(ctx context.Context, paths []string) ([]gitrepo.IndexEntry, error) {
	entries, err := l.repo.depopulate(ctx, l, paths)
	if err == nil {
		err = l.unlink()
	}
	if err != nil {
		return entries, fmt.Errorf("remove %s: %w", l.key, err)
	}
	return entries, nil
}

// unlink removes the object, in either layout, and what belongs to it. The one that is locked goes last.
func (l *Removal) unlink() error {
	for _, object := range []string{l.repo.objectPath(l.key, l.repo.git.Bare()), l.object} {
		dir := filepath.Dir(object)
		if _, err := os.Lstat(dir); err != nil {
			continue
		}
		err := l.repo.intoKeyDir(dir, func() error {
			if !l.lock.is(l.locked) {
				return gitrepo.ErrChanged
			}
			for _, name := range []string{object + ".rtm", object + ".rtl", object} {
				if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				if name == l.locked {
					return nil
				}
			}
			return syncFile(dir)
		})
		if err != nil {
			return err
		}
		if object != l.object {
			removeEmptyDirs(dir)
		}
	}
	return nil
}

// Release ends the lock, and tidies up where the object was if it is gone.
func (l *Removal) Release() {
	dir := filepath.Dir(l.object)
	if l.locked != l.object {
		_ = l.repo.intoKeyDir(dir, func() error {
			if l.lock.is(l.locked) {
				_ = os.Remove(l.locked)
			}
			return nil
		})
	}
	l.lock.unlock()
	removeEmptyDirs(dir)
}

// removeEmptyDirs removes the directory of an object and the two above it, as far as they are empty.
func removeEmptyDirs(dir string) {
	for range 3 {
		if os.Remove(dir) != nil {
			return
		}
		dir = filepath.Dir(dir)
	}
}
