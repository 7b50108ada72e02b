package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// RacyMargin is how much older than now a file says it is that has the content of a pointer. git compares whole seconds unless it was built with USE_NSEC:
// when the index is written in the second of a file's modification time, git does not trust its entry (Documentation/technical/racy-git.txt),
// and the next git status sends the whole file through the filter, which may not want it annexed any more, or by another key.
const RacyMargin = time.Second

// streamAbove is from which size on the content of a blob goes to its file through git instead of memory.
const streamAbove = 32 << 20

// stagedTogether is how many files are made ready before they get their places.
const stagedTogether = 64

// stageAll makes the new contents of steps ready, on all processors: most of the time of many small files goes by in the kernel.
func (c *checkout) stageAll(ctx context.Context, steps []*step) {
	Each(len(steps), func(i int) {
		if s := steps[i]; s.writes() {
			s.staged, s.failed = c.stage(ctx, s)
		}
	})
}

// Each calls do for 0 to n-1, on all processors, and returns when all calls have.
func Each(n int, do func(i int)) {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		g.Go(func() error {
			do(i)
			return nil
		})
	}
	_ = g.Wait()
}

// unstage removes contents that did not get a place.
func unstage(steps []*step) {
	for _, s := range steps {
		if s.staged != "" {
			os.Remove(s.staged)
		}
	}
}

// stage makes the new content of a step ready and returns its path. Any goroutine may call it.
func (c *checkout) stage(ctx context.Context, s *step) (staged string, err error) {
	if staged, err = c.r.stagePath(stagedNew); err != nil {
		return "", err
	}
	if s.New.Mode == ModeSymlink && c.symlinks {
		target, err := c.r.Blob(s.New.Hash, 1<<16)
		if err == nil {
			err = os.Symlink(string(target), staged)
		}
		if err != nil {
			return "", err
		}
		return staged, nil
	}
	perm := fs.FileMode(0o666)
	if s.New.Mode == ModeExecutable {
		perm = 0o777
	}
	f, err := os.OpenFile(staged, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return "", err
	}
	filled, err := c.fill(ctx, f, s)
	if err == nil && s.there && s.st.IsRegular() {
		err = f.Chmod(permissions(s.st, s.New.Mode))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if past := time.Now().Add(-RacyMargin); err == nil && filled {
		err = os.Chtimes(staged, past, past)
	}
	if err != nil {
		os.Remove(staged)
		return "", err
	}
	return staged, nil
}

// permissions keeps those of the file that is replaced, but for executing.
func permissions(st Stat, mode Mode) fs.FileMode {
	perm := fs.FileMode(st.Mode) & 0o666
	if mode == ModeExecutable {
		perm |= perm & 0o444 >> 2
	}
	return perm
}

// fill writes the content. filled is true when it is that of a pointer.
func (c *checkout) fill(ctx context.Context, f *os.File, s *step) (filled bool, err error) {
	if c.opt.Content != nil {
		if src, ok := c.opt.Content(s.Path, s.New); ok {
			in, err := os.Open(src)
			if err != nil {
				return false, err
			}
			defer in.Close()
			_, err = io.Copy(f, in)
			return true, err
		}
	}
	return false, c.writeBlob(ctx, f, s)
}

// writeBlob writes what git has of a file.
func (c *checkout) writeBlob(ctx context.Context, f *os.File, s *step) error {
	args := []string{"cat-file", "blob", s.New.Hash.String()}
	if c.conv[s.Path] == byGit && s.New.Mode.IsRegular() {
		args = append(slices.Clone(withoutAnnexFilter), "cat-file", "--filters", "--path="+s.Path, s.New.Hash.String())
	} else if size, err := c.r.objects.size(s.New.Hash); err != nil {
		return err
	} else if size <= streamAbove {
		data, err := c.r.Blob(s.New.Hash, streamAbove)
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		return err
	}
	cmd := c.r.command(ctx, args...)
	var complaint limitedBuffer
	cmd.Stdout, cmd.Stderr = f, &complaint
	if err := cmd.Run(); err != nil {
		return gitError(args, err, string(complaint))
	}
	return nil
}

// limitedBuffer keeps the beginning of what is written to it.
type limitedBuffer []byte

func (b *limitedBuffer) Write(p []byte) (int, error) {
	room := max(0, maxComplaint-len(*b))
	*b = append(*b, p[:min(len(p), room)]...)
	return len(p), nil
}

// place moves staged content to its path. What it replaces must be the file that was inspected, with nobody writing
// to it; anything else is put back.
func (c *checkout) place(s *step, staged string) error {
	defer os.Remove(staged)
	made, err := lstatPath(staged)
	if err != nil {
		return err
	}
	if err := c.clearDir(s); err != nil {
		return err
	}
	if err := c.tree.mkdirs(s.Path); err != nil {
		if isObstacle(err) {
			c.dirty(s.Path)
			return nil
		}
		return err
	}
	dirfd, name, err := c.tree.parent(s.Path)
	if err != nil {
		return err
	}
	if s.there {
		ok, err := c.replace(s, staged, dirfd, name)
		if !ok || err != nil {
			return err
		}
	} else if err := renameNew(unix.AT_FDCWD, staged, dirfd, name); err != nil {
		if errors.Is(err, unix.EEXIST) {
			c.dirty(s.Path)
			return nil
		}
		if errors.Is(err, unix.EXDEV) {
			c.blocked(s.Path) // another file system is mounted there
			return nil
		}
		return err
	}
	st, err := c.tree.lstat(s.Path)
	if err == nil && st.unmoved(made) {
		s.st = st
	} else {
		s.st = Stat{} // changed already: the next look shall see it
	}
	c.finish(s)
	if s.New.Mode != ModeSymlink {
		c.written = append(c.written, c.absolute(s.Path))
	}
	return nil
}

// replace exchanges staged content and the file at its path.
func (c *checkout) replace(s *step, staged string, dirfd int, name string) (ok bool, err error) {
	old, err := c.r.stagePath(stagedOld)
	if err != nil {
		return false, err
	}
	// From here on the staged file may turn into a person's.
	if err := os.Rename(staged, old); err != nil {
		return false, err
	}
	err = exchange(unix.AT_FDCWD, old, dirfd, name)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return c.replaceBlindly(s, old, dirfd, name)
	case err != nil:
		os.Remove(old)
		if errors.Is(err, fs.ErrNotExist) {
			c.dirty(s.Path)
			return false, nil
		}
		if errors.Is(err, unix.EXDEV) {
			c.blocked(s.Path)
			return false, nil
		}
		return false, err
	}
	if !c.untouched(old, s.st) {
		if err := exchange(unix.AT_FDCWD, old, dirfd, name); err != nil {
			return false, fmt.Errorf("put back: %w", err)
		}
		os.Remove(old)
		c.dirty(s.Path)
		return false, nil
	}
	return true, os.Remove(old)
}

// replaceBlindly is replace where names cannot be exchanged: between the last look and the rename a change is lost.
func (c *checkout) replaceBlindly(s *step, staged string, dirfd int, name string) (bool, error) {
	st, err := c.tree.lstat(s.Path)
	if err != nil || st != s.st || c.writer(s.Path) {
		os.Remove(staged)
		c.dirty(s.Path)
		return false, nil
	}
	return true, retryEINTR(func() error { return unix.Renameat(unix.AT_FDCWD, staged, dirfd, name) })
}

// untouched reports whether a file taken out of the work tree is the one inspected, and nobody writes to it.
func (c *checkout) untouched(taken string, inspected Stat) bool {
	st, err := lstatPath(taken)
	if err != nil || !st.unmoved(inspected) {
		return false
	}
	if !st.IsRegular() {
		return true
	}
	f, err := os.Open(taken)
	if err != nil {
		return true // unreadable, but of the right stat
	}
	defer f.Close()
	return !BeingWritten(f)
}

func (c *checkout) writer(p string) bool {
	f, err := c.tree.open(p)
	if err != nil {
		return false
	}
	defer f.Close()
	return BeingWritten(f)
}

// remove takes a file out of the work tree and the directories that become empty.
func (c *checkout) remove(s *step) error {
	old, err := c.r.stagePath(stagedOld)
	if err != nil {
		return err
	}
	dirfd, name, err := c.tree.parent(s.Path)
	if err == nil {
		err = retryEINTR(func() error { return unix.Renameat(dirfd, name, unix.AT_FDCWD, old) })
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.finish(s)
		return nil
	case errors.Is(err, unix.EXDEV):
		c.blocked(s.Path)
		return nil
	case err != nil:
		return err
	}
	if !c.untouched(old, s.st) {
		c.dirty(s.Path)
		if err := renameNew(unix.AT_FDCWD, old, dirfd, name); err != nil {
			// Something new took the name meanwhile; both are kept.
			return errors.Join(c.r.keepLost(old), fmt.Errorf("put back: %w", err))
		}
		return nil
	}
	if err := os.Remove(old); err != nil {
		return err
	}
	c.tree.rmdirs(s.Path)
	c.written = append(c.written, path.Dir(c.absolute(s.Path)))
	c.finish(s)
	return nil
}

// clearDir removes empty directories where a file shall be.
func (c *checkout) clearDir(s *step) error {
	st, err := c.tree.lstat(s.Path)
	if err != nil || !st.IsDir() {
		return nil
	}
	c.tree.forget()
	return c.removeEmpty(s.Path)
}

func (c *checkout) removeEmpty(dir string) error {
	names, err := c.tree.list(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		p := path.Join(dir, name)
		if st, err := c.tree.lstat(p); err != nil || !st.IsDir() {
			return nil // not empty after all: the rename will tell
		}
		if err := c.removeEmpty(p); err != nil {
			return err
		}
	}
	c.tree.forget()
	dirfd, name, err := c.tree.parent(dir)
	if err != nil {
		return err
	}
	if err := unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}
