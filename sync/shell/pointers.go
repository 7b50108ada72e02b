package shell

import (
	"context"
	"fmt"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// pointers knows the unlocked files of a work tree by what they point at. A commit is listed once.
type pointers struct {
	git  *gitrepo.Repo
	repo *annex.Repo

	head   gitrepo.Hash
	byBlob map[gitrepo.Hash][]string
}

// populate gives the unlocked files that have a key their content, as git-annex-shell does. The index follows if nobody moves the branch
// meanwhile; else git looks at the files anew.
func (p *pointers) populate(ctx context.Context, k annex.Key) error {
	if p.git.Bare() {
		return nil
	}
	branch, head, err := p.git.Head(ctx)
	if err != nil || head.IsZero() {
		return err
	}
	if err := p.list(head); err != nil {
		return err
	}
	paths := p.byBlob[gitrepo.HashBlob(annex.Pointer(k))]
	if len(paths) == 0 {
		return nil
	}
	index, err := p.repo.Populate(ctx, k, paths)
	if err != nil || len(index) == 0 {
		return err
	}
	if err := p.git.Advance(ctx, gitrepo.Advance{Ref: branch, Old: head, New: head, Index: index}); err != nil {
		return fmt.Errorf("refresh index: %w", err)
	}
	return nil
}

func (p *pointers) list(head gitrepo.Hash) error {
	if p.head == head && p.byBlob != nil {
		return nil
	}
	byBlob := make(map[gitrepo.Hash][]string)
	err := p.git.Files(head, func(path string, e gitrepo.Entry) error {
		if e.Mode.IsRegular() {
			byBlob[e.Hash] = append(byBlob[e.Hash], path)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	p.head, p.byBlob = head, byBlob
	return nil
}
