package agent

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// A git command of the person's that goes to another commit, as checkout, reset, stash, merge and rebase do, changes files
// first, then the index, which is locked meanwhile, and HEAD or its branch last. In between, the files of one commit look
// like edits of another. While the index is locked that is plain to see; from then until HEAD has moved the index holds
// what seems to be an edit.

// stagedPause is how long after a foreign write of the index we wait for HEAD to move. Git needs a few milliseconds; on
// a machine that is short of everything, more.
const stagedPause = time.Second

// indexStamp tells whether the index is replaced; nil while there is none.
func (c *clone) indexStamp() fs.FileInfo {
	st, err := os.Lstat(filepath.Join(c.git.GitDir(), "index"))
	if err != nil {
		return nil
	}
	return st
}

// undisturbed returns nil when no git command of the person's was at work since the index had this stamp. The questions
// are asked in the order in which git goes.
func (c *clone) undisturbed(ctx context.Context, before fs.FileInfo) error {
	if c.git.IndexLocked() {
		return fmt.Errorf("wait for git: %w", gitrepo.ErrIndexLocked)
	}
	now := c.indexStamp()
	branch, head, err := c.git.Head(ctx)
	if err != nil {
		return fmt.Errorf("read HEAD: %w", err)
	}
	if sameIndex(before, now) && branch == c.side.branch && head == c.side.head && c.git.Unfinished() == "" {
		return nil
	}
	c.side.moved = true
	return fmt.Errorf("wait for git: %w", gitrepo.ErrRefMoved)
}

func sameIndex(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// headPending returns for how long we have to wait for HEAD, which is at this commit, to follow the index.
func (c *clone) headPending(head gitrepo.Hash) (time.Duration, error) {
	touched, err := c.git.IndexTouched()
	if err != nil {
		return 0, err
	}
	age := time.Since(touched)
	if age < 0 || age >= stagedPause { // the clock may have been set back
		return 0, nil
	}
	followed, err := c.git.IndexIs(head)
	if followed || err != nil {
		return 0, err
	}
	return stagedPause - age, nil
}

// lockWorkTree keeps the person's git from starting while we change files. It returns nil while one may be at work; the
// cycle is run again then.
func (c *clone) lockWorkTree(ctx context.Context) (*gitrepo.IndexLock, error) {
	before := c.indexStamp()
	if err := c.undisturbed(ctx, before); err != nil {
		return nil, err
	}
	lock, err := c.git.LockIndex(ctx)
	if err != nil {
		return nil, err
	}
	wait, err := c.headPending(c.side.head)
	if err == nil && wait <= 0 && sameIndex(before, c.indexStamp()) {
		return lock, nil
	}
	lock.Unlock()
	c.agenda.in(taskRetry, max(wait, 0))
	return nil, err
}

// holdStaged takes out of a snapshot what the index holds already while HEAD may be about to follow.
func (c *clone) holdStaged(snap *gitrepo.SnapshotResult) error {
	if len(snap.Staged) == 0 {
		return nil
	}
	wait, err := c.headPending(c.side.head)
	if wait <= 0 || err != nil {
		return err
	}
	for _, p := range snap.Staged {
		c.side.staged[p] = true
	}
	snap.Changes = slices.DeleteFunc(snap.Changes, func(ch gitrepo.Change) bool { return c.side.staged[ch.Path] })
	snap.Index = slices.DeleteFunc(snap.Index, func(e gitrepo.IndexEntry) bool { return c.side.staged[e.Path] })
	c.agenda.in(taskStaged, wait)
	return nil
}

// holdReplaced leaves annexed files for later that are missing because git-annex is putting others in their place: it drops, or gets, their
// content. It takes a pointer that is to get its content away before it locks anything, and drops under the lock of a key that the file may have no
// more; so while it is at work, what is missing must be so for some time. The paths are those that were looked at.
func (c *clone) holdReplaced(paths []string, snap *gitrepo.SnapshotResult) {
	held := make(map[string]time.Time) // since when each is missing
	for _, ch := range snap.Changes {
		if !ch.New.IsZero() || !ch.Old.Mode.IsRegular() {
			continue
		}
		k, annexed := c.keyOf(ch.Old)
		if !annexed {
			continue
		}
		since, again := c.side.vanished[ch.Path]
		if !again {
			since = time.Now()
		}
		wait := c.annex.KeysOpen() && time.Since(since) < retryDelay || c.annex.Replacing(k) // before it is looked for: git-annex may have just ended
		if st, err := c.git.Stat(ch.Path); wait || err == nil && !st.IsDir() {
			held[ch.Path] = since
		}
	}
	for _, p := range paths {
		delete(c.side.vanished, p)
	}
	if len(held) == 0 {
		return
	}
	maps.Copy(c.side.vanished, held)
	for p := range held {
		c.side.staged[p] = true
	}
	snap.Changes = slices.DeleteFunc(snap.Changes, func(ch gitrepo.Change) bool { return !held[ch.Path].IsZero() })
	snap.Index = slices.DeleteFunc(snap.Index, func(e gitrepo.IndexEntry) bool { return !held[e.Path].IsZero() })
	c.agenda.in(taskStaged, retryDelay)
}

// lookAtStaged looks again at what the index held.
func (c *clone) lookAtStaged() {
	for p := range c.side.staged {
		c.side.pending[p] = true
	}
	clear(c.side.staged)
}
