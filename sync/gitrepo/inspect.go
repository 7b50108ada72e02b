package gitrepo

import (
	"context"
	"errors"
	"io/fs"
	"path"
)

// compareAlways is up to which size a file is read and compared before it is replaced, whatever its stat says: time
// stamps are too coarse to tell two writes of one moment apart.
const compareAlways = 1 << 20

// inspectAll decides for each change what is to be done, and finds what is in the way.
func (c *checkout) inspectAll(ctx context.Context, changes []Change) error {
	for _, ch := range changes {
		if err := ValidPath(ch.Path); err != nil {
			return err
		}
		c.plan[ch.Path] = &step{Change: ch}
	}
	if err := c.loadConversions(ctx, changes); err != nil {
		return err
	}
	for _, ch := range changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.inspect(ctx, c.plan[ch.Path]); err != nil {
			return err
		}
	}
	return nil
}

// loadConversions finds out which of the paths git converts.
func (c *checkout) loadConversions(ctx context.Context, changes []Change) (err error) {
	var paths []string
	for _, ch := range changes {
		if ch.Old.Mode.IsRegular() || ch.New.Mode.IsRegular() {
			paths = append(paths, ch.Path)
		}
	}
	c.conv, err = c.r.conversions(ctx, paths)
	return err
}

// inspect looks at the work tree for one change.
func (c *checkout) inspect(ctx context.Context, s *step) error {
	old, want := onDisk(s.Old), onDisk(s.New)
	if old.IsZero() && want.IsZero() {
		s.done = true // only a submodule moved
		return nil
	}
	if it, ok := c.index.find(s.Path); ok && it.keepsOut() {
		c.blocked(s.Path)
		return nil
	}
	if dir, nested := c.tree.nested(path.Dir(s.Path)); nested {
		c.blocked(dir)
		return nil
	}
	st, err := c.tree.lstat(s.Path)
	if o, ok := errors.AsType[*obstacle](err); ok {
		return c.inspectObstacle(ctx, s, o.path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		switch {
		case want.IsZero():
			s.done = true
		case !old.IsZero():
			c.dirty(s.Path) // removed by a person
		}
		return nil
	case err != nil:
		return err
	case st.IsDir():
		return c.inspectDir(ctx, s)
	case !st.IsRegular() && !st.IsSymlink():
		c.blocked(s.Path)
		return nil
	}
	s.there, s.st = true, st
	if !old.IsZero() {
		clean, err := c.holds(ctx, s.Path, st, old, true)
		if clean || err != nil {
			return err
		}
	}
	if !want.IsZero() {
		if same, err := c.holds(ctx, s.Path, st, want, false); same || err != nil {
			s.done = same
			return err
		}
	}
	return c.inTheWay(ctx, s.Path, old.IsZero())
}

// inTheWay sorts what must not be touched into what Snapshot would take and what it would not.
func (c *checkout) inTheWay(ctx context.Context, path string, untracked bool) error {
	if untracked {
		if _, staged := c.index.find(path); !staged {
			ignored, err := c.r.excluded(ctx, path)
			if err != nil {
				return err
			}
			if ignored[path] {
				c.blocked(path)
				return nil
			}
		}
	}
	c.dirty(path)
	return nil
}

// inspectObstacle handles a path whose parent is not a directory. That is fine where the parent is a file that goes
// away in the same step.
func (c *checkout) inspectObstacle(ctx context.Context, s *step, at string) error {
	if p, ok := c.plan[at]; ok && !onDisk(p.Old).IsZero() && onDisk(p.New).IsZero() {
		return nil // the parent is inspected itself
	}
	if onDisk(s.New).IsZero() {
		s.done = true // gone with its directory
		return nil
	}
	st, err := c.tree.lstat(at)
	if err != nil {
		return err
	}
	if !st.IsRegular() && !st.IsSymlink() {
		c.blocked(at)
		return nil
	}
	return c.inTheWay(ctx, at, true)
}

// inspectDir handles a directory where a file is, or shall be. It may go when it holds nothing but what the same step
// removes.
func (c *checkout) inspectDir(ctx context.Context, s *step) error {
	switch {
	case onDisk(s.New).IsZero():
		s.done = true // a person made a directory of the file
	case !onDisk(s.Old).IsZero():
		c.dirty(s.Path)
	default:
		return c.inspectBelow(ctx, s.Path)
	}
	return nil
}

func (c *checkout) inspectBelow(ctx context.Context, dir string) error {
	names, err := c.tree.list(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		p := path.Join(dir, name)
		if name == ".git" {
			c.blocked(dir)
			return nil
		}
		st, err := c.tree.lstat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case st.IsDir():
			if err := c.inspectBelow(ctx, p); err != nil {
				return err
			}
		case !st.IsRegular() && !st.IsSymlink():
			c.blocked(p)
		default:
			if goes, ok := c.plan[p]; !ok || onDisk(goes.Old).IsZero() {
				if err := c.inTheWay(ctx, p, true); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// holds reports whether the file at path, with this stat, has exactly the content of an entry. known says that the
// caller's memory and the index may prove it.
func (c *checkout) holds(ctx context.Context, path string, st Stat, e Entry, known bool) (bool, error) {
	if st.IsSymlink() != (e.Mode == ModeSymlink && c.symlinks) {
		return false, nil
	}
	if c.fileMode && e.Mode.IsRegular() && st.IsExecutable() != (e.Mode == ModeExecutable) {
		return false, nil
	}
	if st.IsSymlink() {
		target, err := c.tree.readlink(path)
		return err == nil && HashBlob([]byte(target)) == e.Hash, nil
	}
	if st.Size <= compareAlways {
		if same, err := c.sameContent(ctx, path, st, e); same || err != nil {
			return same, err
		}
	}
	if known {
		if c.opt.Known != nil {
			if k, ok := c.opt.Known(path); ok && k == st {
				return true, nil
			}
		}
		if it, ok := c.index.find(path); ok && c.index.entry(it) == e && c.index.same(it, st) {
			return true, nil
		}
	}
	if st.Size <= compareAlways {
		return false, nil
	}
	return c.sameContent(ctx, path, st, e)
}

// sameContent compares by reading. A file that cannot be read or changes meanwhile is not the same.
func (c *checkout) sameContent(ctx context.Context, path string, st Stat, e Entry) (bool, error) {
	if c.conv[path] == asIs {
		size, err := c.r.objects.size(e.Hash)
		if err != nil || size != st.Size {
			return false, err
		}
	}
	f, err := c.tree.open(path)
	if err != nil {
		return false, nil
	}
	defer f.Close()
	h, err := hashFile(f, st.Size)
	if err != nil {
		return false, nil
	}
	if c.conv[path] == asIs || h == e.Hash {
		return h == e.Hash, nil
	}
	idx, err := c.r.addByGit(ctx, []string{path})
	if err != nil {
		return false, err
	}
	it, ok := idx.find(path)
	return ok && idx.entry(it).Hash == e.Hash, nil
}
