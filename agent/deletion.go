package agent

import (
	"fmt"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// massDeletion is how many files must vanish at once, and be at least half of all, for the clone to halt: a mount that
// went away or a mistake, more often than a wish.
const massDeletion = 50

// deletionPause is how long a deletion of many files must stand still before it is taken in.
const deletionPause = 200 * time.Millisecond

// moreToGo waits for the end of a deletion of many files: only then can it be told whether it is a mass deletion.
func (c *clone) moreToGo(changes []gitrepo.Change) bool {
	gone := deletions(changes)
	if gone < massDeletion/5 || c.side.accept {
		return false
	}
	if gone != c.side.gone {
		c.side.gone, c.side.goneSince = gone, time.Now()
	}
	if time.Since(c.side.goneSince) < deletionPause {
		c.agenda.in(taskRetry, deletionPause)
		return true
	}
	c.side.gone = 0
	return false
}

func deletions(changes []gitrepo.Change) (n int) {
	for _, ch := range changes {
		if ch.New.IsZero() {
			n++
		}
	}
	return n
}

// refuseMassDeletion halts the clone when too much vanished at once, until the person says that it is meant. What was
// only renamed has not vanished.
func (c *clone) refuseMassDeletion(changes []gitrepo.Change) error {
	if deletions(changes) < massDeletion || c.side.accept {
		c.side.accept = false
		return nil
	}
	changed, left, all := make(map[string]bool), make(map[gitrepo.Hash]bool), 0
	for _, ch := range changes {
		changed[ch.Path], left[ch.New.Hash] = true, true
	}
	err := c.git.Files(c.side.head, func(p string, e gitrepo.Entry) error {
		all++
		if !changed[p] {
			left[e.Hash] = true
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count files: %w", err)
	}
	gone := deletions(slices.DeleteFunc(slices.Clone(changes), func(ch gitrepo.Change) bool { return left[ch.Old.Hash] }))
	if gone < massDeletion || 2*gone < all {
		return nil
	}
	return &halt{
		code: "mass-deletion", text: fmt.Sprintf("%d of %d files are gone", gone, all),
		hint: "git arbor resume --accept, if you deleted them; else bring them back",
	}
}
