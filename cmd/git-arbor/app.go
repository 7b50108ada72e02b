package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// Exit codes, as `git arbor -h` lists them.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitNotRunning  = 3
	exitNotReached  = 4
	exitInterrupted = 130
)

const exitCodes = `Exit status: 0 done, 1 failed, 2 wrong usage, 3 no agent is running, 4 the asked state was not reached,
130 interrupted.`

// app is what a verb may touch of the world.
type app struct {
	stdin  *os.File
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string

	started bool // a verb was found and its command line was right
}

// notReached is an error for exit code 4.
type notReached struct {
	text, hint string
}

func (e *notReached) Error() string { return e.text }
func (e *notReached) Hint() string  { return e.hint }

// hinted adds the next step to an error.
type hinted struct {
	error
	hint string
}

func (e *hinted) Hint() string  { return e.hint }
func (e *hinted) Unwrap() error { return e.error }

// main runs one command line and returns the exit code.
func (a *app) main(ctx context.Context, args []string) int {
	root := a.newRootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil {
		return exitInterrupted
	}
	if !a.started {
		a.printError(usageError(root, args, err))
		return exitUsage
	}
	a.printError(err)
	if errors.Is(err, control.ErrNotRunning) {
		return exitNotRunning
	}
	if _, ok := errors.AsType[*notReached](err); ok {
		return exitNotReached
	}
	return exitError
}

func (a *app) printError(err error) {
	fmt.Fprintf(a.stderr, "error: %s\n", strings.ReplaceAll(printable(err.Error()), "\n", "\n       "))
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", printable(hint))
	}
}

// hintOf finds the next step that an error, or one that it wraps, knows of.
func hintOf(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	if e, ok := errors.AsType[*gitrepo.Unsupported](err); ok {
		return e.Hint
	}
	if e, ok := errors.AsType[*annex.Refused](err); ok {
		return e.Hint
	}
	return ""
}

func (a *app) newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "git-arbor",
		// As people call it: git finds it by its name.
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "git arbor"},
		Short:       "Keep the clones of a git or git-annex repository in step",
		Long: `Arbor keeps the clones of a git or git-annex repository in step, in near real time, on machines that each have a
Jabber account.

A first machine:      git arbor account JID; git arbor init DIR; git arbor agent
One more machine:     git arbor invite, on the first
                      git arbor account JID; git arbor join URI DIR; git arbor agent, on the other
Try it on this one:   git arbor demo

` + exitCodes,
		Version:       programVersion(),
		SilenceUsage:  true,
		SilenceErrors: true,
		// Its suggestions go into a message of several lines; they become a hint instead.
		DisableSuggestions:         true,
		SuggestionsMinimumDistance: 2,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(
		newAccountCommand(a),
		newAgentCommand(a),
		newCancelCommand(a),
		newCompletionCommand(a),
		newDemoCommand(a),
		newDoctorCommand(a),
		newDropCommand(a),
		newFilterProcessCommand(a),
		newForgetCommand(a),
		newGetCommand(a),
		newInitCommand(a),
		newInviteCommand(a),
		newJoinCommand(a),
		newLimitCommand(a),
		newMapCommand(a),
		newNotifyCommand(a),
		newPauseCommand(a),
		newPlanCommand(a),
		newPrioritiseCommand(a),
		newResumeCommand(a),
		newServeCommand(a),
		newStatusCommand(a),
		newSyncCommand(a),
		newVersionCommand(a),
		newWantCommand(a),
		newWhyCommand(a),
	)
	root.SetHelpCommand(newHelpCommand())
	a.noteStart(root)
	return root
}

// noteStart makes every verb tell that it was started: what fails before that is wrong usage.
func (a *app) noteStart(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			a.started = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		a.noteStart(sub)
	}
}

// usageError adds where to read on to what cobra says of a command line.
func usageError(root *cobra.Command, args []string, err error) error {
	cmd, rest, findErr := root.Find(args)
	if findErr != nil || cmd == root {
		if len(rest) > 0 {
			if like := root.SuggestionsFor(rest[0]); len(like) > 0 {
				return &hinted{err, "git arbor " + like[0]}
			}
		}
		return &hinted{err, "git arbor -h"}
	}
	return &hinted{err, cmd.CommandPath() + " -h"}
}

// newHelpCommand takes the place of cobra's, which does not fail for a command that is not there.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command, as -h does",
		Args: func(cmd *cobra.Command, args []string) error {
			_, _, err := cmd.Root().Find(args)
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, _, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

func (a *app) paths() (config.Paths, error) {
	return config.DefaultPaths(a.getenv)
}

// client returns a client for this person's agent. Close it.
func (a *app) client() (*control.Client, error) {
	paths, err := a.paths()
	if err != nil {
		return nil, err
	}
	return control.NewClient(paths.Socket), nil
}

// reload makes a running agent read the configuration that was just changed. running is false when there is none.
func (a *app) reload(ctx context.Context) (running bool, err error) {
	client, err := a.client()
	if err != nil {
		return false, err
	}
	defer client.Close()
	err = client.Reload(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		return false, nil
	}
	if err != nil {
		return true, fmt.Errorf("make the running agent reload: %w", err)
	}
	return true, nil
}

// nowSyncs ends init and join: without an agent nothing moves.
func (a *app) nowSyncs(ctx context.Context) error {
	running, err := a.reload(ctx)
	if err == nil && !running {
		fmt.Fprintln(a.stderr, "hint: no agent is running yet: git arbor agent")
	}
	return err
}
