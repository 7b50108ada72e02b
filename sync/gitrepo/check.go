package gitrepo

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// checkObject checks the form of an object from a peer, as far as it could hurt: a tree that git would sort
// otherwise or refuse to check out, a commit without tree or people.
func checkObject(kind plumbing.ObjectType, data []byte) error {
	switch kind {
	case plumbing.TreeObject:
		return checkTree(data)
	case plumbing.CommitObject:
		return checkCommit(data)
	case plumbing.TagObject:
		if !bytes.HasPrefix(data, []byte("object ")) {
			return fmt.Errorf("%w: tag without object", ErrMalformed)
		}
	}
	return nil
}

func checkTree(data []byte) error {
	entries, err := parseTree(data)
	if err != nil {
		return err
	}
	seen := make(map[string]bool, len(entries))
	for i, e := range entries {
		if err := validName(e.Name); err != nil {
			return err
		}
		if bytes.IndexByte([]byte(e.Name), '/') >= 0 {
			return fmt.Errorf("%w: slash in the name %q", ErrMalformed, e.Name)
		}
		if e.Hash.IsZero() {
			return fmt.Errorf("%w: %q has no object", ErrMalformed, e.Name)
		}
		if seen[e.Name] {
			return fmt.Errorf("%w: %q twice", ErrMalformed, e.Name)
		}
		seen[e.Name] = true
		if i > 0 && compareTreeNames(entries[i-1].Name, entries[i-1].isDir(), e.Name, e.isDir()) >= 0 {
			return fmt.Errorf("%w: tree not sorted at %q", ErrMalformed, e.Name)
		}
	}
	return nil
}

func checkCommit(data []byte) error {
	if len(data) > maxCommitSize {
		return ErrTooBig
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return fmt.Errorf("%w: NUL in a commit", ErrMalformed)
	}
	c, err := parseCommit(data)
	if err != nil {
		return err
	}
	if c.Tree.IsZero() || c.Author.When.IsZero() || c.Committer.When.IsZero() {
		return fmt.Errorf("%w: commit without tree, author or committer", ErrMalformed)
	}
	return nil
}

// Complete checks that everything commit needs is here, up to what references already reach. ErrNotFound if not. Any
// goroutine may call it.
func (r *Repo) Complete(ctx context.Context, commit Hash) error {
	refs, err := r.Refs(ctx, "refs/")
	if err != nil {
		return err
	}
	tips := make([]Hash, 0, len(refs))
	for _, h := range refs {
		if o, err := r.objects.read(h, maxCommitSize); err == nil && o.kind == plumbing.CommitObject {
			tips = append(tips, h)
		}
	}
	commits, err := r.newCommits(ctx, commit, tips, 0)
	if err != nil {
		return fmt.Errorf("check %s: %w", commit, err)
	}
	checked := make(map[Hash]bool)
	for _, h := range slices.Backward(commits) {
		c, err := r.Commit(h)
		if err != nil {
			return fmt.Errorf("check %s: %w", commit, err)
		}
		var base Hash
		if len(c.Parents) > 0 {
			if base, err = r.rootTree(c.Parents[0]); err != nil {
				return fmt.Errorf("check %s: %w", commit, err)
			}
		}
		if err := r.objects.completeTree(ctx, c.Tree, base, checked); err != nil {
			return fmt.Errorf("check %s: %w", commit, err)
		}
	}
	return nil
}

// completeTree checks that a tree and all below it is here, given that base, the tree at the same place in a complete
// commit, is.
func (s *objectStore) completeTree(ctx context.Context, tree, base Hash, checked map[Hash]bool) error {
	if tree == base || checked[tree] {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := s.tree(tree)
	if err != nil {
		return err
	}
	old := make(map[string]Entry)
	olds, err := s.tree(base)
	if err != nil {
		return err
	}
	for _, e := range olds {
		old[e.Name] = e.Entry
	}
	for _, e := range entries {
		before := old[e.Name]
		switch {
		case before == e.Entry || e.Mode == ModeGitlink || checked[e.Hash]:
		case e.isDir():
			if !before.isDir() {
				before = Entry{}
			}
			if err := s.completeTree(ctx, e.Hash, before.Hash, checked); err != nil {
				return err
			}
		case !s.has(e.Hash):
			return fmt.Errorf("blob %s: %w", e.Hash, ErrNotFound)
		default:
			checked[e.Hash] = true
		}
	}
	checked[tree] = true
	return nil
}
