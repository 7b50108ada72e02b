package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/git-arbor/arbor/sync/shell"
)

// annexShell is the program under the name git-annex-shell. Signals end it at once: it is made to be killed at any time, and reads from a client
// that may never say anything again.
func annexShell(args []string) int {
	s := &shell.Shell{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if err := s.Run(context.Background(), args); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", shell.Name, err)
		return exitError
	}
	return exitOK
}
