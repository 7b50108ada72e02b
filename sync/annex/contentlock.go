package annex

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// LockContent keeps git-annex and Arbor from dropping the content of the key from here until release is called. ok is false when the content is
// not here or is being dropped.
func (r *Repo) LockContent(k Key) (release func(), ok bool, err error) {
	lock, err := r.lockContent(k)
	if lock == nil {
		return nil, false, err
	}
	return func() { lock.release(nil) }, true, nil
}

// A contentLock is a shared lock on content: on the object in repositories before version 10, else on a file beside it.
type contentLock struct {
	*fileLock
	repo   *Repo
	object string
	beside bool
}

// lockContent is LockContent; the lock is nil when it cannot be had.
func (r *Repo) lockContent(k Key) (*contentLock, error) {
	object, present := r.ObjectPath(k)
	if !present {
		return nil, nil
	}
	lock := r.lockBeside
	if r.locksObjects() {
		lock = r.lockObject
	}
	l, err := lock(object)
	if l == nil {
		return nil, err
	}
	if sound, err := unmodifiedObject(k, object); err != nil || !sound {
		l.release(nil)
		return nil, err
	}
	if err := syncNames(object); err != nil { // it may have come this moment, and others remove theirs because of it
		l.release(nil)
		return nil, fmt.Errorf("lock content: %w", err)
	}
	return l, nil
}

// release ends the lock. last, if it is not nil, is called when nobody else has the lock, and may change the directory of the object.
func (l *contentLock) release(last func()) {
	l.unlock()
	if l.beside {
		l.repo.removeContentLock(l.object+".lck", last)
	}
}

// unmodifiedObject says whether an object certainly is the content of its key. Others may remove their copies because of this one.
func unmodifiedObject(k Key, object string) (bool, error) {
	overwritten, certain, err := checkObject(k, object)
	return err == nil && certain && !overwritten, err
}

// locksObjects says whether content is locked by its object, as git-annex does it in repositories before version 10, and not by a file beside it.
func (r *Repo) locksObjects() bool {
	v := r.git.Config("annex.version")
	return v == "8" || v == "9"
}

// lockObject locks the object itself, as git-annex does in repositories before version 10.
func (r *Repo) lockObject(object string) (*contentLock, error) {
	f, err := os.Open(object)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock content: %w", err)
	}
	lock, err := lockOpen(f, false)
	if errors.Is(err, errLocked) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !lock.is(object) {
		lock.unlock()
		return nil, nil
	}
	return &contentLock{lock, r, object, false}, nil
}

// lockBeside locks the file beside the object that git-annex locks in repositories of version 10. Whoever has the exclusive lock removes that file,
// so a lock counts only while its file still has its name.
func (r *Repo) lockBeside(object string) (*contentLock, error) {
	path := object + ".lck"
	dir := filepath.Dir(object)
	var lock *fileLock
	err := r.intoKeyDir(dir, func() error {
		if _, err := os.Lstat(object); err != nil {
			return err
		}
		var err error
		lock, err = tryLock(path, false)
		return err
	})
	switch {
	case errors.Is(err, errLocked), errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("lock content: %w", err)
	}
	if _, err = os.Lstat(object); err != nil || !lock.is(path) {
		lock.unlock()
		if err != nil { // it has just been removed, and the lock has made the directory anew
			r.removeContentLock(path, nil)
			removeEmptyDirs(dir)
		}
		return nil, nil
	}
	return &contentLock{lock, r, object, true}, nil
}

// removeContentLock removes the file of a lock on content unless somebody else holds the lock; before, it calls last. That the file stays in a
// rare case does no harm.
func (r *Repo) removeContentLock(path string, last func()) {
	_ = r.intoKeyDir(filepath.Dir(path), func() error {
		lock, err := tryLock(path, true)
		if err != nil {
			return nil
		}
		defer lock.unlock()
		if !lock.is(path) {
			return nil
		}
		if last != nil {
			last()
		}
		_ = os.Remove(path)
		return nil
	})
}
