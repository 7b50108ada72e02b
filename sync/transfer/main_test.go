package transfer_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
)

// TestMain lets the test program be a process that can be killed: it gets the keys that it reads, one a line, into a repository from an address, and
// writes those that have come.
func TestMain(m *testing.M) {
	if dir := os.Getenv("TRANSFER_TEST_GET"); dir != "" {
		if err := get(dir, os.Getenv("TRANSFER_TEST_FROM"), os.Stdin); err != nil {
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

func get(dir, address string, wanted io.Reader) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	git, err := gitrepo.Open(ctx, dir)
	if err != nil {
		return err
	}
	repo, err := annex.Open(ctx, git)
	if err != nil {
		return err
	}
	var all []transfer.Job
	lines := bufio.NewScanner(wanted)
	for lines.Scan() {
		key, err := annex.ParseKey(lines.Text())
		if err != nil {
			return err
		}
		all = append(all, transfer.Job{Key: key})
	}
	var missing atomic.Int64
	missing.Store(int64(len(all)))
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
			if e.State != transfer.Present {
				return
			}
			_, _ = fmt.Fprintln(os.Stdout, e.Job.Key)
			if missing.Add(-1) == 0 {
				cancel()
			}
		},
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	q.Add(all...)
	_ = q.Run(ctx)
	return nil
}
