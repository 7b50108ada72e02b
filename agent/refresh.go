package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// refreshIndex corrects what the index says of files that are as HEAD has them: those that git takes for changed, for git-annex has just put their
// content in the place of the pointer or a person has staged something else and thought better of it, and those that an audit found to differ, for the
// agent died before it could.
func (c *clone) refreshIndex(ctx context.Context, snap gitrepo.SnapshotResult) error {
	for _, p := range snap.Stale {
		c.side.audited[p] = true
	}
	stale := slices.DeleteFunc(snap.Index, func(e gitrepo.IndexEntry) bool { return !c.side.audited[e.Path] })
	clear(c.side.audited)
	if c.side.head.IsZero() {
		return nil
	}
	return c.refreshEntries(ctx, stale)
}

// refreshEntries has the index know the stat of files that are as HEAD has them. What cannot be written now is written by a later cycle.
func (c *clone) refreshEntries(ctx context.Context, entries []gitrepo.IndexEntry) error {
	for _, e := range entries {
		c.side.unwritten[e.Path] = e
	}
	if len(c.side.unwritten) == 0 {
		return nil
	}
	// The index must be that of HEAD, also when it is written: entries of ours would stay in that of another branch.
	before := c.indexStamp()
	held, err := c.git.IndexState()
	if err != nil {
		return fmt.Errorf("refresh index: %w", err)
	}
	wait, err := c.headPending(c.side.head)
	if err == nil {
		err = c.undisturbed(ctx, before)
	}
	if err != nil {
		return err
	}
	if wait > 0 {
		c.agenda.in(taskRetry, wait)
		return nil
	}
	maps.DeleteFunc(c.side.unwritten, func(_ string, e gitrepo.IndexEntry) bool { return !c.asHead(e) })
	if len(c.side.unwritten) == 0 {
		return nil
	}
	err = c.git.Advance(ctx, gitrepo.Advance{
		Ref: c.side.branch, Old: c.side.head, New: c.side.head, Index: slices.Collect(maps.Values(c.side.unwritten)), Held: held,
	})
	if err != nil {
		c.side.moved = true
		return fmt.Errorf("refresh index: %w", err)
	}
	clear(c.side.unwritten)
	return nil
}

// asHead reports whether HEAD and the work tree still have a path as an index entry is to have it.
func (c *clone) asHead(e gitrepo.IndexEntry) bool {
	at, err := c.git.Entry(c.side.head, e.Path)
	if err != nil && !errors.Is(err, gitrepo.ErrNotFound) || at != e.Entry {
		return false
	}
	st, err := c.git.Stat(e.Path)
	if e.Entry.IsZero() {
		return errors.Is(err, fs.ErrNotExist)
	}
	return err == nil && st == e.Stat
}
