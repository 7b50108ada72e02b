package transfer_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
)

// TestMain lets the test program be a process that can be killed: it gets one key into a repository from an address.
func TestMain(m *testing.M) {
	if dir := os.Getenv("TRANSFER_TEST_GET"); dir != "" {
		if err := get(dir, os.Getenv("TRANSFER_TEST_FROM"), os.Getenv("TRANSFER_TEST_KEY")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Each random try is a repository with its transfers.
	if err := flag.Set("rapid.checks", "30"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func get(dir, address, wanted string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	key, err := annex.ParseKey(wanted)
	if err != nil {
		return err
	}
	git, err := gitrepo.Open(ctx, dir)
	if err != nil {
		return err
	}
	repo, err := annex.Open(ctx, git)
	if err != nil {
		return err
	}
	q := transfer.New(transfer.Options{
		Repo:    repo,
		Holders: each(func(annex.Key) []transfer.Holder { return []transfer.Holder{{Clone: "a"}} }),
		Open: func(ctx context.Context, _ string) (*p2p.Client, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			return p2p.NewClient(ctx, conn, p2p.ClientOptions{Self: "client", Greeted: true})
		},
		Event: func(e transfer.Event) {
			if e.State == transfer.Present {
				cancel()
			}
		},
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	q.Add(transfer.Job{Key: key})
	_ = q.Run(ctx)
	return nil
}
