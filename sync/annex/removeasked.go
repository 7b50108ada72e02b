package annex

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// ErrRequired says that content stays because this clone must keep it, as its required content is set (git-annex-required(1)).
var ErrRequired = errors.New("required content")

// ErrTooFewCopies says that content stays because too few other repositories have it.
var ErrTooFewCopies = errors.New("too few other copies")

// RemoveAsked removes content because the client of a P2P session asks for it. The protocol leaves all safety to the client, which has locked
// other copies if it is git-annex; here the location log must agree that there are enough: repositories that are not Untrusted or Dead, and
// the client, which counts for its own copy (`git annex move` has not told anybody of it yet). inTime is asked last, under the lock for
// removal, and the content kept when it says no.
func (r *Repo) RemoveAsked(ctx context.Context, k Key, client string, inTime func() bool) error {
	if err := r.removeAsked(ctx, k, client, inTime); err != nil {
		return fmt.Errorf("remove %s for %s: %w", k, client, err)
	}
	return nil
}

func (r *Repo) removeAsked(ctx context.Context, k Key, client string, inTime func() bool) error {
	branch, head, err := r.git.Head(ctx)
	if err != nil {
		return err
	}
	files, err := r.FilesOf(ctx, head, map[Key]bool{k: true})
	if err != nil {
		return err
	}
	settings, err := r.Wanted(ctx)
	if err != nil {
		return err
	}
	logged, err := r.Locations(ctx, k)
	if err != nil {
		return err
	}
	path := ""
	if len(files[k]) > 0 {
		path = files[k][0]
	}
	if required, err := settings.Requires(r.uuid, r.WantedFile(ctx, k, path, logged), files[k]...); err != nil || required {
		return cmp.Or(err, ErrRequired)
	}
	copies, err := r.Copies(ctx, files[k], 0)
	if err != nil {
		return err
	}
	l, err := r.LockForRemoval(k)
	if err != nil {
		return err
	}
	defer l.Release()
	holders, err := r.Holders(ctx, k, client)
	if err != nil {
		return err
	}
	if have := len(holders.Trusted) + len(holders.Provable); have < copies.Elsewhere() {
		return fmt.Errorf("%w: %d of %d", ErrTooFewCopies, have, copies.Elsewhere())
	}
	if !inTime() {
		return context.DeadlineExceeded
	}
	index, err := l.Remove(ctx, files[k])
	if err != nil {
		return err
	}
	if len(index) > 0 {
		// Where somebody moves the branch meanwhile, git looks at the files anew.
		_ = r.git.Advance(ctx, gitrepo.Advance{Ref: branch, Old: head, New: head, Index: index})
	}
	_, err = r.Record(ctx, []Location{{Key: k, UUID: r.uuid}})
	return err
}
