package agent

import (
	"context"
	"fmt"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// snapshot reads the work tree. Large files go to the annex, and it gives their keys: all these contents are here, durable, when it returns.
func (c *clone) snapshot(ctx context.Context, paths []string) (snap gitrepo.SnapshotResult, added []annex.Key, err error) {
	var large gitrepo.LargeHook
	if c.annex != nil {
		large = func(ctx context.Context, files []gitrepo.Candidate) (taken []gitrepo.Taken) {
			taken, added = c.takeLarge(ctx, files)
			return taken
		}
	}
	snap, err = c.git.Snapshot(ctx, c.side.head, paths, large)
	return snap, added, err
}

// takeLarge gives large files to the annex, all together, and repairs the links and pointers of annexed files. It gives the keys whose content is
// here.
func (c *clone) takeLarge(ctx context.Context, files []gitrepo.Candidate) (taken []gitrepo.Taken, here []annex.Key) {
	taken = make([]gitrepo.Taken, len(files))
	var adding []annex.ToAdd
	var at []int // where in files they are
	for i, f := range files {
		var done bool
		if taken[i], done = c.fix(ctx, f); done {
			continue
		}
		large, err := c.annex.Large(ctx, f.Path, f.Stat.Size)
		if err != nil || !large {
			taken[i].Err = err
			continue
		}
		a, ready := c.side.added[f.Path]
		delete(c.side.added, f.Path)
		switch {
		case ready && a.of == f.Stat:
			taken[i], here = c.stands(a.Added, here)
		case f.Stat.Size >= annex.HugeSize:
			c.addAside(f)
			taken[i].Err = fmt.Errorf("%s is being added: %w", f.Path, gitrepo.ErrChanged)
		default:
			toAdd, err := c.toAdd(ctx, f)
			if taken[i].Err = err; err == nil {
				adding, at = append(adding, toAdd), append(at, i)
			}
		}
	}
	for n, a := range c.annex.AddAll(ctx, adding) {
		taken[at[n]], here = c.stands(a, here)
	}
	return taken, here
}

// fix has the link of an annexed file lead to its object, and a file be the pointer that it is to be; done is false when the file is to be looked at
// as any other.
func (c *clone) fix(ctx context.Context, f gitrepo.Candidate) (taken gitrepo.Taken, done bool) {
	var fixed annex.Added
	var ok bool
	var err error
	switch {
	case f.Stat.IsSymlink():
		fixed, ok, err = c.annex.FixLink(ctx, f.Path, f.Stat)
	case f.Stat.Size <= annex.MaxPointerSize && !f.Base.IsZero():
		fixed, ok, err = c.annex.FixPointer(ctx, f.Path, f.Stat, f.Base)
	}
	switch {
	case err != nil:
		return gitrepo.Taken{Err: err}, true
	case ok:
		taken, _ = c.stands(fixed, nil)
		return taken, true
	}
	return gitrepo.Taken{}, f.Stat.IsSymlink()
}

// stands writes what git is to hold of a file that was added, and notes its key if the content is here.
func (c *clone) stands(a annex.Added, here []annex.Key) (gitrepo.Taken, []annex.Key) {
	if a.Err != nil {
		return gitrepo.Taken{Err: a.Err}, here
	}
	h, err := c.git.WriteBlob(a.Content)
	if err != nil {
		return gitrepo.Taken{Err: err}, here
	}
	if a.Here {
		here = append(here, a.Key)
	}
	return gitrepo.Taken{Entry: gitrepo.Entry{Mode: a.Mode, Hash: h}, Stat: a.Stat}, here
}

// toAdd says how a file is to be added. Any goroutine may call it.
func (c *clone) toAdd(ctx context.Context, f gitrepo.Candidate) (annex.ToAdd, error) {
	unlocked, err := c.annex.AddUnlocked(ctx, f.Path, f.Stat.Size)
	return annex.ToAdd{Path: f.Path, AddOptions: annex.AddOptions{Locked: !unlocked}}, err
}

// addition is a file that was taken into the annex, or why it was not.
type addition struct {
	annex.Added
	of gitrepo.Stat // of the file that this is said of: as it was added, or as it could not be
}

// addAside takes a huge file into the annex while the actor goes on; the file is looked at again when that is done.
func (c *clone) addAside(f gitrepo.Candidate) {
	if c.side.adding[f.Path] {
		return
	}
	c.side.adding[f.Path] = true
	c.aside(func(ctx context.Context) {
		var added annex.Added
		toAdd, err := c.toAdd(ctx, f)
		if err == nil {
			added, err = c.annex.Add(ctx, toAdd.Path, toAdd.AddOptions)
		}
		c.post(ctx, func(context.Context) {
			delete(c.side.adding, f.Path)
			c.side.pending[f.Path] = true
			of := added.Stat // what the file is now, link or not
			if err != nil {
				added.Err, of = err, f.Stat
			}
			c.side.added[f.Path] = addition{added, of}
		})
	})
}
