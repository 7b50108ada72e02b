package p2p_test

import (
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
)

// newServer serves all there is to serve.
func newServer(ctx context.Context, git *gitrepo.Repo) (*p2p.Server, error) {
	repo, err := annex.Open(ctx, git)
	if err != nil {
		return nil, err
	}
	return &p2p.Server{
		UUID:  repo.UUID(),
		Annex: repo,
		Upload: func(ctx context.Context, conn io.ReadWriteCloser) error {
			return git.Serve(ctx, p2p.UploadPack, conn)
		},
		Stored: func(ctx context.Context, key annex.Key, _ string) error {
			_, err := repo.Record(ctx, []annex.Location{{Key: key, UUID: repo.UUID(), Present: true}})
			return err
		},
		Remove: repo.RemoveAsked,
		Log:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}, nil
}
