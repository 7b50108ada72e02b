package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
)

type syncOptions struct {
	wait    bool
	timeout time.Duration
	json    bool
}

func newSyncCommand(a *app) *cobra.Command {
	var opts syncOptions
	cmd := &cobra.Command{
		Use:   "sync [CLONE]",
		Short: "Sync a clone with every peer now",
		Long: `Sync a clone with every peer that is online now, whether anything was announced or not. With --wait the command ends when
all of them have the same, and with status 4 when that is not reached in time, or no peer is online.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeClones(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runSync(cmd.Context(), a, argument(args, 0), opts)
		},
	}
	cmd.Flags().BoolVar(&opts.wait, "wait", false, "wait until all peers that are online are in step")
	cmd.Flags().DurationVar(&opts.timeout, "timeout", 0, "with --wait, give up after this time (0: never)")
	cmd.Flags().BoolVar(&opts.json, "json", false, "print JSON")
	return cmd
}

func runSync(ctx context.Context, a *app, arg string, opts syncOptions) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	defer client.Close()
	clone, err := a.findClone(ctx, client, arg)
	if err != nil {
		return err
	}
	late := &notReached{fmt.Sprintf("%s is not in step after %v", clone.Name, opts.timeout), "git arbor status"}
	if opts.wait && opts.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, opts.timeout, late)
		defer cancel()
	}
	reply, err := client.Sync(ctx, control.SyncRequest{Clone: clone.Path, Wait: opts.wait})
	if err != nil {
		return err
	}
	if opts.json {
		err = writeJSON(a.stdout, struct {
			Schema int `json:"schema"`
			control.SyncReply
		}{1, reply})
	} else if opts.wait && reply.InStep {
		_, err = fmt.Fprintf(a.stdout, "%s is in step with %s\n", oneLine(clone.Name), peers(reply.Peers))
	}
	if opts.wait && !reply.InStep && reply.Peers == 0 {
		err = errors.Join(err, &notReached{clone.Name + " is in step with nobody: no peer is online", "git arbor status"})
	} else if opts.wait && !reply.InStep {
		err = errors.Join(err, &notReached{clone.Name + " is not in step", "git arbor status"})
	}
	return err
}

func peers(n int) string {
	if n == 1 {
		return "1 peer"
	}
	return fmt.Sprintf("%d peers", n)
}
