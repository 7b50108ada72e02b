package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/xmpp/signal"
)

const (
	// cameRoom is how many bytes of keys the vector spends on contents that have come.
	cameRoom = 1500
	// leavePatience is how long an agent that ends waits for git-annex to give the location log free.
	leavePatience = 5 * time.Second
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
	wrong, err := c.unsaid(ctx, c.locations(keys, false))
	if len(wrong) > 0 {
		c.want.records = append(c.want.records, wrong...)
		c.recordSoon()
	}
	return err
}

// recordHere sees to it that contents which are here are in the location log: git's filter may have added them, or the
// agent died before it could say so. told are those that the peers know to be here.
func (c *clone) recordHere(ctx context.Context, keys, told []annex.Key) error {
	locations, err := c.unsaid(ctx, c.locations(keys, true))
	if err != nil {
		return err
	}
	var here []annex.Key
	for _, l := range locations {
		here = append(here, l.Key)
		if !slices.Contains(told, l.Key) {
			c.want.untold = append(c.want.untold, l.Key)
		}
	}
	c.present(here)
	return nil
}

// locations says of contents that they are here, or not.
func (c *clone) locations(keys []annex.Key, here bool) []annex.Location {
	all := make([]annex.Location, len(keys))
	for i, k := range keys {
		all[i] = annex.Location{Key: k, UUID: c.id, Present: here}
	}
	return all
}

// unsaid gives those locations that the location log does not say.
func (c *clone) unsaid(ctx context.Context, locations []annex.Location) (news []annex.Location, err error) {
	if len(locations) == 0 {
		return nil, nil
	}
	keys := make([]annex.Key, len(locations))
	for i, l := range locations {
		keys[i] = l.Key
	}
	logged, err := c.annex.LocationsOf(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read location logs: %w", err)
	}
	for i, l := range locations {
		if slices.Contains(logged[i], l.UUID) != l.Present {
			news = append(news, l)
		}
	}
	return news, nil
}

// gatherer is the peer that writes the location log for all that are online, so that one commit says what each would have said by one of its own:
// it is the first of them by id, which all see alike. It is nil when that is this clone.
func (c *clone) gatherer() *peer {
	var first *peer
	for _, p := range c.peers.byID {
		if p.online() && !p.late && p.vector.Annex != (signal.Hash{}) && p.id.clone < c.id && (first == nil || p.id.clone < first.id.clone) {
			first = p
		}
	}
	return first
}

// gather takes in where contents are, as was told at a time by somebody who knows, if it is for this clone to write that down.
func (c *clone) gather(uuid string, keys []annex.Key, at time.Time) {
	if c.annex == nil || len(keys) == 0 || c.gatherer() != nil {
		return
	}
	for _, k := range keys {
		c.want.told = append(c.want.told, annex.Location{Key: k, UUID: uuid, Present: true, Told: at})
	}
	c.recordSoon()
}

// came gives the newest contents that have come and that the location log does not say to be here.
func (c *clone) came() []string {
	var keys []string
	room := cameRoom
	seen := make(map[annex.Key]bool)
	for _, l := range slices.Backward(c.want.records) {
		if l.UUID != c.id || seen[l.Key] {
			continue
		}
		seen[l.Key] = true
		key := l.Key.String()
		if room -= len(key); room < 0 || len(keys) == signal.MaxCame {
			break
		}
		if l.Present {
			keys = append(keys, key)
		}
	}
	return keys
}

// recordSoon has what is to be recorded written in a moment.
func (c *clone) recordSoon() {
	c.want.newest = time.Now()
	if c.want.unrecorded.IsZero() {
		c.want.unrecorded = c.want.newest
	}
	c.agenda.in(taskRecord, recordDelay)
}

// burst tells whether what is to be recorded waits for more that is on its way, and looks again then.
func (c *clone) burst() bool {
	if len(c.want.records)+len(c.want.told) == 0 || time.Since(c.want.unrecorded) > recordLate {
		return false
	}
	if time.Since(c.want.newest) >= recordDelay && len(c.queue.Running()) == 0 {
		return false
	}
	c.want.recordDue = false
	c.agenda.in(taskRecord, recordDelay)
	return true
}

// leftToOthers reports whether another clone is to write what is known here, which it was told, and looks again when that is late.
// What has gone it was not told: that is written before the locks on the other copies are given back.
func (c *clone) leftToOthers() bool {
	first := c.gatherer()
	if first == nil || slices.ContainsFunc(c.want.records, func(l annex.Location) bool { return !l.Present }) {
		return false
	}
	late := gatherLate - time.Since(c.want.unrecorded)
	if late <= 0 { // its machine may be asleep, and the server not know it yet
		first.late = true
		return false
	}
	c.agenda.in(taskRecord, late)
	return true
}

// record merges the git-annex branches that have arrived and writes where contents are, all in one go: a burst of contents, and one content
// that comes to many clones, is one commit. It waits for a git annex forget that is at work.
func (c *clone) record(ctx context.Context) error {
	err := c.mergeAndRecord(ctx)
	if errors.Is(err, annex.ErrForgetting) {
		c.agenda.in(taskRecord, retryDelay)
		return nil
	}
	return err
}

func (c *clone) mergeAndRecord(ctx context.Context) error {
	old, err := c.annex.BranchHead()
	if err != nil {
		return fmt.Errorf("read git-annex branch: %w", err)
	}
	heads := c.peers.heads(annexBranch)
	head := old
	if len(heads) > 0 {
		head, err = c.annex.Merge(ctx, heads)
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
		if err := c.readSizes(ctx); err != nil {
			return err
		}
		c.takeLocations(head)
	}
	unsaid := c.want.records
	if head != old {
		if unsaid, err = c.unsaid(ctx, c.want.records); err != nil {
			return err
		}
	}
	c.want.records = slices.DeleteFunc(c.want.records, func(l annex.Location) bool {
		if !l.Present { // is said also where the log has no line of it: another clone may yet write that it has come
			return false
		}
		return !slices.Contains(unsaid, l) || l.UUID == c.id && !c.annex.Has(l.Key) // git-annex may have dropped it meanwhile
	})
	left := c.want.records
	if len(left) > 0 && !c.leftToOthers() {
		left = nil
	}
	if locations := slices.Concat(c.want.told, c.want.records[len(left):]); len(locations) > 0 {
		merged := head
		if head, err = c.annex.Record(ctx, locations); err != nil {
			return fmt.Errorf("write location log: %w", err)
		}
		if head != merged {
			c.announce(ctx, annexBranch, merged, head)
			c.agenda.in(taskPublish, publishDelay)
		}
	}
	c.want.records, c.want.told = left, nil
	if len(left) == 0 {
		c.want.unrecorded = time.Time{}
	}
	if head != old {
		if err := c.readSizes(ctx); err != nil {
			return err
		}
		if err := c.git.Sync(); err != nil {
			return fmt.Errorf("write objects to disk: %w", err)
		}
		c.agenda.in(taskPublish, gatherDelay)
	}
	return nil
}

// leave writes what another clone was to write, for the agent ends. It waits for git-annex, but not for long.
func (c *clone) leave(ctx context.Context) {
	if c.annex == nil || len(c.want.records) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leavePatience)
	defer cancel()
	if _, err := c.annex.Record(ctx, c.want.records); err != nil {
		c.log.Warn("write location log", "err", err) // the next start finds that it was not said
	}
}
