package annex

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// Merge merges other clones' git-annex branches into this one's by union. Clones that merge the same commits get the same commit. What was forgotten in one of them (`git annex forget`) is forgotten. Heads whose history was rewritten
// in a way that is not known are left out, and make the error a *Refused, after the others were merged. It is ErrForgetting while git-annex rewrites
// the branch.
func (r *Repo) Merge(ctx context.Context, heads []gitrepo.Hash) (gitrepo.Hash, error) {
	unlock, err := r.lockBranch(ctx)
	if err != nil {
		return gitrepo.Hash{}, err
	}
	defer unlock()
	b := r.branch
	b.mu.Lock()
	defer b.mu.Unlock()
	var refused error
	head, err := retryMoved(func() (h gitrepo.Hash, err error) {
		if err := r.settle(ctx); err != nil {
			return gitrepo.Hash{}, err
		}
		h, refused, err = r.mergeOnce(ctx, heads)
		return h, err
	})
	if err != nil {
		return gitrepo.Hash{}, err
	}
	return head, refused
}

// mergeOnce moves the branch to the union of itself and heads. refused names heads that were left out.
func (r *Repo) mergeOnce(ctx context.Context, heads []gitrepo.Hash) (head gitrepo.Hash, refused, err error) {
	old, err := r.branch.current()
	if err != nil {
		return gitrepo.Hash{}, nil, err
	}
	hs, err := r.branch.histories(old, heads)
	if err == nil && len(hs.behind) > 0 {
		hs, err = r.withSiblings(ctx, old, heads)
	}
	if err != nil {
		return gitrepo.Hash{}, nil, err
	}
	done, err := r.newest(ctx, hs.done)
	if err != nil {
		return gitrepo.Hash{}, nil, err
	}
	behind, err := r.newest(ctx, hs.behind)
	if err != nil {
		return gitrepo.Hash{}, nil, err
	}
	switch {
	case len(behind) > 0:
		head, err = r.writeForgotten(ctx, hs.all, done, behind)
	case len(done) > 1:
		head, err = r.writeUnion(ctx, done)
	case len(done) == 1:
		head = done[0]
	}
	if err != nil || head == old {
		return old, hs.refused, err
	}
	if slices.Contains(hs.behind, old) {
		if err := r.forgetIndex(); err != nil {
			return gitrepo.Hash{}, nil, err
		}
	}
	return head, hs.refused, r.moveBranch(ctx, old, head, "arbor: merge")
}

// withSiblings adds to heads what git-annex would merge on its own, and has it ignore what is behind in transitions.
func (r *Repo) withSiblings(ctx context.Context, old gitrepo.Hash, heads []gitrepo.Hash) (histories, error) {
	siblings, err := r.siblings(ctx)
	if err != nil {
		return histories{}, err
	}
	hs, err := r.branch.histories(old, slices.Concat(heads, siblings))
	if err != nil {
		return histories{}, err
	}
	return hs, r.ignore(hs.behind)
}

// newest gives the commits that none of the others contains, in the order of their hashes.
func (r *Repo) newest(ctx context.Context, commits []gitrepo.Hash) ([]gitrepo.Hash, error) {
	commits = slices.DeleteFunc(slices.Clone(commits), gitrepo.Hash.IsZero)
	slices.SortFunc(commits, func(a, b gitrepo.Hash) int { return bytes.Compare(a[:], b[:]) })
	commits = slices.Compact(commits)
	for i := 0; i < len(commits); {
		contained := false
		for j := range commits {
			if i == j {
				continue
			}
			var err error
			if contained, err = r.git.IsAncestor(ctx, commits[i], commits[j]); err != nil {
				return nil, fmt.Errorf("merge git-annex branch: %w", err)
			}
			if contained {
				break
			}
		}
		if contained {
			commits = slices.Delete(commits, i, i+1)
		} else {
			i++
		}
	}
	return commits, nil
}

// writeUnion writes the union of commits, which are in the order of their hashes. All that goes into the new commit follows from them.
func (r *Repo) writeUnion(ctx context.Context, commits []gitrepo.Hash) (gitrepo.Hash, error) {
	files, newest, err := r.union(commits[0], commits, nil)
	if err != nil {
		return gitrepo.Hash{}, err
	}
	return r.writeMerge(ctx, commits, files, newest)
}

// union gives the logs in which commits differ from base, each the union of all its versions without the lines of dead repositories, and the date of the
// newest commit. It is nil for a log of which nothing is left.
func (r *Repo) union(base gitrepo.Hash, commits []gitrepo.Hash, dead map[string]bool) (files map[string][]byte, newest time.Time, err error) {
	versions := make(map[string][]gitrepo.Hash)
	for _, c := range commits {
		info, err := r.git.Commit(c)
		if err != nil {
			return nil, newest, fmt.Errorf("merge git-annex branch: %w", err)
		}
		if info.Committer.When.After(newest) {
			newest = info.Committer.When
		}
		changes, err := r.git.Diff(base, c)
		if err != nil {
			return nil, newest, fmt.Errorf("merge git-annex branch: %w", err)
		}
		for _, change := range changes {
			if versions[change.Path] == nil && change.Old.Mode.IsRegular() {
				versions[change.Path] = append(versions[change.Path], change.Old.Hash)
			}
			if change.New.Mode.IsRegular() {
				versions[change.Path] = append(versions[change.Path], change.New.Hash)
			}
		}
	}
	files = make(map[string][]byte, len(versions))
	for path, blobs := range versions {
		contents := make([][]byte, len(blobs))
		for i, h := range blobs {
			content, err := r.branch.blob(h)
			if err != nil {
				return nil, newest, fmt.Errorf("merge %s: %w", path, err)
			}
			contents[i] = dropDead(path, content, dead)
		}
		if files[path], _ = unionMerge(contents); len(files[path]) == 0 && dead != nil {
			files[path] = nil
		}
	}
	return files, newest, nil
}

// writeMerge writes a commit with new versions of logs on top of the first of its parents, which may be none.
func (r *Repo) writeMerge(ctx context.Context, parents []gitrepo.Hash, files map[string][]byte, newest time.Time) (gitrepo.Hash, error) {
	who := gitrepo.Signature{Name: "Arbor", Email: "arbor@localhost", When: newest.UTC()}
	c := gitrepo.NewCommit{Parents: parents, Message: "merge git-annex branches", Author: &who, Committer: &who}
	if len(parents) > 0 {
		c.Base = parents[0]
	}
	return r.writeCommit(ctx, c, files)
}

// putBackOwn merges what was written here back into the branch when somebody has overwritten it. A branch whose history was rewritten on purpose
// keeps its rewriting. Either way the branch is what counts as written here from then on. The branch is locked.
func (r *Repo) putBackOwn(ctx context.Context) error {
	own, err := r.branch.ref(ownRef)
	if err != nil || own.IsZero() {
		return err
	}
	head, err := r.branch.current()
	if err != nil || head == own {
		return err
	}
	if !head.IsZero() {
		kept, err := r.git.IsAncestor(ctx, own, head)
		if err != nil {
			return fmt.Errorf("look for own commits in git-annex branch: %w", err)
		}
		if kept {
			return nil
		}
	}
	if head, _, err = r.mergeOnce(ctx, []gitrepo.Hash{own}); err != nil {
		return err
	}
	if own, err = r.branch.ref(ownRef); err != nil || own == head {
		return err
	}
	err = r.git.UpdateRefs(ctx, []gitrepo.RefUpdate{{Name: ownRef, New: head, Old: own}}, "arbor: follow rewritten history")
	if err != nil {
		return fmt.Errorf("follow rewritten git-annex branch: %w", err)
	}
	return nil
}
