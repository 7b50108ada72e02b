package agent

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// A git command of the person's that goes to another commit, as checkout, reset, stash, merge and rebase do, changes files
// first, then the index, which is locked meanwhile, and HEAD or its branch last. In between, the files of one commit look
// like edits of another.

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
