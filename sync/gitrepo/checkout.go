package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
)

// CheckoutOptions are the hooks of Checkout. Each may be nil.
type CheckoutOptions struct {
	// Known returns the stat of a path when its content was last written or committed by us.
	Known func(path string) (Stat, bool)
	// Content names a file whose content shall be copied to path instead of the blob of e. Many goroutines call it.
	Content func(path string, e Entry) (src string, ok bool)
}

// CheckoutResult is the outcome of Checkout.
type CheckoutResult struct {
	Index   []IndexEntry // what was written or removed, for Advance and Known
	Dirty   []string     // holds uncommitted changes of a person: Snapshot them, merge, and try again
	Blocked []string     // something that cannot be committed is in the way (ignored, special, another repository)
}

// Checkout makes the work tree go from one commit to another, touching only paths that differ between them. When any
// path is Dirty or Blocked at the first look, nothing at all is touched. A path that becomes dirty meanwhile is left
// alone and reported; the others are done then. Index has no entry for a path where a person has staged
// something else.
//
// What is written is durable when Checkout returns, and visible before that.
func (l *IndexLock) Checkout(ctx context.Context, from, to Hash, opt CheckoutOptions) (CheckoutResult, error) {
	var res CheckoutResult
	r := l.r
	if err := r.Vanished(); err != nil {
		return res, err
	}
	changes, err := r.Diff(from, to)
	if err != nil {
		return res, fmt.Errorf("check out: %w", err)
	}
	tree, err := r.openWorkTree()
	if err != nil {
		return res, err
	}
	defer tree.close()
	c := &checkout{
		r: r, tree: tree, opt: opt, res: &res, plan: make(map[string]*step),
		fileMode: r.ConfigBool("core.filemode", true), symlinks: r.ConfigBool("core.symlinks", true),
	}
	if c.index, err = r.readIndex(); err != nil {
		return res, err
	}
	if err := c.inspectAll(ctx, changes); err != nil {
		return res, fmt.Errorf("check out: %w", err)
	}
	if len(res.Dirty) > 0 || len(res.Blocked) > 0 {
		return res, nil
	}
	if err := c.applyAll(ctx, changes); err != nil {
		return res, fmt.Errorf("check out: %w", err)
	}
	return res, nil
}

// checkout is one run of Checkout.
type checkout struct {
	r        *Repo
	tree     *workTree
	opt      CheckoutOptions
	index    *index
	fileMode bool
	symlinks bool
	conv     map[string]conversion
	plan     map[string]*step
	written  []string // absolute paths to make durable
	res      *CheckoutResult
}

// step is what is to be done for one change, and what the file was like when it was decided.
type step struct {
	Change
	there bool // a file or link is at the path, with this stat
	st    Stat
	done  bool // the work tree is as it shall be already

	staged string // the new content, once it is ready
	failed error  // why it is not
}

// writes reports whether new content is to take a place.
func (s *step) writes() bool { return !s.done && !onDisk(s.New).IsZero() }

// onDisk returns what an entry is in the work tree; a submodule is nothing, for its files are not ours.
func onDisk(e Entry) Entry {
	if e.Mode == ModeGitlink {
		return Entry{}
	}
	return e
}

func (c *checkout) dirty(path string)   { c.res.Dirty = insert(c.res.Dirty, path) }
func (c *checkout) blocked(path string) { c.res.Blocked = insert(c.res.Blocked, path) }

// insert adds a string to a sorted set.
func insert(set []string, s string) []string {
	i, found := slices.BinarySearch(set, s)
	if found {
		return set
	}
	return slices.Insert(set, i, s)
}

func (c *checkout) applyAll(ctx context.Context, changes []Change) error {
	order, attributesFirst := c.order(changes)
	steps := make([]*step, len(order))
	for i, ch := range order {
		steps[i] = c.plan[ch.Path]
	}
	defer unstage(steps)
	for i, s := range steps {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, c.sync())
		}
		if i == attributesFirst && i > 0 {
			// The files that follow are converted by the attributes just written.
			if err := c.loadConversions(ctx, order[i:]); err != nil {
				return errors.Join(err, c.sync())
			}
		}
		if s.writes() && s.staged == "" && s.failed == nil {
			end := len(steps)
			if i < attributesFirst {
				end = attributesFirst
			}
			c.stageAll(ctx, steps[i:min(i+stagedTogether, end)])
		}
		if err := c.apply(s); err != nil {
			return errors.Join(fmt.Errorf("%q: %w", s.Path, err), c.sync())
		}
	}
	return c.sync()
}

// order puts removals that make room first, then what is written, attribute files before all else, then the
// other removals. attributesFirst is where the first file behind attribute files stands.
func (c *checkout) order(changes []Change) (order []Change, attributesFirst int) {
	added := make(map[string]bool)
	addedAbove := make(map[string]bool)
	for _, ch := range changes {
		if onDisk(ch.New).IsZero() {
			continue
		}
		added[ch.Path] = true
		for dir := path.Dir(ch.Path); dir != "."; dir = path.Dir(dir) {
			addedAbove[dir] = true
		}
	}
	inTheWay := func(p string) bool {
		if addedAbove[p] {
			return true
		}
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			if added[dir] {
				return true
			}
		}
		return false
	}
	var room, attrs, writes, removals []Change
	for _, ch := range changes {
		switch {
		case onDisk(ch.New).IsZero() && inTheWay(ch.Path):
			room = append(room, ch)
		case onDisk(ch.New).IsZero():
			removals = append(removals, ch)
		case path.Base(ch.Path) == ".gitattributes":
			attrs = append(attrs, ch)
		default:
			writes = append(writes, ch)
		}
	}
	return slices.Concat(room, attrs, writes, removals), len(room) + len(attrs)
}

// apply does one step.
func (c *checkout) apply(s *step) error {
	switch {
	case s.done:
		c.finish(s)
		return nil
	case !s.writes():
		return c.remove(s)
	case s.failed != nil:
		return s.failed
	}
	staged := s.staged
	s.staged = "" // place uses it up
	return c.place(s, staged)
}

// finish records the index entry of a step that is done.
func (c *checkout) finish(s *step) {
	if c.stagedElse(s.Change) {
		return
	}
	e := IndexEntry{Path: s.Path, Entry: s.New}
	if !onDisk(s.New).IsZero() {
		e.Stat = s.st
	}
	c.res.Index = append(c.res.Index, e)
}

// stagedElse reports whether a person has staged something of their own for the path: that stays. An intent to add
// holds nothing.
func (c *checkout) stagedElse(ch Change) bool {
	it, ok := c.index.find(ch.Path)
	var staged Entry
	if ok && it.xflags&flagIntentToAdd == 0 {
		staged = c.index.entry(it)
	}
	return staged != ch.Old && staged != ch.New
}

// sync makes what was written durable.
func (c *checkout) sync() error {
	return syncFiles(c.r.dir, c.written)
}

func (c *checkout) absolute(path string) string {
	return filepath.Join(c.r.dir, filepath.FromSlash(path))
}
