package annex

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// depopulate is the inverse of Populate: the files among paths that have exactly the content which is about to be removed become pointers. They
// are replaced, never written to: with annex.thin a file is the object under another name.
func (r *Repo) depopulate(ctx context.Context, l *Removal, paths []string) ([]gitrepo.IndexEntry, error) {
	if r.git.Bare() || len(paths) == 0 {
		return nil, nil
	}
	dir, release, err := r.tmpDir(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	var entries []gitrepo.IndexEntry
	for _, path := range paths {
		entry, err := r.depopulateFile(ctx, dir, l, path)
		if err != nil {
			return entries, fmt.Errorf("make %s a pointer: %w", path, err)
		}
		if entry.Path != "" {
			entries = append(entries, entry)
		}
	}
	return entries, nil
}

// depopulateFile is depopulate for one path; the zero entry says that it was left alone.
func (r *Repo) depopulateFile(ctx context.Context, dir string, l *Removal, path string) (gitrepo.IndexEntry, error) {
	none := gitrepo.IndexEntry{}
	entry, err := r.headEntry(ctx, path)
	if err != nil || !entry.Mode.IsRegular() {
		return none, err
	}
	pointer, err := r.git.Blob(entry.Hash, MaxPointerSize)
	if err != nil {
		return none, nil //nolint:nilerr // too long for a pointer
	}
	if named, ok := ParsePointer(pointer); !ok || named != l.key {
		return none, nil
	}
	st, content, err := r.readPointer(path)
	if isGone(err) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	if _, already := ParsePointer(content); already || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return none, nil
	}
	if same, err := r.unmodified(ctx, l, path, entry, st); err != nil || !same {
		return none, err
	}
	tmp, err := writeTemp(dir, pointer, fs.FileMode(st.Mode&0o777|0o200))
	if err != nil {
		return none, err
	}
	err = r.replace(path, tmp, st, l.idle)
	if errors.Is(err, gitrepo.ErrChanged) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	now, err := r.git.Stat(path)
	return gitrepo.IndexEntry{Path: path, Entry: entry, Stat: now}, err
}

// unmodified says whether a file, which was seen with st, has exactly the content that is to be removed. The index proves that as git tells it; where it
// does not, the content is hashed. What has no hash in its key is compared with the object, which proves nothing when the file is that object.
func (r *Repo) unmodified(ctx context.Context, l *Removal, path string, entry gitrepo.Entry, st gitrepo.Stat) (bool, error) {
	if size, known := l.key.Size(); known && size != st.Size {
		return false, nil
	}
	if proven, err := r.git.IndexProves(path, entry, st); err != nil || proven {
		return proven, err
	}
	f, err := os.OpenFile(r.workPath(path), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, nil //nolint:nilerr // what cannot be read stays as it is
	}
	defer func() { _ = f.Close() }()
	if v := l.key.Verifier(); v.hash != nil {
		_, err := copyContent(ctx, v, f)
		return err == nil && v.Check() == nil, ctx.Err()
	}
	var inode unix.Stat_t
	if err := unix.Lstat(l.object, &inode); err != nil || sameInode(&inode, st) {
		return false, err
	}
	object, err := os.Open(l.object)
	if err != nil {
		return false, err
	}
	defer func() { _ = object.Close() }()
	ours, theirs := sha256.New(), sha256.New()
	_, here := copyContent(ctx, ours, f)
	_, there := copyContent(ctx, theirs, object)
	return here == nil && there == nil && bytes.Equal(ours.Sum(nil), theirs.Sum(nil)), ctx.Err()
}

// idle is idle for a file with the content, which the lock itself has open for writing where it is on the object.
func (l *Removal) idle(taken string) bool { return l.lock.is(taken) || idle(taken) }

// writeTemp makes a file in dir, on disk for certain, whose time is far enough back for git to trust the index about it.
func writeTemp(dir string, content []byte, mode fs.FileMode) (string, error) {
	f, err := createTemp(dir, "pointer", 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	modified := time.Now().Add(-gitrepo.RacyMargin)
	if err = cmp.Or(err, f.Chmod(mode), f.Sync(), f.Close(), os.Chtimes(f.Name(), modified, modified)); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}
