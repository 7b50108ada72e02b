package gitrepo

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
)

// Status is the slow audit: the paths, sorted, that `git status` finds differing from HEAD or the index, or untracked
// and not ignored. Other repositories inside the work tree are left out. An annexed file that the index is not sure of
// counts as differing: git-annex's filter, which could tell, would write the index.
func (r *Repo) Status(ctx context.Context) ([]string, error) {
	args := append(slices.Clone(withoutAnnexFilter), "-c", "status.relativePaths=false", "status", "--porcelain=v2", "-z",
		"--untracked-files=all", "--ignored=no", "--no-renames", "--ignore-submodules=all")
	out, err := r.git(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("audit work tree: %w", err)
	}
	var paths []string
	for rec := range bytes.SplitSeq(out, []byte{0}) {
		path, ok := statusPath(string(rec))
		if ok && !strings.HasSuffix(path, "/") {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// Maintain lets git pack what has gathered, when git thinks that it is time (gc.auto): every commit made here leaves some
// loose objects. It takes seconds in a large repository, and may run beside everything else.
func (r *Repo) Maintain(ctx context.Context) error {
	if _, err := r.git(ctx, "-c", "gc.autoDetach=false", "gc", "--auto", "--quiet"); err != nil {
		return fmt.Errorf("maintain repository: %w", err)
	}
	return nil
}

// statusPath takes the path out of one record of git-status(1) porcelain version 2.
func statusPath(rec string) (string, bool) {
	fields := 0
	switch {
	case strings.HasPrefix(rec, "1 "):
		fields = 8
	case strings.HasPrefix(rec, "u "):
		fields = 10
	case strings.HasPrefix(rec, "? "):
		fields = 1
	default:
		return "", false
	}
	parts := strings.SplitN(rec, " ", fields+1)
	if len(parts) != fields+1 {
		return "", false
	}
	return parts[fields], true
}
