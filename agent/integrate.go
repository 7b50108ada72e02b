package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

const (
	branchPrefix = "refs/heads/"
	annexBranch  = "refs/heads/git-annex"
	syncedPrefix = "refs/heads/synced/" // git-annex's copies of branches, for its own pushes
)

// shared reports whether a reference is one that peers keep in step by merging commits.
func shared(ref string) bool {
	return strings.HasPrefix(ref, branchPrefix) && ref != annexBranch && !strings.HasPrefix(ref, syncedPrefix) && !annex.Adjusted(ref)
}

// integrate brings the commits that have arrived into the branches of the clone.
func (c *clone) integrate(ctx context.Context) error {
	for _, ref := range slices.Sorted(maps.Keys(c.peers.here)) {
		switch {
		case ref == annexBranch: // merged with the location records, in contents
		case ref == c.side.branch && !c.git.Bare():
			if err := c.integrateHead(ctx); err != nil {
				return err
			}
		default:
			if err := c.integrateBranch(ctx, ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// integrateHead merges what arrived for the branch that is checked out, and checks it out.
func (c *clone) integrateHead(ctx context.Context) error {
	ref := c.side.branch
	heads := c.peers.heads(ref)
	from := c.peers.from(ref)
	res, err := c.git.MergeHeads(ctx, append(heads, c.side.head), c.resolve)
	if err != nil {
		return fmt.Errorf("merge what came from %s: %w", from, err)
	}
	if res.Commit != c.side.head {
		if !res.FastForward && c.moreHeads() {
			return nil
		}
		old := c.side.head
		done, err := c.checkOut(ctx, res.Commit, from)
		if err != nil || !done {
			return err
		}
		if !res.FastForward { // whoever has the same heads makes the same commit, the others fetch it
			c.announce(ctx, ref, old, res.Commit)
		}
	}
	for _, h := range heads {
		c.peers.integrated(ref, h)
	}
	return nil
}

// moreHeads gives the heads of further peers a moment to arrive before a merge: those that merge the same heads make the
// same commit, and need not merge each other's merges.
func (c *clone) moreHeads() bool {
	if len(c.peers.online()) < 2 {
		return false
	}
	if c.side.mergeSince.IsZero() {
		c.side.mergeSince = time.Now()
	}
	if time.Since(c.side.mergeSince) < mergePause {
		c.agenda.in(taskRetry, mergePause)
		return true
	}
	c.side.mergeSince = time.Time{}
	return false
}

// checkOut makes target the commit of the work tree and of the branch. It reports false when the person's git may be at
// work, or when something the person wrote is in the way: that is committed first, and merged.
func (c *clone) checkOut(ctx context.Context, target gitrepo.Hash, from string) (bool, error) {
	lock, err := c.lockWorkTree(ctx)
	if lock == nil {
		return false, err
	}
	defer lock.Unlock()
	old := c.side.head
	if err := c.intend(target, false); err != nil {
		return false, err
	}
	out, err := c.writeFiles(ctx, lock, old, target)
	if err != nil {
		return false, fmt.Errorf("check out: %w", err)
	}
	if len(out.Dirty)+len(out.Blocked) > 0 {
		c.inTheWay(out.Dirty, out.Blocked)
		return false, nil
	}
	c.condition.inTheWay = ""
	c.log.Debug("checked out", "commit", target, "paths", len(out.Index))
	if err := c.intend(target, true); err != nil {
		return false, err
	}
	ch := change{Peer: from, Old: hexOrEmpty(old), New: target.String()}
	for _, e := range out.Index {
		ch.Paths = append(ch.Paths, e.Path)
	}
	c.hook("before", ch)
	if err := c.moveTo(ctx, lock, gitrepo.Advance{New: target, Index: out.Index, Reason: "from " + from}); err != nil {
		return false, err
	}
	c.side.halfway = step{}
	c.hook("after", ch)
	return true, c.wantFrom(ctx, old, target)
}

// writeFiles makes the files those of another commit. Until the branch has moved too, the clone is halfway.
func (c *clone) writeFiles(ctx context.Context, lock *gitrepo.IndexLock, from, to gitrepo.Hash) (gitrepo.CheckoutResult, error) {
	c.side.halfway = step{from, to}
	out, err := lock.Checkout(ctx, from, to, gitrepo.CheckoutOptions{
		Known:   func(p string) (gitrepo.Stat, bool) { st, ok := c.side.known[p]; return st, ok },
		Content: c.contentOf,
	})
	c.remember(out.Index)
	return out, err
}

// takeBack undoes a check-out that the person overtook: the branch has gone elsewhere before it could follow the files.
func (c *clone) takeBack(ctx context.Context) error {
	half := c.side.halfway
	if half.to.IsZero() {
		return nil
	}
	lock, err := c.git.LockIndex(ctx)
	if err != nil {
		return fmt.Errorf("take back check-out: %w", err)
	}
	defer lock.Unlock()
	if _, err := c.writeFiles(ctx, lock, half.to, half.from); err != nil {
		c.side.halfway = half
		return fmt.Errorf("take back check-out: %w", err)
	}
	c.side.halfway = step{}
	c.forgetIntent()
	return nil
}

// inTheWay has what the person wrote committed before it is merged with; what cannot be committed is waited for.
func (c *clone) inTheWay(dirty, blocked []string) {
	if c.watch == nil && len(dirty) > 0 {
		blocked, dirty = append(blocked, dirty...), nil
	}
	for _, p := range dirty {
		if c.afterWriter(p) {
			c.condition.inTheWay = p
		} else {
			c.side.pending[p] = true
		}
	}
	if len(blocked) > 0 {
		c.condition.inTheWay = blocked[0]
		c.warnText("in-the-way", fmt.Sprintf("%q is in the way of a change that arrived", blocked[0]), "commit, move or remove it")
	} else {
		c.clear("in-the-way")
	}
	c.agenda.in(taskRetry, retryDelay)
}

// integrateBranch merges what arrived for a branch that is not checked out. No file is involved.
func (c *clone) integrateBranch(ctx context.Context, ref string) error {
	heads := c.peers.heads(ref)
	ours, err := c.git.Ref(ref)
	if err != nil && !errors.Is(err, gitrepo.ErrNotFound) {
		return fmt.Errorf("read %s: %w", ref, err)
	}
	if ours.IsZero() && !c.side.branches[ref].IsZero() { // the person has just deleted it: that comes first
		delete(c.peers.here, ref)
		c.side.moved = true
		return fmt.Errorf("look at %s: %w", ref, gitrepo.ErrRefMoved)
	}
	res, err := c.git.MergeHeads(ctx, append(heads, ours), c.resolve)
	if err != nil {
		return fmt.Errorf("merge into %s: %w", ref, err)
	}
	// The files of another work tree belong to the person; those of ours follow when we have followed HEAD. Either way the
	// peers' heads are looked at again.
	if target := res.Commit; target != ours && (c.git.Bare() || !c.checkedOut(ctx, ref)) {
		if err := c.git.Sync(); err != nil {
			return fmt.Errorf("write objects to disk: %w", err)
		}
		err := c.git.UpdateRefs(ctx, []gitrepo.RefUpdate{{Name: ref, New: target, Old: ours}}, "arbor: from "+c.peers.from(ref))
		if err != nil {
			return fmt.Errorf("move %s: %w", ref, err)
		}
		c.side.branches[ref] = target
		c.stepped(ref, step{ours, target})
		if ref == c.side.branch { // of a bare repository
			c.side.head = target
			if err := c.wantFrom(ctx, ours, target); err != nil {
				return err
			}
		}
		c.agenda.in(taskPublish, publishDelay)
	}
	for _, h := range heads {
		c.peers.integrated(ref, h)
	}
	return nil
}

// collect finds the commits that peers have and that the branches lack: the person has gone to another branch, or moved one
// back. They are what the peers' vectors say, or what earlier fetches have left in refs/remotes.
func (c *clone) collect(ctx context.Context) error {
	for _, p := range c.peers.all() {
		for ref, h := range p.vector.Heads {
			c.known(ctx, p, ref, gitrepo.Hash(h))
		}
		prefix := remotesPrefix + p.remote + "/"
		refs, err := c.git.Refs(ctx, prefix)
		if err != nil {
			return fmt.Errorf("read references of %s: %w", p.remote, err)
		}
		for name, h := range refs {
			c.known(ctx, p, branchPrefix+strings.TrimPrefix(name, prefix), h)
		}
	}
	return nil
}

// resolve tells merges which entries are annexed. It looks at the content alone, also where there is no annex: merges must
// be the same on all clones.
func (c *clone) resolve(e gitrepo.Entry) (gitrepo.Annexed, bool) {
	k, ok := annex.EntryKey(c.git, e)
	return gitrepo.Annexed{Key: k.String(), File: k.File()}, ok
}

// keyOf returns the key that a tree entry stands for.
func (c *clone) keyOf(e gitrepo.Entry) (annex.Key, bool) {
	if c.annex == nil {
		return annex.Key{}, false
	}
	return annex.EntryKey(c.git, e)
}

// contentOf names the object file that a checkout places a copy of instead of a pointer.
func (c *clone) contentOf(_ string, e gitrepo.Entry) (string, bool) {
	if !e.Mode.IsRegular() {
		return "", false
	}
	k, ok := c.keyOf(e)
	if !ok || c.annex.ThinFiles() { // which are no copies
		return "", false
	}
	return c.annex.ObjectPath(k)
}
