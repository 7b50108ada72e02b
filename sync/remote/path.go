package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
)

// pathSession copies between two annexes of this machine.
type pathSession struct {
	remote *Remote
	git    *gitrepo.Repo
	there  *annex.Repo
	limits p2p.Limits
}

// openPath opens a repository on this machine. What has a work tree, and what Arbor cannot keep sound, is left to git-annex-shell where
// that is installed: it puts what comes into the files, too.
func openPath(ctx context.Context, r *Remote, limits p2p.Limits) (Session, error) {
	uuid, err := r.readUUID(ctx)
	switch {
	case err != nil:
		return nil, err
	case uuid != r.UUID:
		return nil, fmt.Errorf("%w: %q, not %q", ErrOther, uuid, r.UUID)
	}
	_, err = exec.LookPath("git-annex-shell")
	installed := err == nil
	if _, err := os.Lstat(filepath.Join(r.place.dir, ".git")); err == nil && installed {
		return openShell(ctx, r, limits)
	}
	git, err := gitrepo.Open(ctx, r.place.dir)
	var there *annex.Repo
	if err == nil {
		if there, err = annex.Open(ctx, git); err != nil {
			git.Close()
		}
	}
	_, refused := errors.AsType[*annex.Refused](err)
	_, unsupported := errors.AsType[*gitrepo.Unsupported](err)
	switch {
	case installed && (refused || unsupported):
		return openShell(ctx, r, limits)
	case errors.Is(err, fs.ErrNotExist):
		return nil, unreachable(err)
	case err != nil:
		return nil, err
	}
	return &pathSession{remote: r, git: git, there: there, limits: limits}, nil
}

// find gives where content is, or would be. It is gitrepo.ErrUnreachable when that cannot be told.
func (s *pathSession) find(key annex.Key) (path string, present bool, err error) {
	path, present = s.there.ObjectPath(key)
	if err := s.git.Vanished(); err != nil {
		return "", false, unreachable(err)
	}
	if _, err := os.Lstat(path); !present && !errors.Is(err, fs.ErrNotExist) {
		return "", false, unreachable(fmt.Errorf("%s cannot be read: %w", path, err))
	}
	return path, present, nil
}

func (s *pathSession) Has(_ context.Context, key annex.Key) (bool, error) {
	_, present, err := s.find(key)
	return present, err
}

func (s *pathSession) Get(ctx context.Context, key annex.Key, _ string, progress func(int64)) error {
	path, present, err := s.find(key)
	if err != nil {
		return err
	}
	if !present {
		return fmt.Errorf("get %s: %w", key, p2p.ErrAbsent)
	}
	src, err := openContent(key, path)
	if err != nil {
		return fmt.Errorf("get %s: %w", key, err)
	}
	defer src.Close()
	return arrival{s.remote.repo, key, s.remote.UUID, progress}.copy(ctx, src, s.limits.Down)
}

func (s *pathSession) Put(ctx context.Context, key annex.Key, _ string, progress func(int64)) error {
	if _, _, err := s.find(key); err != nil {
		return err
	}
	src, err := s.remote.outgoing(key)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := (arrival{s.there, key, s.remote.repo.UUID(), progress}).copy(ctx, src, s.limits.Up); err != nil {
		return err
	}
	_, err = s.there.Record(ctx, []annex.Location{{Key: key, UUID: s.remote.UUID, Present: true}})
	return err
}

func (s *pathSession) Lock(_ context.Context, key annex.Key) (unlock func(context.Context) error, err error) {
	if _, _, err := s.find(key); err != nil {
		return nil, err
	}
	release, ok, err := s.there.LockContent(key)
	if err == nil && !ok {
		err = fmt.Errorf("lock %s: %w", key, p2p.ErrFailed)
	}
	return func(context.Context) error { release(); return nil }, err
}

func (s *pathSession) Close() error { return errors.Join(s.there.Close(), s.git.Close()) }
