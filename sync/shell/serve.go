package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/watch"
)

// idle is how long a client may ask nothing: it keeps the connection for as long as it runs, and ssh knows when it is gone.
const idle = 7 * 24 * time.Hour

// p2pStdio serves contents to a client.
func (s *Shell) p2pStdio(ctx context.Context, git *gitrepo.Repo, repo *annex.Repo, client string) error {
	files := &pointers{git: git, repo: repo}
	server := &p2p.Server{
		UUID: repo.UUID(), Annex: repo, ReadOnly: s.set(envReadOnly), Idle: idle, Log: s.Log,
		Stored: func(ctx context.Context, key annex.Key, _ string) error {
			// The files first: the branch wakes an agent, which then has nothing to do for them.
			if err := files.populate(ctx, key); err != nil {
				s.Log.Warn("files stay without their content", "key", key, "err", err)
			}
			_, err := repo.Record(ctx, []annex.Location{{Key: key, UUID: repo.UUID(), Present: true}})
			return err
		},
	}
	if !s.set(envAppendOnly) {
		server.Remove = repo.RemoveAsked
	}
	return server.ServeAuthed(ctx, stdio{s.Stdin, s.Stdout}, client)
}

// stdio is the connection to the client.
type stdio struct {
	in, out *os.File
}

func (c stdio) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c stdio) Write(p []byte) (int, error) { return c.out.Write(p) }
func (c stdio) Close() error                { return errors.Join(c.in.Close(), c.out.Close()) }

// notifyChanges tells the client of branches and tags that move, by the hashes they move to, until it closes.
func (s *Shell) notifyChanges(ctx context.Context, git *gitrepo.Repo) error {
	w, err := watch.NewRefs(git.GitDir(), s.Log)
	if err != nil {
		return err
	}
	ctx, hungUp := context.WithCancel(ctx)
	defer hungUp()
	var g errgroup.Group
	g.Go(func() error { return w.Run(ctx) })
	g.Go(func() error { return s.tellChanges(ctx, git, w.Events()) })
	_, _ = io.Copy(io.Discard, s.Stdin) // nothing that it says matters but the end
	hungUp()
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// tellChanges says READY when nothing can be missed any more, and then what changes. There is a line for each hash: git-annex fetches nothing when
// it knows one of those on a line (RemoteDaemon/Common.hs, checkNewShas).
func (s *Shell) tellChanges(ctx context.Context, git *gitrepo.Repo, events <-chan watch.Event) error {
	var before map[string]gitrepo.Hash
	for range events {
		now, err := git.Refs(ctx, "refs/")
		if err != nil {
			if ctx.Err() == nil {
				s.Log.Warn("read references", "err", err)
			}
			continue // until it changes again
		}
		text := ""
		if before == nil {
			text = "READY\n"
		} else {
			for _, name := range slices.Sorted(maps.Keys(now)) {
				if now[name] != before[name] && (strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/")) {
					text += fmt.Sprintf("CHANGED %s\n", now[name])
				}
			}
		}
		before = now
		if _, err := io.WriteString(s.Stdout, text); err != nil {
			return fmt.Errorf("tell client: %w", err)
		}
	}
	return ctx.Err()
}
