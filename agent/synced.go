package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// followSynced takes in branches that were pushed under synced/, where git-annex puts them because git lets nobody push to a branch that is checked
// out. They stay as they are: git-annex looks at them too.
func (c *clone) followSynced(ctx context.Context) error {
	if c.annex == nil {
		return nil
	}
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
