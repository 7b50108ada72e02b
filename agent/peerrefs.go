package agent

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/xmpp/signal"
)

// A fetch leaves the branches of a peer under refs/remotes, where people look, and git annex unused for what a file still needs. What a peer has
// moves mostly without a fetch, because small commits come in signals.

const remotesPrefix = "refs/remotes/"

// peerRefsDelay coalesces what peers say of their branches: nothing waits for it.
const peerRefsDelay = 2 * time.Second

// isPeerRef reports whether a file of the git directory is a reference of a peer, which the agent alone moves.
func (c *clone) isPeerRef(path string) bool {
	below, ok := strings.CutPrefix(path, remotesPrefix)
	if !ok {
		return false
	}
	remote, _, _ := strings.Cut(below, "/")
	for _, p := range c.peers.byID {
		if p.remote == remote {
			return true
		}
	}
	return false
}

// movePeerRefs has refs/remotes follow what the peers have said of their branches.
func (c *clone) movePeerRefs(ctx context.Context) {
	for _, p := range c.peers.all() {
		if p.fetching { // which does the same, and comes back to this
			continue
		}
		moved, deleted, err := c.staleRefs(ctx, p)
		for _, updates := range [][]gitrepo.RefUpdate{deleted, moved} { // one may be in the way of another
			if err == nil {
				err = c.git.UpdateRefs(ctx, updates, "")
			}
		}
		if err != nil {
			c.log.Debug("move references of a peer", "of", p.name, "err", err) // the next fetch does
		}
	}
}

// staleRefs gives what is to be done to references under refs/remotes for them to be where a peer has its branches.
func (c *clone) staleRefs(ctx context.Context, p *peer) (moved, deleted []gitrepo.RefUpdate, err error) {
	prefix := remotesPrefix + p.remote + "/"
	refs, err := c.git.Refs(ctx, prefix)
	if err != nil {
		return nil, nil, err
	}
	follow := func(ref string, head signal.Hash) {
		name, h := prefix+strings.TrimPrefix(ref, branchPrefix), gitrepo.Hash(head)
		if h.IsZero() || refs[name] == h || !c.isComplete(ctx, ref, h) {
			return
		}
		if ref != annexBranch || !c.superseded(h) { // git-annex would merge that
			moved = append(moved, gitrepo.RefUpdate{Name: name, New: h, Old: refs[name]})
		}
	}
	for ref, h := range p.vector.Heads {
		if shared(ref) {
			follow(ref, h)
		}
	}
	if c.annex != nil {
		follow(annexBranch, p.vector.Annex)
	}
	for name, h := range refs {
		ref := branchPrefix + strings.TrimPrefix(name, prefix)
		if _, has := p.vector.Heads[ref]; !has && shared(ref) {
			deleted = append(deleted, gitrepo.RefUpdate{Name: name, Old: h})
		}
	}
	if len(deleted) > 0 && !c.tellsAll(ctx, p) {
		deleted = nil
	}
	return moved, deleted, nil
}

// isComplete reports whether the commit that a peer has for a branch is here with all that it needs.
func (c *clone) isComplete(ctx context.Context, ref string, h gitrepo.Hash) bool {
	return c.git.Has(h) && (c.hasMerged(ctx, ref, h) || c.git.Complete(ctx, h) == nil)
}

// hasMerged reports whether a branch has a commit.
func (c *clone) hasMerged(ctx context.Context, ref string, h gitrepo.Hash) bool {
	ours, err := c.git.Ref(ref)
	if err != nil {
		return false
	}
	merged, err := c.git.IsAncestor(ctx, h, ours)
	return err == nil && merged
}

// tellsAll reports whether the vector of a peer names all its branches: one with too many names some. Where the tags are not the same, that is
// not known.
func (c *clone) tellsAll(ctx context.Context, p *peer) bool {
	tags, err := c.git.Refs(ctx, "refs/tags/")
	if err != nil {
		return false
	}
	counted := maps.Clone(p.vector.Heads)
	for name, h := range tags {
		counted[name] = signal.Hash(h)
	}
	return len(p.vector.Heads) > 0 && signal.RefsDigest(counted) == p.vector.Refs
}

// forgetPeerRefs deletes what refs/remotes has of a peer that was forgotten, but for commits that are nowhere else.
func (c *clone) forgetPeerRefs(ctx context.Context, p *peer) {
	if c.remoteTaken(p.remote) {
		return
	}
	prefix := remotesPrefix + p.remote + "/"
	refs, err := c.git.Refs(ctx, prefix)
	var deleted []gitrepo.RefUpdate
	for name, h := range refs {
		if c.hasMerged(ctx, branchPrefix+strings.TrimPrefix(name, prefix), h) {
			deleted = append(deleted, gitrepo.RefUpdate{Name: name, Old: h})
		}
	}
	if err == nil {
		err = c.git.UpdateRefs(ctx, deleted, "")
	}
	if err != nil {
		c.log.Warn("delete references of a peer", "of", p.name, "err", err)
	}
}
