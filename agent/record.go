package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
)

// logged gives the clones that the location log names, as far as it can be read.
func (c *clone) logged(repo *annex.Repo, k annex.Key) []string {
	logged, err := repo.Locations(context.Background(), k)
	if err != nil {
		c.log.Warn("read location log", "key", k, "err", err)
	}
	return logged
}

// loggedOf is logged for many keys.
func (c *clone) loggedOf(repo *annex.Repo, keys []annex.Key) [][]string {
	logged, err := repo.LocationsOf(context.Background(), keys)
	if err != nil {
		c.log.Warn("read location logs", "err", err)
		logged = make([][]string, len(keys))
	}
	return logged
}

// recordMissing sees to it that contents which are not here are not in the location log: the agent may have died after it removed
// one.
func (c *clone) recordMissing(ctx context.Context, keys []annex.Key) error {
	wrong, err := c.misrecorded(ctx, keys, false)
	for _, k := range wrong {
		c.want.records = append(c.want.records, annex.Location{Key: k, UUID: c.id})
		c.agenda.in(taskRecord, recordDelay)
	}
	return err
}

// recordHere sees to it that contents which are here are in the location log: git's filter may have added them, or the
// agent died before it could say so.
func (c *clone) recordHere(ctx context.Context, keys, told []annex.Key) error {
	unsaid, err := c.misrecorded(ctx, keys, true)
	if err != nil {
		return err
	}
	c.present(unsaid)
	c.tellHave(ctx, slices.DeleteFunc(unsaid, func(k annex.Key) bool { return slices.Contains(told, k) }))
	return nil
}

// misrecorded gives those contents of which the location log does not say that they are here, or not here.
func (c *clone) misrecorded(ctx context.Context, keys []annex.Key, here bool) (wrong []annex.Key, err error) {
	logged, err := c.annex.LocationsOf(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read location logs: %w", err)
	}
	for i, k := range keys {
		if slices.Contains(logged[i], c.id) != here {
			wrong = append(wrong, k)
		}
	}
	return wrong, nil
}

// burst tells whether the location records wait for more contents that are on their way, and looks again then.
func (c *clone) burst() bool {
	if len(c.want.records) == 0 || time.Since(c.want.unrecorded) > recordLate || len(c.queue.Running()) == 0 {
		return false
	}
	c.want.recordDue = false
	c.agenda.in(taskRecord, recordDelay)
	return true
}

// record merges the git-annex branches that have arrived and writes the location records, all in one go: a burst of
// contents is one commit.
func (c *clone) record(ctx context.Context) error {
	old, err := c.annex.BranchHead()
	if err != nil {
		return fmt.Errorf("read git-annex branch: %w", err)
	}
	heads := c.peers.heads(annexBranch)
	head := old
	if len(heads) > 0 {
		var changed []annex.Key
		head, changed, err = c.annex.Merge(ctx, heads)
		var refused *annex.Refused
		switch {
		case errors.As(err, &refused):
			c.warnText("annex-merge", refused.What, refused.Hint)
		case err != nil:
			return fmt.Errorf("merge git-annex branches: %w", err)
		}
		for _, h := range heads {
			c.peers.integrated(annexBranch, h)
		}
		c.want.refresh = c.want.refresh || len(changed) > 0
		c.locationsChanged(changed)
	}
	if len(c.want.records) > 0 {
		merged := head
		if head, err = c.annex.Record(ctx, c.want.records); err != nil {
			return fmt.Errorf("write location log: %w", err)
		}
		c.want.records, c.want.unrecorded = nil, time.Time{}
		if head != merged {
			c.announce(ctx, annexBranch, merged, head, nil)
			c.agenda.in(taskPublish, publishDelay)
		}
	}
	if head != old {
		c.branchesMoved()
		if err := c.git.Sync(); err != nil {
			return fmt.Errorf("write objects to disk: %w", err)
		}
		c.agenda.in(taskPublish, gatherDelay)
	}
	return nil
}
