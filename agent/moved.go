package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// lookAtContents takes in what others have written to the git-annex branch about contents here: git-annex, beside the agent or while it was
// off, has dropped some or got some, or a client elsewhere has put some through git-annex-shell. What was dropped is not wanted any more. What is here, and
// the log says so no more, is said again, and so is what is not: git-annex loses lines of a log that it is about to write when somebody pushes to its branch.
func (c *clone) lookAtContents(ctx context.Context) error {
	if c.annex == nil {
		return nil
	}
	head, err := c.annex.Follow(ctx)
	c.want.forgetting = errors.Is(err, annex.ErrForgetting)
	if c.want.forgetting { // the branch is another in a moment
		c.side.moved = true
		c.agenda.in(taskRetry, retryDelay)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read git-annex branch: %w", err)
	}
	from := c.want.seen
	if from.IsZero() {
		if from, err = c.annex.OwnHead(); err != nil {
			return fmt.Errorf("read git-annex branch: %w", err)
		}
	}
	if c.want.seen != head {
		if err := c.readSettings(ctx); err != nil {
			return err
		}
	}
	if c.want.seen.IsZero() {
		c.want.taken = head // who has what is asked for what is missing
	}
	c.takeLocations(head)
	c.want.seen = head
	if from == head || from.IsZero() {
		return nil
	}
	came, gone, err := c.annex.Moved(from, head)
	if err != nil {
		c.log.Warn("compare git-annex branch", "err", err) // its history was rewritten
		return nil
	}
	c.relinked(slices.Concat(came, gone))
	var here, absent []annex.Key
	for _, k := range came {
		if !c.annex.Has(k) {
			absent = append(absent, k)
		} else if c.want.missing[k] {
			here = append(here, k)
		}
	}
	if err := c.recordMissing(ctx, absent); err != nil {
		return err
	}
	if len(here) > 0 {
		c.queue.Cancel(here...)
		c.arrived(here)
	}
	var still, away []annex.Key
	for _, k := range gone {
		if c.annex.Has(k) {
			still = append(still, k)
		} else {
			away = append(away, k)
		}
	}
	if err := c.recordHere(ctx, still, still); err != nil {
		return err
	}
	return c.wentAway(ctx, away)
}

// takeLocations takes in what others have by the git-annex branch, whoever has moved that: a merge here, git-annex, which merges what it finds, or who
// pushes to it. The sizes were read before.
func (c *clone) takeLocations(head gitrepo.Hash) {
	from := c.want.taken
	if from == head {
		return
	}
	c.want.taken = head
	changed, err := c.annex.Changed(from, head)
	if err != nil {
		c.log.Warn("compare git-annex branch", "err", err) // its history was rewritten
	}
	c.want.refresh = c.want.refresh || err != nil || len(changed) > 0
	c.locationsChanged(changed)
}

// wentAway takes in that contents have gone from here. They stay away; but what git annex fsck has put aside as bad is wanted as before,
// and what was not wanted comes back when it is.
func (c *clone) wentAway(ctx context.Context, keys []annex.Key) error {
	var dropped, lost []annex.Key
	for _, k := range keys {
		switch {
		case c.want.missing[k]:
		case !c.want.wantsHere(k, c.logged(c.annex, k)):
			lost = append(lost, k) // which is why it has gone
		case c.annex.Bad(k):
			lost = append(lost, k)
		case !c.want.urgent[k]:
			dropped = append(dropped, k)
		}
	}
	if c.side.head.IsZero() { // the first look: what is missing is found out next
		for _, k := range dropped {
			c.want.held[k], c.want.dropped[k] = true, true
		}
		return nil
	}
	unnamed := func(k annex.Key) bool { return len(c.want.named[k]) == 0 }
	dropped, lost = slices.DeleteFunc(dropped, unnamed), slices.DeleteFunc(lost, unnamed)
	if len(dropped)+len(lost) == 0 {
		return nil
	}
	c.gone(ctx, dropped)
	c.keepAway(dropped)
	c.gone(ctx, lost)
	c.consider(lost...)
	return c.write()
}
