package annex

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// racyMargin is how much older than now a populated file says it is. git compares whole seconds unless it was built with USE_NSEC: when the index is
// written in the second of a file's modification time, git does not trust its entry (Documentation/technical/racy-git.txt), and the next
// git status sends the whole file through the filter, which may not want it annexed any more.
const racyMargin = time.Second

// Populate gives the pointer files among paths their content, which must be here. A file that is no longer this key's pointer is left alone.
// The entries are what the index must say of the files it replaced, so that git sees them as unmodified. On an error the entries are
// those of the files that were done before.
func (r *Repo) Populate(ctx context.Context, k Key, paths []string) ([]gitrepo.IndexEntry, error) {
	object, present := r.ObjectPath(k)
	if !present {
		return nil, fmt.Errorf("populate %s: %w", k, fs.ErrNotExist)
	}
	if overwritten, _, err := checkObject(k, object); err != nil || overwritten {
		return nil, fmt.Errorf("populate %s: %w", k, cmp.Or(err, ErrOverwritten))
	}
	dir, release, err := r.tmpDir(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	var entries []gitrepo.IndexEntry
	for _, path := range paths {
		entry, err := r.populateFile(ctx, dir, k, object, path)
		if err != nil {
			return entries, fmt.Errorf("populate %s: %w", path, err)
		}
		if entry.Path != "" {
			entries = append(entries, entry)
		}
	}
	return entries, nil
}

// populateFile is Populate for one path; the zero entry says that it was left alone.
func (r *Repo) populateFile(ctx context.Context, dir string, k Key, object, path string) (gitrepo.IndexEntry, error) {
	st, pointer, err := r.readPointer(path)
	if isGone(err) {
		return gitrepo.IndexEntry{}, nil
	}
	if err != nil {
		return gitrepo.IndexEntry{}, err
	}
	if named, ok := ParsePointer(pointer); !ok || named != k {
		return gitrepo.IndexEntry{}, nil
	}
	tmp, err := r.linkObject(dir, object, st)
	if err == nil && tmp == "" {
		tmp, err = r.copyObject(ctx, dir, object, st)
	}
	if err != nil {
		return gitrepo.IndexEntry{}, err
	}
	err = r.replace(path, tmp, st, func(replaced string) bool {
		content, err := os.ReadFile(replaced)
		return err == nil && bytes.Equal(content, pointer)
	})
	if errors.Is(err, gitrepo.ErrChanged) {
		return gitrepo.IndexEntry{}, nil
	}
	if err != nil {
		return gitrepo.IndexEntry{}, err
	}
	now, err := r.git.Stat(path)
	if err != nil {
		return gitrepo.IndexEntry{}, err
	}
	old, err := r.headEntry(ctx, path)
	if err != nil {
		return gitrepo.IndexEntry{}, err
	}
	return gitrepo.IndexEntry{
		Path:  path,
		Entry: gitrepo.Entry{Mode: r.gitMode(st, old), Hash: gitrepo.HashBlob(pointer)},
		Stat:  now,
	}, nil
}

// copyObject makes a copy of an object in dir that is to become a file, which now has a pointer's permissions.
func (r *Repo) copyObject(ctx context.Context, dir, object string, pointer gitrepo.Stat) (string, error) {
	src, err := os.Open(object)
	if err != nil {
		return "", err
	}
	defer func() { _ = src.Close() }()
	st, err := src.Stat()
	if err != nil {
		return "", err
	}
	if err := r.Room(st.Size()); err != nil {
		return "", err
	}
	tmp, _, err := copyIn(ctx, dir, 0o600, src, nil)
	if err != nil {
		return "", err
	}
	modified := time.Now().Add(-racyMargin)
	if err := cmp.Or(syncFile(tmp), os.Chmod(tmp, fs.FileMode(pointer.Mode&0o777|0o200)), os.Chtimes(tmp, modified, modified)); err != nil {
		return "", errors.Join(err, os.Remove(tmp))
	}
	return tmp, nil
}

// readPointer reads a file of the work tree that may be a pointer; no content when it is too long for one or no regular file.
func (r *Repo) readPointer(path string) (gitrepo.Stat, []byte, error) {
	st, err := r.git.Stat(path)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > maxPointerSize {
		return st, nil, err
	}
	f, err := os.OpenFile(r.workPath(path), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return st, nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, maxPointerSize+1))
	return st, content, errors.Join(err, f.Close())
}

// isGone says whether err means that there is no file at the path, or that something else now is in its way.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, gitrepo.ErrNotFound) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// replace puts tmp, which is used up, in the place of a file that was seen with st. Where the system can swap two names at once, the file that was
// there is looked at once more after it cannot be opened under its name any longer, and comes back when same says that it is another, or when
// it was written to. The error wraps gitrepo.ErrChanged when the file has changed.
func (r *Repo) replace(path, tmp string, st gitrepo.Stat, same func(replaced string) bool) error {
	if now, err := r.git.Stat(path); err != nil || now != st {
		return errors.Join(gitrepo.ErrChanged, os.Remove(tmp))
	}
	name := r.workPath(path)
	err := exchange(tmp, name)
	switch {
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, unix.EINVAL):
		return os.Rename(tmp, name)
	case errors.Is(err, fs.ErrNotExist):
		return errors.Join(gitrepo.ErrChanged, os.Remove(tmp))
	case err != nil:
		return errors.Join(&os.PathError{Op: "exchange", Path: name, Err: err}, os.Remove(tmp))
	}
	if unwritten(tmp, st) && same(tmp) {
		return os.Remove(tmp)
	}
	if err := exchange(tmp, name); err != nil {
		return fmt.Errorf("%s changed meanwhile and what it was is in %s: %w", path, tmp, err)
	}
	return errors.Join(gitrepo.ErrChanged, os.Remove(tmp))
}

// unwritten says whether the file that was seen with st, and has another name now, is the same and has not been written to.
func unwritten(name string, st gitrepo.Stat) bool {
	var now unix.Stat_t
	if err := unix.Lstat(name, &now); err != nil {
		return false
	}
	return sameInode(&now, st) && now.Size == st.Size && now.Mtim.Nano() == st.Mtime
}

func sameInode(a *unix.Stat_t, b gitrepo.Stat) bool {
	return a.Ino == b.Ino && uint64(a.Dev) == b.Dev //nolint:unconvert // 32 bits wide on some systems
}
