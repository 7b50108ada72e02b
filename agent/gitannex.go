package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// followGitAnnex takes in what git-annex, or git-annex-shell for a client elsewhere, has done in the clone.
func (c *clone) followGitAnnex(ctx context.Context) error {
	if c.annex == nil {
		return nil
	}
	if err := c.followAnnexBranch(ctx); err != nil {
		return err
	}
	return c.followSynced(ctx)
}

// followAnnexBranch finds contents that have come here without the queue: whoever brought them has recorded it.
func (c *clone) followAnnexBranch(ctx context.Context) error {
	old := c.side.annexHead
	head, err := c.annex.BranchHead()
	if err != nil || head == old {
		return err
	}
	c.side.annexHead = head
	if old.IsZero() || len(c.want.missing) == 0 {
		return nil
	}
	changed, err := c.annex.ChangedKeys(old, head)
	if err != nil {
		return err
	}
	var came []annex.Key
	for _, k := range changed {
		if c.want.missing[k] != nil && c.annex.Has(k) {
			came = append(came, k)
		}
	}
	if len(came) > 0 {
		c.arrived(ctx, came)
	}
	return nil
}

// followSynced takes in branches that were pushed under synced/, where git-annex puts them because git lets nobody push to a branch that is checked
// out. They stay as they are: git-annex looks at them too.
func (c *clone) followSynced(ctx context.Context) error {
	refs, err := c.git.Refs(ctx, syncedPrefix)
	if err != nil {
		return fmt.Errorf("read branches: %w", err)
	}
	for name, h := range refs {
		if c.side.synced[name] == h {
			continue
		}
		ref := branchPrefix + strings.TrimPrefix(name, syncedPrefix)
		ours, err := c.git.Ref(ref)
		if errors.Is(err, gitrepo.ErrNotFound) || ref != annexBranch && !shared(ref) {
			c.side.synced[name] = h
			continue // nobody has that branch here
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", ref, err)
		}
		had, err := c.git.IsAncestor(ctx, h, ours)
		if err != nil {
			return fmt.Errorf("compare %s: %w", name, err)
		}
		c.side.synced[name] = h
		if had {
			continue
		}
		c.log.Debug("git-annex has pushed", "ref", name, "commit", h)
		c.peers.arrived(ref, h, "")
		if ref == annexBranch {
			c.agenda.in(taskRecord, recordDelay)
		}
	}
	return nil
}
