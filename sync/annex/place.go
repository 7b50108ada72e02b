package annex

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Place makes tmpfile, which must be on the file system of the annex (TmpPath is), the object of the key after it has checked size and hash; it
// is ErrBadContent when they differ, and tmpfile stays then. A key whose backend cannot be checked is checked by size alone.
func (r *Repo) Place(ctx context.Context, k Key, tmpfile string) error {
	f, err := os.Open(tmpfile)
	if err != nil {
		return fmt.Errorf("place %s: %w", k, err)
	}
	v := k.Verifier()
	if v.hash != nil {
		_, err = copyContent(ctx, v, f)
	} else {
		var st fs.FileInfo
		if st, err = f.Stat(); err == nil {
			v.got = st.Size()
		}
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("place %s: %w", k, err)
	}
	if err := v.Check(); err != nil {
		return fmt.Errorf("place %s: %w", k, err)
	}
	r.KeepBlocks(v.Blocks())
	return r.PlaceVerified(k, tmpfile)
}

// PlaceVerified is Place for content whose hash the caller has checked while it came in.
func (r *Repo) PlaceVerified(k Key, tmpfile string) error {
	if err := syncFile(tmpfile); err != nil {
		return fmt.Errorf("place %s: %w", k, err)
	}
	if err := r.placeDurable(k, tmpfile); err != nil {
		return fmt.Errorf("place %s: %w", k, err)
	}
	return nil
}

// placeDurable makes content that is known to be right and on disk a durable object.
func (r *Repo) placeDurable(k Key, tmpfile string) error {
	object, err := r.rename(k, tmpfile, false)
	if err != nil {
		return err
	}
	return syncNames(object)
}

// syncNames makes the name of an object durable.
func syncNames(object string) error {
	dir := filepath.Dir(object)
	return errors.Join(syncFile(dir), syncFile(filepath.Dir(dir)))
}

// rename moves content that is known to be right and on disk to its place, which it gives. Who may read it stays as it is, but nobody may write it any
// more, unless it is a file of the work tree, too. An object that is there already stays, and tmpfile goes, unless that object is known to
// be broken by its size, or was overwritten.
func (r *Repo) rename(k Key, tmpfile string, thin bool) (object string, err error) {
	st, err := os.Lstat(tmpfile)
	if err != nil {
		return "", err
	}
	object, present := r.ObjectPath(k)
	if present {
		old, err := os.Lstat(object)
		if err == nil && os.SameFile(old, st) { // a thin file that is added anew
			return object, os.Remove(tmpfile)
		}
		if err == nil && old.Size() == st.Size() {
			if overwritten, _, err := checkObject(k, object); err == nil && !overwritten {
				return object, os.Remove(tmpfile)
			}
		}
	}
	if !thin {
		if err := os.Chmod(tmpfile, st.Mode().Perm()&^0o222|0o400|r.perms.files); err != nil {
			return "", err
		}
	}
	dir := filepath.Dir(object)
	return object, r.intoKeyDir(dir, func() error {
		if err := r.makeDirs(dir); err != nil {
			return err
		}
		return os.Rename(tmpfile, object)
	})
}

// intoKeyDir lets change work in the directory of an object, which is read-only otherwise. git-annex, or another goroutine, may seal it or remove it
// in the middle, when another copy of the same object comes or goes: then change is called again.
func (r *Repo) intoKeyDir(dir string, change func() error) error {
	const attempts = 10
	var err error
	for range attempts {
		if err = r.chmodDir(dir, 0o700); err != nil {
			return err
		}
		if err = change(); !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if r.perms.shared {
		return err
	}
	return errors.Join(err, r.chmodDir(dir, 0))
}

// chmodDir lets write into the directory of an object only those that write says, if it exists.
func (r *Repo) chmodDir(dir string, write fs.FileMode) error {
	st, err := os.Lstat(dir)
	if err == nil {
		err = os.Chmod(dir, st.Mode()&^0o222|write&0o200|r.perms.dirs)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// makeDirs makes a directory below .git/annex and those above it.
func (r *Repo) makeDirs(dir string) error {
	err := r.makeDir(dir)
	if !errors.Is(err, fs.ErrNotExist) || len(dir) <= len(r.dir) {
		return err
	}
	if err := r.makeDirs(filepath.Dir(dir)); err != nil {
		return err
	}
	return r.makeDir(dir)
}

func (r *Repo) makeDir(dir string) error {
	err := os.Mkdir(dir, 0o777)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil || !r.perms.shared:
		return err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	return os.Chmod(dir, st.Mode()|r.perms.dirs)
}

// readers gives the permissions of a file of the work tree, which its object shall have but for writing; those of a new file when it is gone.
func (r *Repo) readers(path string) fs.FileMode {
	st, err := os.Lstat(r.workPath(path))
	if err != nil || !st.Mode().IsRegular() {
		return 0o644
	}
	return st.Mode().Perm()
}

// syncFile makes a file durable, or the names in a directory.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
