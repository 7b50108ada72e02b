package agent

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/xmpp/signal"
)

// maxDeleted is how many deleted branches are remembered.
const maxDeleted = 256

// followBranches tells the peers of branches that the person has moved or deleted while another was checked out.
func (c *clone) followBranches(ctx context.Context) error {
	refs, err := c.git.Refs(ctx, branchPrefix)
	if err != nil {
		return fmt.Errorf("read branches: %w", err)
	}
	maps.DeleteFunc(refs, func(ref string, _ gitrepo.Hash) bool { return !shared(ref) })
	for ref, old := range c.side.branches {
		if _, ok := refs[ref]; !ok {
			c.noteDeleted(ref, old)
			c.tell(ctx, signal.Announce{Ref: ref, Old: signal.Hash(old)}, c.peers.online())
		}
	}
	moved := false
	for ref, h := range refs {
		delete(c.state.Deleted, ref)
		if old := c.side.branches[ref]; !c.side.fresh && old != h && ref != c.side.branch {
			c.announce(ctx, ref, old, h)
			moved = true
		}
	}
	c.side.branches, c.side.fresh = refs, false
	if moved {
		return c.collect(ctx)
	}
	return nil
}

func (c *clone) noteDeleted(ref string, at gitrepo.Hash) {
	if len(c.state.Deleted) >= maxDeleted {
		clear(c.state.Deleted) // forgotten ones may come back from a peer that was away
	}
	c.state.Deleted[ref] = at.String()
	c.agenda.in(taskSave, saveDelay)
}

// wasDeleted reports whether a head that a peer has is of a branch that was deleted here, with all it had.
func (c *clone) wasDeleted(ctx context.Context, ref string, h gitrepo.Hash) bool {
	at, err := gitrepo.ParseHash(c.state.Deleted[ref])
	if err != nil {
		return false
	}
	old, err := c.git.IsAncestor(ctx, h, at)
	return err == nil && old
}

// deleteBranch deletes a branch that a peer's person has deleted, if it is where it was there, and not checked out.
func (c *clone) deleteBranch(ctx context.Context, ref string, at gitrepo.Hash, peer string) {
	ours, err := c.git.Ref(ref)
	if err != nil || ours != at || c.checkedOut(ctx, ref) {
		return
	}
	if err := c.git.UpdateRefs(ctx, []gitrepo.RefUpdate{{Name: ref, Old: at}}, "arbor: deleted on "+peer); err != nil {
		c.log.Warn("delete branch", "ref", ref, "err", err)
		return
	}
	c.noteDeleted(ref, at)
	delete(c.side.branches, ref)
}

// checkedOut reports whether a work tree shows a branch at this moment: the clone's, or one of git worktree's.
func (c *clone) checkedOut(ctx context.Context, ref string) bool {
	if branch, _, err := c.git.Head(ctx); err != nil || branch == ref {
		return true
	}
	heads, _ := filepath.Glob(filepath.Join(c.git.GitDir(), "worktrees", "*", "HEAD")) // the pattern is sound
	return slices.ContainsFunc(heads, func(head string) bool {
		b, err := os.ReadFile(head)
		return err == nil && string(bytes.TrimSpace(b)) == "ref: "+ref
	})
}

// step is the way of a branch from one commit to another.
type step struct{ from, to gitrepo.Hash }

// steps are the commits that a branch has had, and between which we moved it while it was not checked out.
type steps struct {
	had  []gitrepo.Hash // the newest last
	seen time.Time      // when it was checked out with the newest; zero when it has moved since
}

const (
	maxSteps = 64 // how many commits a branch is remembered to have had
	// stepsKept is how long they are remembered after the branch was seen checked out: git may have begun another check-out before, for it reads the
	// branch before it locks the index.
	stepsKept = 10 * time.Second
)

// stepped notes that we moved a branch that is not checked out.
func (c *clone) stepped(ref string, s step) {
	had := c.stepsOf(ref, s.from)
	if len(had) == 0 {
		had = []gitrepo.Hash{s.from}
	}
	had = append(had, s.to)
	c.side.steps[ref] = steps{had: had[max(0, len(had)-maxSteps):]}
}

// stepsOf gives the commits that a branch, which now has head, is remembered to have had; none when somebody else has moved it since.
func (c *clone) stepsOf(ref string, head gitrepo.Hash) []gitrepo.Hash {
	s := c.side.steps[ref]
	if len(s.had) == 0 || s.had[len(s.had)-1] != head || !s.seen.IsZero() && time.Since(s.seen) > stepsKept {
		delete(c.side.steps, ref)
		return nil
	}
	return s.had
}

// movedUnder takes back our steps with a branch that we made while the person's git was checking the branch out: then
// index and files are those of another commit that it had. It returns the commit that the branch has now.
func (c *clone) movedUnder(ctx context.Context, branch string, head gitrepo.Hash) (gitrepo.Hash, error) {
	had := c.stepsOf(branch, head)
	if len(had) == 0 {
		return head, nil
	}
	c.side.moved = true // until this is done
	lock, err := c.git.LockIndex(ctx)
	if err != nil {
		return head, err
	}
	defer lock.Unlock()
	if now, at, err := c.git.Head(ctx); err != nil || now != branch || at != head {
		return head, cmp.Or(err, fmt.Errorf("wait for git: %w", gitrepo.ErrRefMoved))
	}
	out, err := c.indexOf(had)
	if err != nil {
		return head, err
	}
	if out != head {
		update := gitrepo.RefUpdate{Name: branch, New: out, Old: head}
		if err := c.git.UpdateRefs(ctx, []gitrepo.RefUpdate{update}, "arbor: checked out meanwhile"); err != nil {
			return head, fmt.Errorf("move %s: %w", branch, err)
		}
		c.peers.arrived(branch, head, "")
		had = append(had, out)
	}
	c.side.steps[branch] = steps{had, time.Now()}
	c.side.moved = false
	return out, nil
}

// indexOf tells which of the commits the index is that of. It is the last of them when that cannot be told: a person has staged other things.
func (c *clone) indexOf(commits []gitrepo.Hash) (gitrepo.Hash, error) {
	head := commits[len(commits)-1]
	for _, h := range slices.Backward(commits) {
		if h.IsZero() {
			continue
		}
		if is, err := c.git.IndexIs(h); is || err != nil {
			return h, err
		}
	}
	if wait, err := c.headPending(head); wait > 0 || err != nil { // git may be about to leave the branch, with the index of another
		return head, cmp.Or(err, fmt.Errorf("wait for git: %w", gitrepo.ErrRefMoved))
	}
	var paths []string
	for _, h := range commits {
		changes, err := c.git.Diff(h, head)
		if err != nil {
			return head, fmt.Errorf("compare commits: %w", err)
		}
		paths = append(paths, changedPaths(changes)...)
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	for _, h := range slices.Backward(commits) {
		if h.IsZero() {
			continue
		}
		if holds, err := c.git.IndexHolds(h, paths); holds || err != nil {
			return h, err
		}
	}
	return head, nil
}
