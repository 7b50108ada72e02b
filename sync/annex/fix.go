package annex

import (
	"context"
	"fmt"
	"io/fs"
	"os"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// FixLink makes a symbolic link of the work tree that stands for an annexed file, and was seen with st, lead to the object from where the link now
// is, as `git annex fix` does: a link that is moved into another directory dangles. ok is false when the link is none of an annexed file, or is
// right. The error wraps gitrepo.ErrChanged when the link changed meanwhile.
func (r *Repo) FixLink(ctx context.Context, path string, st gitrepo.Stat) (fixed Added, ok bool, err error) {
	target, err := os.Readlink(r.workPath(path))
	if err != nil {
		return Added{}, false, fmt.Errorf("fix link: %w", err)
	}
	k, annexed := ParseLink(target)
	if !annexed || target == LinkTarget(path, k) {
		return Added{}, false, nil
	}
	dir, release, err := r.tmpDir(ctx)
	if err != nil {
		return Added{}, false, fmt.Errorf("fix link: %w", err)
	}
	defer release()
	fixed, err = r.placeLink(dir, path, k, st, func(replaced string) bool {
		now, err := os.Readlink(replaced)
		return err == nil && now == target
	})
	if err != nil {
		return Added{}, false, fmt.Errorf("fix link %s: %w", path, err)
	}
	return fixed, true, nil
}

// FixPointer corrects a file of the work tree that was seen with st, and is a pointer to a key which is not here, while git has it as old: a key that is
// here, and of the same content. git-annex makes a file such a pointer when it drops a key with an extension that the file once had, for its keys
// database may still name the file (seen with 10.20230126 and 10.20261026). The file becomes a pointer to old, which is to be populated. ok is
// false when the file is something else. The error wraps gitrepo.ErrChanged when it changed meanwhile.
func (r *Repo) FixPointer(ctx context.Context, path string, st gitrepo.Stat, old gitrepo.Entry) (fixed Added, ok bool, err error) {
	seen, mistaken, err := r.readPointer(path)
	k, pointer := ParsePointer(mistaken)
	if err != nil || !pointer {
		return Added{}, false, err
	}
	right, annexed := EntryKey(r.git, old)
	if !annexed || k == right || k.Digest() == "" || k.Digest() != right.Digest() || r.Has(k) || !r.Has(right) {
		return Added{}, false, nil
	}
	if seen != st {
		return Added{}, false, fmt.Errorf("fix pointer %s: %w", path, gitrepo.ErrChanged)
	}
	dir, release, err := r.tmpDir(ctx)
	if err != nil {
		return Added{}, false, fmt.Errorf("fix pointer: %w", err)
	}
	defer release()
	tmp, err := writeTemp(dir, Pointer(right), fs.FileMode(st.Mode&0o777))
	if err != nil {
		return Added{}, false, fmt.Errorf("fix pointer: %w", err)
	}
	if err := r.replace(path, tmp, st, stillPointer(mistaken)); err != nil {
		return Added{}, false, fmt.Errorf("fix pointer %s: %w", path, err)
	}
	now, err := r.git.Stat(path)
	if err != nil {
		return Added{}, false, fmt.Errorf("fix pointer %s: %w", path, err)
	}
	return Added{Key: right, Mode: r.gitMode(st, old), Content: Pointer(right), Stat: now, Here: true}, true, nil
}
