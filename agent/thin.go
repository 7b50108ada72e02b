package agent

import (
	"context"
	"maps"
	"slices"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// With annex.thin a file is its content under another name. When a person writes to it in place and that is committed, the old content is here no
// more, whatever is under its name.

// looksOverwritten notes that a file does not name a content any more, which may have been overwritten by that.
func (c *clone) looksOverwritten(k annex.Key, path string) {
	switch {
	case c.annex.SharesObject(k, path):
		c.want.altered[k] = path
	case len(c.want.named[k]) == 0 && c.annex.Thin(k): // the file may have been moved, too
		c.want.altered[k] = ""
	}
}

// dropOverwritten takes away what is under the names of contents that were overwritten. Other files may still have them.
func (c *clone) dropOverwritten() {
	if len(c.want.altered) == 0 {
		return
	}
	altered := maps.Clone(c.want.altered)
	clear(c.want.altered)
	others := make(map[annex.Key][]string)
	for k, path := range altered {
		others[k] = slices.DeleteFunc(slices.Clone(c.want.named[k]), func(p string) bool { return p == path })
	}
	seen := make(map[string]gitrepo.Stat)
	for _, path := range altered {
		seen[path] = c.side.known[path]
	}
	repo := c.annex
	c.aside(func(ctx context.Context) {
		for k, path := range altered {
			gone, now, err := repo.DropOverwritten(ctx, k, path, seen[path], others[k])
			if err != nil {
				c.log.Info("content was overwritten, and its object stays", "key", k, "err", err)
				continue
			}
			c.post(ctx, func(ctx context.Context) {
				c.renamed(ctx, path, seen[path], now)
				if gone && !c.annex.Has(k) {
					c.gone(ctx, []annex.Key{k})
					c.consider(k)
				}
			})
		}
	})
}

// relinked has files looked at whose content has come under the name of another key, or has gone from there, as that of the extension that a file had
// before: a file that is one with that object has another number of names now, for which git takes it for changed, and no event tells of it.
func (c *clone) relinked(keys []annex.Key) {
	if len(keys) == 0 || c.watch == nil || !c.annex.ThinFiles() {
		return
	}
	moved := make(map[string]bool)
	for _, k := range keys {
		moved[k.Digest()] = true
	}
	delete(moved, "")
	for k, paths := range c.want.named {
		if !moved[k.Digest()] {
			continue
		}
		for _, p := range paths {
			st, err := c.git.Stat(p)
			if err != nil {
				continue
			}
			e, err := c.git.Entry(c.side.head, p)
			if proven, failed := c.git.IndexProves(p, e, st); err != nil || failed != nil || !proven {
				c.side.audited[p], c.side.pending[p] = true, true
			}
		}
	}
}

// renamed takes in that a file has one name less, and is otherwise as it was seen.
func (c *clone) renamed(ctx context.Context, path string, seen, now gitrepo.Stat) {
	st, err := c.git.Stat(path)
	if now == (gitrepo.Stat{}) || err != nil || st != now || c.side.known[path] != seen {
		return
	}
	c.side.known[path] = now
	e, err := c.git.Entry(c.side.head, path)
	if err != nil {
		return
	}
	if proven, err := c.git.IndexProves(path, e, seen); err == nil && proven { // else git looks at it anyhow
		if err := c.refreshEntries(ctx, []gitrepo.IndexEntry{{Path: path, Entry: e, Stat: now}}); err != nil {
			c.agenda.in(taskRetry, retryDelay)
		}
	}
}
