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

const (
	groupFiles = 1000      // files that are populated in one go, at most
	groupBytes = 256 << 20 // and of how many bytes, at most, unless it is one file
)

// Populate gives the pointer files among paths their content, which must be here, as PopulateAll does. It is ErrOverwritten when the content was
// overwritten.
func (r *Repo) Populate(ctx context.Context, k Key, paths []string) ([]gitrepo.IndexEntry, error) {
	files := make([]Smudged, len(paths))
	for i, path := range paths {
		files[i] = Smudged{k, path}
	}
	entries, overwritten, err := r.PopulateAll(ctx, files)
	if err == nil && len(overwritten) > 0 {
		err = fmt.Errorf("populate %s: %w", k, ErrOverwritten)
	}
	return entries, err
}

// PopulateAll gives pointer files their content, which must be here. A file that is no longer the pointer it is said to be is left alone, and so are
// those of contents that were overwritten. The contents reach the disk before they get into the files: many together, for one sync of the
// file system costs less than one of each.
//
// The entries are what the index must say of the files it replaced, so that git sees them as unmodified. A file that fails does not keep the
// others from their content.
func (r *Repo) PopulateAll(ctx context.Context, files []Smudged) (entries []gitrepo.IndexEntry, overwritten []Key, err error) {
	for len(files) > 0 && ctx.Err() == nil {
		g := &populating{repo: r, files: files}
		failed := g.run(ctx)
		files, entries, overwritten, err = g.files, append(entries, g.entries...), append(overwritten, g.overwritten...), cmp.Or(err, failed)
	}
	return entries, overwritten, cmp.Or(err, ctx.Err())
}

// populating populates the first of some files.
type populating struct {
	repo        *Repo
	files       []Smudged // that are left
	entries     []gitrepo.IndexEntry
	overwritten []Key
}

func (g *populating) run(ctx context.Context) (failed error) {
	group, err := g.repo.tmpGroup(ctx)
	if err != nil {
		g.files = nil
		return err
	}
	defer group.close()
	ready := make([]population, min(len(g.files), groupFiles))
	n := g.prepare(ctx, group.dir, ready)
	ready, g.files = ready[:n], g.files[n:]
	var paths []string
	for _, p := range ready {
		if p.tmp != "" {
			paths = append(paths, p.tmp)
		}
	}
	lost := group.sync(paths)
	_, head, err := g.repo.git.Head(ctx)
	lost = cmp.Or(lost, err)
	gitrepo.Each(len(ready), func(i int) {
		switch p := &ready[i]; {
		case p.tmp == "":
		case lost != nil:
			p.err = errors.Join(lost, os.Remove(p.tmp))
		default:
			p.entry, p.done, p.err = g.repo.populateFile(*p, head)
		}
	})
	for _, p := range ready {
		switch {
		case errors.Is(p.err, ErrOverwritten):
			g.overwritten = append(g.overwritten, p.Key)
		case p.err != nil:
			failed = cmp.Or(failed, fmt.Errorf("populate %s: %w", p.Path, p.err))
		case p.done:
			g.entries = append(g.entries, p.entry)
		}
	}
	return failed
}

// prepare makes what is to take the place of the first files. It gives of how many.
func (g *populating) prepare(ctx context.Context, dir string, ready []population) (n int) {
	together := 32
	if g.repo.ThinFiles() { // an object becomes one file, and the next one sees that
		together = 1
	}
	for size := int64(0); n < len(ready) && size < groupBytes; {
		chunk := ready[n:min(n+together, len(ready))]
		gitrepo.Each(len(chunk), func(i int) { chunk[i] = g.repo.prepare(ctx, dir, g.files[n+i]) })
		for _, p := range chunk {
			size += p.size
		}
		n += len(chunk)
	}
	return n
}

// population is a pointer file whose content is ready to take its place.
type population struct {
	Smudged
	pointer []byte       // what the file was when
	st      gitrepo.Stat // it was seen with this
	tmp     string       // its content; "" when no pointer is there
	size    int64
	entry   gitrepo.IndexEntry // what the index must say, when it is
	done    bool
	err     error
}

// prepare makes the file that is to take the place of a pointer, if one is there.
func (r *Repo) prepare(ctx context.Context, dir string, f Smudged) (p population) {
	p.Smudged = f
	object, present := r.ObjectPath(f.Key)
	if !present {
		p.err = fmt.Errorf("content of %s: %w", f.Key, fs.ErrNotExist)
		return p
	}
	var err error
	p.st, p.pointer, err = r.readPointer(f.Path)
	if err != nil {
		if !isGone(err) {
			p.err = err
		}
		return p
	}
	if named, ok := ParsePointer(p.pointer); !ok || named != f.Key {
		return p
	}
	if overwritten, _, err := checkObject(f.Key, object); err != nil || overwritten {
		p.err = cmp.Or(err, ErrOverwritten)
		return p
	}
	p.tmp, p.err = r.linkObject(dir, object, p.st)
	if p.err != nil || p.tmp != "" {
		return p
	}
	if draft, ok := r.drafts.take(f.Key); ok {
		p.tmp = draft
	} else if p.tmp, p.size, p.err = r.copyObject(ctx, dir, object); p.err != nil {
		return p
	}
	if err := asFile(p.tmp, p.st); err != nil {
		p.tmp, p.err = "", errors.Join(err, os.Remove(p.tmp))
	}
	return p
}

// populateFile puts content that is on disk in the place of its pointer, which the commit head has; done is false when the file is another by now.
func (r *Repo) populateFile(p population, head gitrepo.Hash) (entry gitrepo.IndexEntry, done bool, err error) {
	err = r.replace(p.Path, p.tmp, p.st, stillPointer(p.pointer))
	if errors.Is(err, gitrepo.ErrChanged) {
		return entry, false, nil
	}
	if err != nil {
		return entry, false, err
	}
	now, err := r.git.Stat(p.Path)
	if err != nil {
		return entry, false, err
	}
	old, err := r.entryOf(head, p.Path)
	if err != nil {
		return entry, false, err
	}
	return gitrepo.IndexEntry{
		Path:  p.Path,
		Entry: gitrepo.Entry{Mode: r.gitMode(p.st, old), Hash: gitrepo.HashBlob(p.pointer)},
		Stat:  now,
	}, true, nil
}

// copyObject makes a copy of an object in dir.
func (r *Repo) copyObject(ctx context.Context, dir, object string) (tmp string, size int64, err error) {
	src, err := os.Open(object)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = src.Close() }()
	st, err := src.Stat()
	if err != nil {
		return "", 0, err
	}
	if err := r.Room(st.Size()); err != nil {
		return "", 0, err
	}
	return copyIn(ctx, dir, 0o600, src, nil)
}

// asFile gives a copy of an object the permissions of the pointer whose place it is to take.
func asFile(tmp string, pointer gitrepo.Stat) error {
	modified := time.Now().Add(-gitrepo.RacyMargin)
	return errors.Join(os.Chmod(tmp, fs.FileMode(pointer.Mode&0o777|0o200)), os.Chtimes(tmp, modified, modified))
}

// readPointer reads a file of the work tree that may be a pointer; no content when it is too long for one, begins otherwise, or is no regular file.
func (r *Repo) readPointer(path string) (gitrepo.Stat, []byte, error) {
	st, err := r.git.Stat(path)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > MaxPointerSize {
		return st, nil, err
	}
	f, err := os.OpenFile(r.workPath(path), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return st, nil, err
	}
	content, err := pointerIn(f)
	return st, content, errors.Join(err, f.Close())
}

// pointerIn gives what may be a pointer; nothing when its beginning shows that it is none.
func pointerIn(f io.Reader) ([]byte, error) {
	begin := make([]byte, maxLinkTarget)
	n, err := io.ReadFull(f, begin)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return begin[:n], nil
	case err != nil || !bytes.Contains(begin, []byte(objectsDir)):
		return nil, err
	}
	rest, err := io.ReadAll(io.LimitReader(f, MaxPointerSize+1-maxLinkTarget))
	return append(begin, rest...), err
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

// stillPointer says, for replace, whether a file that was taken out of the work tree is the pointer that was seen there, and nobody writes to it.
func stillPointer(pointer []byte) func(taken string) bool {
	return func(taken string) bool {
		content, err := os.ReadFile(taken)
		return err == nil && bytes.Equal(content, pointer) && idle(taken)
	}
}

// idle says whether nobody has a file that was taken out of the work tree open for writing. What they would write is lost with the file.
func idle(taken string) bool {
	f, err := os.Open(taken)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return !gitrepo.BeingWritten(f)
}

func sameInode(a *unix.Stat_t, b gitrepo.Stat) bool {
	return a.Ino == b.Ino && uint64(a.Dev) == b.Dev //nolint:unconvert // 32 bits wide on some systems
}
