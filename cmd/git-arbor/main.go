// Command git-arbor keeps the clones of a git or git-annex repository in step. Installed under this name it is also
// `git arbor`; as git-annex-shell it serves git-annex's own clients.
//
// It is the only place that prints, parses a command line or decides on exit codes. There is one file for each verb; what a
// verb does beyond that is asked of the running agent over its socket, or done by package agent.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/git-arbor/arbor/sync/shell"
)

func main() { os.Exit(run()) }

func run() int {
	if filepath.Base(os.Args[0]) == shell.Name {
		return annexShell(os.Args[1:])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks everything to end in order; a second one, no longer caught, ends the process.
	context.AfterFunc(ctx, stop)
	defer stop()
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	return a.main(ctx, os.Args[1:])
}
