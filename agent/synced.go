package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// ownedPrefix is above refs/synced/UUID/BRANCH, to which git-annex's assistant pushes when others were faster twice.
const ownedPrefix = "refs/synced/"

// followSynced takes in branches that were pushed under synced/, where git-annex puts them because git lets nobody push to a branch that is checked
// out. They stay as they are: git-annex looks at them too.
func (c *clone) followSynced(ctx context.Context) error {
	if c.annex == nil {
		return nil
	}
	for _, prefix := range []string{syncedPrefix, ownedPrefix} {
		refs, err := c.git.Refs(ctx, prefix)
		if err != nil {
			return fmt.Errorf("read branches: %w", err)
		}
		for name, h := range refs {
			branch := strings.TrimPrefix(name, prefix)
			if prefix == ownedPrefix {
				_, branch, _ = strings.Cut(branch, "/")
			}
			if branch == "" || c.side.synced[name] == h {
				continue
			}
			if err := c.pushed(ctx, name, branchPrefix+branch, h); err != nil {
				return err
			}
			c.side.synced[name] = h
		}
	}
	return nil
}

// pushed takes in a commit that git-annex has pushed for a branch, if that is here.
func (c *clone) pushed(ctx context.Context, name, ref string, h gitrepo.Hash) error {
	if ref != annexBranch && !shared(ref) {
		return nil
	}
	ours, err := c.git.Ref(ref)
	if errors.Is(err, gitrepo.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", ref, err)
	}
	had, err := c.git.IsAncestor(ctx, h, ours)
	if err != nil {
		return fmt.Errorf("compare %s: %w", name, err)
	}
	if had {
		return nil
	}
	c.log.Debug("git-annex has pushed", "ref", name, "commit", h)
	c.peers.arrived(ref, h, "")
	if ref == annexBranch {
		c.agenda.in(taskRecord, recordDelay)
	}
	return nil
}
