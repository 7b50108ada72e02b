package annex

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// transitionsLog says which rewritings of its history (`git annex forget`) a git-annex branch has been through.
const transitionsLog = "transitions.log"

// Merge merges other clones' git-annex branches into this one's by union. Clones that merge the same commits get the same commit. changed are
// the keys whose location logs differ from before. Heads whose history was rewritten (`git annex forget`) are left out, and make the
// error a *Refused, after the others were merged.
func (r *Repo) Merge(ctx context.Context, heads []gitrepo.Hash) (head gitrepo.Hash, changed []Key, err error) {
	unlock, err := r.lockBranch(ctx)
	if err != nil {
		return gitrepo.Hash{}, nil, err
	}
	defer unlock()
	b := r.branch
	b.mu.Lock()
	defer b.mu.Unlock()
	before, err := b.current()
	if err != nil {
		return gitrepo.Hash{}, nil, err
	}
	var refused error
	head, err = retryMoved(func() (h gitrepo.Hash, err error) {
		if err := r.settle(ctx); err != nil {
			return gitrepo.Hash{}, err
		}
		h, refused, err = r.mergeOnce(ctx, heads)
		return h, err
	})
	if err != nil {
		return gitrepo.Hash{}, nil, err
	}
	if changed, err = b.changedKeys(before, head); err != nil {
		return gitrepo.Hash{}, nil, err
	}
	return head, changed, refused
}

// mergeOnce moves the branch to the union of itself and heads. refused names heads that were left out.
func (r *Repo) mergeOnce(ctx context.Context, heads []gitrepo.Hash) (head gitrepo.Hash, refused, err error) {
	old, err := r.branch.current()
	if err != nil {
		return gitrepo.Hash{}, nil, err
	}
	heads, refused, err = r.branch.sameTransitions(old, heads)
	if err != nil {
		return gitrepo.Hash{}, nil, err
	}
	if heads, err = r.newest(ctx, append([]gitrepo.Hash{old}, heads...)); err != nil {
		return gitrepo.Hash{}, nil, err
	}
	switch len(heads) {
	case 0:
		return gitrepo.Hash{}, refused, nil
	case 1:
		head = heads[0]
	default:
		if head, err = r.writeUnion(ctx, heads); err != nil {
			return gitrepo.Hash{}, nil, err
		}
	}
	if head == old {
		return old, refused, nil
	}
	return head, refused, r.moveBranch(ctx, old, head, "arbor: merge")
}

// sameTransitions gives the heads that went through the same rewritings as old, or, when there is no old, as the most rewritten head. A union
// with one that did not would bring back what was forgotten.
func (b *branch) sameTransitions(old gitrepo.Hash, heads []gitrepo.Hash) (same []gitrepo.Hash, refused, err error) {
	logs := make(map[gitrepo.Hash][]byte)
	for _, h := range append([]gitrepo.Hash{old}, heads...) {
		if logs[h], err = b.transitions(h); err != nil {
			return nil, nil, err
		}
	}
	want := logs[old]
	if old.IsZero() {
		for _, log := range logs {
			if len(log) > len(want) || len(log) == len(want) && bytes.Compare(log, want) > 0 {
				want = log
			}
		}
	}
	for _, h := range heads {
		switch {
		case h.IsZero():
		case bytes.Equal(logs[h], want):
			same = append(same, h)
		default:
			refused = &Refused{
				What: fmt.Sprintf("the git-annex branch at %s and the one here do not share the same rewritings of history", h),
				Hint: "run git annex merge, which knows what was forgotten and why",
			}
		}
	}
	return same, refused, nil
}

// transitions gives the lines of a commit's transitions.log, sorted.
func (b *branch) transitions(commit gitrepo.Hash) ([]byte, error) {
	h, err := b.committed(commit, transitionsLog)
	if err != nil {
		return nil, err
	}
	content, err := b.blob(h)
	if err != nil {
		return nil, err
	}
	return bytes.Join(sortedLines(content), []byte("\n")), nil
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
	versions := make(map[string][]gitrepo.Hash)
	var newest time.Time
	for i, c := range commits {
		info, err := r.git.Commit(c)
		if err != nil {
			return gitrepo.Hash{}, fmt.Errorf("merge git-annex branch: %w", err)
		}
		if info.Committer.When.After(newest) {
			newest = info.Committer.When
		}
		if i == 0 {
			continue
		}
		changes, err := r.git.Diff(commits[0], c)
		if err != nil {
			return gitrepo.Hash{}, fmt.Errorf("merge git-annex branch: %w", err)
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
	files := make(map[string][]byte, len(versions))
	for path, blobs := range versions {
		contents := make([][]byte, len(blobs))
		for i, h := range blobs {
			var err error
			if contents[i], err = r.branch.blob(h); err != nil {
				return gitrepo.Hash{}, fmt.Errorf("merge %s: %w", path, err)
			}
		}
		files[path], _ = unionMerge(contents)
	}
	who := gitrepo.Signature{Name: "Arbor", Email: "arbor@localhost", When: newest.UTC()}
	return r.writeCommit(ctx, gitrepo.NewCommit{
		Parents: commits, Base: commits[0], Message: "merge git-annex branches", Author: &who, Committer: &who,
	}, files)
}

// putBackOwn merges what was written here back into the branch when somebody has overwritten it. A branch whose history was rewritten on purpose
// keeps its rewriting, and is what counts as written here from then on. The branch is locked.
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
	_, refused, err := r.mergeOnce(ctx, []gitrepo.Hash{own})
	if err != nil || refused == nil {
		return err
	}
	err = r.git.UpdateRefs(ctx, []gitrepo.RefUpdate{{Name: ownRef, New: head, Old: own}}, "arbor: follow rewritten history")
	if err != nil {
		return fmt.Errorf("follow rewritten git-annex branch: %w", err)
	}
	return nil
}
