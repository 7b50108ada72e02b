package annex

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// With annex.thin an unlocked file is its object under another name, which anybody may then write to. As in git-annex an object has one such file;
// more get copies. So does a file that can be executed: its object would be, too.

// ErrOverwritten says that the object of a key has other content: a person has written to it as a file of the work tree.
var ErrOverwritten = errors.New("the content was overwritten")

// ThinFiles says whether annex.thin is set.
func (r *Repo) ThinFiles() bool { return r.git.ConfigBool("annex.thin", false) }

// isWritable says whether an object may be a file of the work tree, too.
func isWritable(mode fs.FileMode) bool { return mode.Perm()&0o222 != 0 }

// checkObject says whether an object was overwritten. What can be written to is hashed; where the key has no hash, that its size is right is not certain.
func checkObject(k Key, object string) (overwritten, certain bool, err error) {
	st, err := os.Lstat(object)
	if err != nil || !isWritable(st.Mode()) {
		return false, err == nil, err
	}
	f, err := os.Open(object)
	if err != nil {
		return false, false, fmt.Errorf("check content: %w", err)
	}
	v := k.Verifier()
	_, err = io.Copy(v, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return false, false, fmt.Errorf("check content: %w", err)
	}
	overwritten = v.Check() != nil
	return overwritten, overwritten || v.hash != nil, nil
}

// linkObject gives an object a name in dir that is to become a file, which now has a pointer's permissions; "" when that is not to be.
func (r *Repo) linkObject(dir, object string, pointer gitrepo.Stat) (string, error) {
	var st unix.Stat_t
	if !r.ThinFiles() || pointer.Mode&0o111 != 0 || unix.Lstat(object, &st) != nil || st.Nlink > 1 {
		return "", nil
	}
	tmp, err := tempHardLink(dir, object)
	if err != nil {
		return "", nil //nolint:nilerr // such as on a file system without hard links
	}
	err = os.Chmod(tmp, fs.FileMode(pointer.Mode&0o777|0o200)|r.perms.files)
	if margin := time.Now().Add(-gitrepo.RacyMargin); err == nil && time.Unix(st.Mtim.Unix()).After(margin) {
		err = os.Chtimes(tmp, margin, margin)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(tmp))
	}
	return tmp, nil
}

// linkFile gives a file that is to be added, which was seen with st and opened, a name in dir that is to become its object; "" when that is not to
// be. Whoever adds it anew after writing to it has the object of the old key as another name of it.
func (r *Repo) linkFile(dir, path string, opened *unix.Stat_t, old Key) string {
	names := uint64(1)
	if !old.IsZero() && r.SharesObject(old, path) {
		names = 2
	}
	if !r.ThinFiles() || opened.Mode&0o111 != 0 || uint64(opened.Nlink) > names { //nolint:unconvert // 16 or 32 bits wide on some systems
		return ""
	}
	tmp, err := tempHardLink(dir, r.workPath(path))
	if err != nil {
		return ""
	}
	return tmp
}

// tempHardLink makes a hard link under a name of its own in dir.
func tempHardLink(dir, path string) (string, error) {
	name := filepath.Join(dir, "thin"+rand.Text())
	return name, os.Link(path, name)
}

// SharesObject says whether a file of the work tree is the object of the key under another name.
func (r *Repo) SharesObject(k Key, path string) bool {
	if !r.ThinFiles() {
		return false
	}
	object, present := r.ObjectPath(k)
	var theirs, ours unix.Stat_t
	return present && unix.Lstat(object, &theirs) == nil && unix.Lstat(r.workPath(path), &ours) == nil && theirs.Ino == ours.Ino && theirs.Dev == ours.Dev
}

// Thin says whether the object of the key may be a file of the work tree under another name.
func (r *Repo) Thin(k Key) bool {
	if !r.ThinFiles() {
		return false
	}
	var st unix.Stat_t
	object, present := r.ObjectPath(k)
	return present && unix.Lstat(object, &st) == nil && st.Nlink > 1 && isWritable(fs.FileMode(st.Mode&0o777))
}

// DropOverwritten takes away the object of a key that a person has overwritten as a file of the work tree; gone is false when the object is all right.
// When one of the files at others still has the content, that becomes the object. path is the file that the object is, if that is known, and
// was seen with st: now is its stat after it has lost a name, if nothing else has changed it.
func (r *Repo) DropOverwritten(ctx context.Context, k Key, path string, st gitrepo.Stat, others []string) (gone bool, now gitrepo.Stat, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("drop what was overwritten of %s: %w", k, err)
		}
	}()
	l, err := r.LockForRemoval(k)
	if errors.Is(err, fs.ErrNotExist) {
		return false, now, nil
	}
	if err != nil {
		return false, now, err
	}
	defer l.Release()
	if overwritten, _, err := checkObject(k, l.object); err != nil || !overwritten {
		return false, now, err
	}
	_, changed := r.unchanged(path, st, false)
	gone = true
	for _, other := range others {
		switch err := r.restore(ctx, k, other); {
		case err == nil:
			gone = false
		case !isGone(err) && !errors.Is(err, ErrBadContent): // it may have the content, and nobody else
			return false, now, err
		}
		if !gone {
			break
		}
	}
	if gone {
		if err := l.unlink(); err != nil {
			return false, now, err
		}
	}
	if changed == nil {
		if after, err := r.unchanged(path, st, true); err == nil {
			now = after
		}
	}
	return gone, now, nil
}

// restore makes an object of a copy of a file that has the content of the key.
func (r *Repo) restore(ctx context.Context, k Key, path string) error {
	src, err := os.OpenFile(r.workPath(path), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	st, err := src.Stat()
	if err != nil {
		return err
	}
	if size, known := k.Size(); !st.Mode().IsRegular() || known && size != st.Size() {
		return ErrBadContent
	}
	if err := r.Room(st.Size()); err != nil {
		return err
	}
	dir, release, err := r.tmpDir(ctx)
	if err != nil {
		return err
	}
	defer release()
	tmp, _, err := copyIn(ctx, dir, 0o600, src, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(os.Chmod(tmp, st.Mode().Perm()|0o400), r.Place(ctx, k, tmp)); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return nil
}
