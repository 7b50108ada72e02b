package p2p_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
)

// TestMain lets the test program stand in for two others, by the name it is run under: git-annex-shell, served by this
// package, and an ssh that reaches it, so that the real git-annex can be the client.
func TestMain(m *testing.M) {
	var err error
	switch filepath.Base(os.Args[0]) {
	case "git-annex-shell":
		err = shell(os.Args[1:])
	case "ssh":
		err = ssh(os.Args[1:])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0])+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// ssh runs the command here, for one host alone.
func ssh(args []string) error {
	if len(args) < 2 || !slices.Contains(args[:len(args)-1], "here") {
		return errors.New("no route to host")
	}
	cmd := exec.Command("sh", "-c", args[len(args)-1])
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// shell is git-annex-shell as far as git-annex needs it: configlist DIR, and p2pstdio DIR CLIENT --uuid UUID.
func shell(args []string) error {
	if len(args) == 1 && strings.HasPrefix(args[0], "-c") || len(args) == 2 && args[0] == "-c" {
		args = strings.Fields(args[len(args)-1])
	}
	if len(args) < 2 {
		return errors.New("usage")
	}
	ctx, dir := context.Background(), args[1]
	git, err := gitrepo.Open(ctx, dir)
	if err != nil {
		return err
	}
	switch {
	case args[0] == "configlist":
		fmt.Fprintf(os.Stdout, "annex.uuid=%s\ncore.gcrypt-id=\n", git.Config("annex.uuid"))
		return nil
	case args[0] != "p2pstdio" || len(args) < 3:
		return fmt.Errorf("unknown command %q", args[0])
	}
	s, err := newServer(ctx, git)
	if err != nil {
		return err
	}
	return s.ServeAuthed(ctx, stdio{os.Stdin, os.Stdout}, args[2])
}

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

// stdio is a connection over standard input and output.
type stdio struct {
	io.Reader
	io.WriteCloser
}

func (c stdio) Close() error {
	_ = os.Stdin.Close()
	return c.WriteCloser.Close()
}
