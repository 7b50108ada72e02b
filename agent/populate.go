package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// emptied notes files that were looked at and hold the pointer that git has, though their content is here: another program has put it there, or
// was at the file when it was to get its content.
func (c *clone) emptied(snap gitrepo.SnapshotResult) {
	if c.annex == nil {
		return
	}
	changed := make(map[string]bool)
	for _, ch := range snap.Changes {
		changed[ch.Path] = true
	}
	for _, e := range snap.Index {
		if changed[e.Path] || e.Stat.Size > annex.MaxPointerSize {
			continue
		}
		if k, ok := c.keyOf(e.Entry); !ok || !e.Entry.Mode.IsRegular() || !c.annex.Has(k) {
			continue
		} else if c.annex.Replacing(k) { // it may be about to remove the content
			c.side.staged[e.Path] = true
			c.agenda.in(taskStaged, retryDelay)
		} else {
			note(c.want.behind, k, e.Path)
		}
	}
}

// populate gives files whose content is here that content, where they still are pointers, and the index their stat.
func (c *clone) populate(ctx context.Context) error {
	if c.git.Bare() {
		clear(c.want.behind)
	}
	c.annex.DropDrafts(func(k annex.Key) bool { return c.want.missing[k] || c.want.behind[k] != nil })
	maps.DeleteFunc(c.want.drafts, func(k annex.Key, making bool) bool { return !making && c.want.behind[k] == nil })
	if len(c.want.behind) == 0 || c.side.unfinished != "" {
		return nil
	}
	var files []annex.Smudged
	for k, paths := range c.want.behind {
		sorted := slices.Sorted(maps.Keys(paths))
		if k.Huge() {
			if !c.drafted(k, sorted[0]) {
				continue
			}
			sorted = sorted[:1]
		}
		for _, path := range sorted {
			files = append(files, annex.Smudged{Key: k, Path: path})
		}
	}
	index, overwritten, failed := c.annex.PopulateAll(ctx, files)
	if failed != nil {
		failed = fmt.Errorf("give files their content: %w", failed)
	} else {
		c.caughtUp(files, overwritten)
	}
	for _, k := range overwritten {
		c.want.altered[k] = ""
	}
	c.remember(index)
	return errors.Join(failed, c.refreshEntries(ctx, index))
}

// drafted says whether a file can be given a huge content at once. Otherwise that is seen to beside the actor.
func (c *clone) drafted(k annex.Key, path string) bool {
	making, begun := c.want.drafts[k]
	switch {
	case !begun:
		c.want.drafts[k] = true
		c.aside(func(ctx context.Context) {
			c.annex.Draft(ctx, k, path)
			c.post(ctx, func(context.Context) { c.want.drafts[k] = false })
		})
	case !making:
		delete(c.want.drafts, k) // the next file needs one of its own
	}
	return begun && !making
}

// caughtUp takes in that files were given their content, but for that which was overwritten.
func (c *clone) caughtUp(files []annex.Smudged, overwritten []annex.Key) {
	for _, f := range files {
		if slices.Contains(overwritten, f.Key) {
			continue
		}
		left := c.want.behind[f.Key]
		delete(left, f.Path)
		if len(left) == 0 {
			delete(c.want.behind, f.Key)
		} else if f.Key.Huge() {
			_ = c.drafted(f.Key, slices.Min(slices.Collect(maps.Keys(left))))
		}
	}
}
