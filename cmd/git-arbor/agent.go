package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
)

func newAgentCommand(a *app) *cobra.Command {
	var verbose bool
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run the agent, which does the work, until it is stopped",
		Long: `Run the agent in the foreground until it gets SIGTERM or SIGINT. SIGHUP makes it read the configuration again. There is
one agent for all clones of a person on a machine. As a systemd user unit: docs/arbor.service.`,
		Args: cobra.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runAgent(cmd.Context(), a, newLog(a, verbose))
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log what is of use only to find a fault")
	return cmd
}

func runAgent(ctx context.Context, a *app, log *slog.Logger) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	manager := newServiceManager()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	reload := make(chan struct{})

	running, stop := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer stop()
	helpers.Go(func() {
		for {
			select {
			case <-hangups:
			case <-running.Done():
				return
			}
			select {
			case reload <- struct{}{}:
			case <-running.Done():
				return
			}
		}
	})
	helpers.Go(func() {
		client := control.NewClient(paths.Socket)
		defer client.Close()
		manager.feed(running, func(ctx context.Context) error {
			_, err := client.Status(ctx, 0)
			return err
		})
	})
	context.AfterFunc(running, func() { manager.tell("STOPPING=1") })

	err = agent.Run(running, agent.Options{
		Paths:   paths,
		Version: programVersion(),
		Log:     log,
		Reload:  reload,
		Ready:   func() { manager.tell("READY=1") },
		State:   manager.status,
	})
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return nil
	}
	return err
}

// newLog logs to standard error. The journal has its own clock.
func newLog(a *app, verbose bool) *slog.Logger {
	return logFrom(a, slog.LevelInfo, verbose)
}

// newVerbLog is for a verb that talks for itself: it logs only what is wrong.
func newVerbLog(a *app, verbose bool) *slog.Logger {
	return logFrom(a, slog.LevelWarn, verbose)
}

func logFrom(a *app, level slog.Level, verbose bool) *slog.Logger {
	if verbose {
		level = slog.LevelDebug
	}
	journal := a.getenv("JOURNAL_STREAM") != ""
	return textLog(a.stderr, level, !journal)
}

func textLog(w io.Writer, level slog.Level, withTime bool) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
			if attr.Key == slog.TimeKey && len(groups) == 0 && !withTime {
				return slog.Attr{}
			}
			return attr
		},
	}))
}
