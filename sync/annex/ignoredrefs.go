package annex

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// git-annex merges the commits of all references */git-annex with its next command, but for those that this file lists, one a line (Annex/Branch.hs
// ignoreRefs). It puts there what is behind its own branch in transitions; and so must we, for git-annex would merge them once more and, seen with
// 10.20230126 and 10.20261026, bring back lines of dead repositories: it takes them out of the logs that its branch has, and so not out of one that was
// forgotten with all its lines.
const ignoredRefs = "ignoredrefs"

// ignored gives the commits that git-annex ignores.
func (r *Repo) ignored() ([]string, error) {
	content, err := os.ReadFile(filepath.Join(r.dir, ignoredRefs))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read what git-annex ignores: %w", err)
	}
	return strings.Fields(string(content)), nil
}

// ignore has git-annex ignore commits, too. The branch is locked.
func (r *Repo) ignore(commits []gitrepo.Hash) error {
	lines, err := r.ignored()
	if err != nil {
		return err
	}
	known := len(lines)
	for _, h := range commits {
		if !slices.Contains(lines[:known], h.String()) {
			lines = append(lines, h.String())
		}
	}
	if len(lines) == known {
		return nil
	}
	slices.Sort(lines)
	if err := replaceFile(filepath.Join(r.dir, ignoredRefs), []byte(strings.Join(lines, "\n")+"\n")); err != nil {
		return fmt.Errorf("write what git-annex is to ignore: %w", err)
	}
	return nil
}

// siblings gives the commits that git-annex would merge with its next command.
func (r *Repo) siblings(ctx context.Context) ([]gitrepo.Hash, error) {
	ignored, err := r.ignored()
	if err != nil {
		return nil, err
	}
	refs, err := r.git.Refs(ctx, "refs/")
	if err != nil {
		return nil, fmt.Errorf("look for git-annex branches: %w", err)
	}
	var commits []gitrepo.Hash
	for name, h := range refs {
		if strings.HasSuffix(name, "/git-annex") && !slices.Contains(ignored, h.String()) && r.git.Has(h) {
			commits = append(commits, h)
		}
	}
	return commits, nil
}
