package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// intend notes that the branch is about to move to a commit whose files are in the work tree, or are being written there. Should the agent die
// before it has, what the person does meanwhile is still taken for changes of this commit.
func (c *clone) intend(target gitrepo.Hash, written bool) error {
	return c.git.Intend(gitrepo.Intent{RefUpdate: gitrepo.RefUpdate{Name: c.side.branch, New: target, Old: c.side.head}, Written: written})
}

// forgetIntent takes the note back: from here on the person may move the branch as they like.
func (c *clone) forgetIntent() {
	if err := c.git.ForgetIntent(); err != nil {
		c.log.Warn("keeps a note of what is done", "err", err)
	}
}

// finishMove moves the branch where it was about to move when the agent died, or when the person was faster, and what the person has committed
// since with it. If they have gone elsewhere, the commit, should anybody have it, is like any of a peer.
func (c *clone) finishMove(ctx context.Context, branch string, head gitrepo.Hash) (gitrepo.Hash, error) {
	i, err := c.git.Intended(ctx)
	if errors.Is(err, gitrepo.ErrNotFound) {
		c.side.begun = false
		return head, nil
	}
	u := i.RefUpdate
	if err == nil && i.Written && u.Name == branch {
		if u.Old != head {
			u, err = c.goneOn(ctx, u, head)
		}
		if err == nil && u.Old == head {
			if err = c.follow(ctx, u); err == nil {
				head = u.New
			}
		}
	}
	if err != nil {
		c.side.moved = true
		return head, fmt.Errorf("finish what was begun: %w", err)
	}
	if c.side.begun = false; !i.Written && u.Name == branch && u.Old == head {
		c.side.resume = u.New
	}
	c.forgetIntent()
	return head, nil
}

// goOn ends the check-out during which the agent died, before the files that were written are taken for what the person wrote. It reports true
// while that has to wait. Where the person has changed such a file since, all is left to a merge.
func (c *clone) goOn(ctx context.Context) (wait bool, err error) {
	if c.side.resume.IsZero() {
		return false, nil
	}
	done, err := c.checkOut(ctx, c.side.resume, "a peer")
	if done || c.side.halfway.to == c.side.resume { // else their git may be at work
		c.side.resume = gitrepo.Hash{}
	}
	return !c.side.resume.IsZero(), err
}

// goneOn brings commits that the person has made, with the files of the intended commit before them, together with that one. Nothing of it
// is a conflict: both are theirs, and what the files hold now is committed next.
func (c *clone) goneOn(ctx context.Context, u gitrepo.RefUpdate, head gitrepo.Hash) (gitrepo.RefUpdate, error) {
	if u.Old.IsZero() || head.IsZero() {
		return u, nil
	}
	on, err := c.git.IsAncestor(ctx, u.Old, head)
	if err != nil || !on {
		return u, err
	}
	if done, err := c.git.IsAncestor(ctx, u.New, head); err != nil || done {
		return u, err
	}
	changes, err := c.git.Diff(u.Old, head)
	if err != nil {
		return u, err
	}
	both, err := c.git.NewCommit(ctx, gitrepo.NewCommit{
		Parents: []gitrepo.Hash{head, u.New}, Base: u.New, Changes: changes,
		Message: fmt.Sprintf("%s: go on from %.12s with %.12s\n", c.conf.Name, u.New, head),
	})
	if err != nil {
		c.log.Info("what was begun is left to a merge", "commit", u.New, "err", err) // a file where there is a folder
		return u, nil
	}
	return gitrepo.RefUpdate{Name: u.Name, New: both, Old: head}, nil
}

// follow moves the branch, and the index with it, to a commit whose files the work tree had a while ago.
func (c *clone) follow(ctx context.Context, u gitrepo.RefUpdate) error {
	changes, err := c.git.Diff(u.Old, u.New)
	if err != nil {
		return err
	}
	var index []gitrepo.IndexEntry
	for _, ch := range changes {
		index = append(index, gitrepo.IndexEntry{Path: ch.Path, Entry: ch.New})
	}
	if err := c.git.Advance(ctx, gitrepo.Advance{Ref: u.Name, Old: u.Old, New: u.New, Index: index, Reason: "arbor: finish"}); err != nil {
		return err
	}
	c.remember(index)
	if c.watch != nil {
		paths := changedPaths(changes)
		for _, p := range paths {
			c.side.audited[p] = true
		}
		c.whenSettled(paths)
	}
	return nil
}
