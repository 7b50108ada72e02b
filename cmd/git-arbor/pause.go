package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
)

func newPauseCommand(a *app) *cobra.Command {
	var all bool
	var peer string
	cmd := &cobra.Command{
		Use:   "pause [CLONE]",
		Short: "Stop getting the contents of large files until resumed",
		Long: `Stop getting the contents of large files until resumed, also after a restart of the agent. Commits go on travelling, and
other machines go on getting what is here. CLONE is a name or a path; without it the clone of the current directory is meant.

With --peer, contents are neither got from that machine nor given to it; with the others all goes on.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeClones(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.pauseOrResume(cmd.Context(), argument(args, 0), all, func(ctx context.Context, c *control.Client, clone string) error {
				return c.Pause(ctx, control.PauseRequest{Clone: clone, Peer: peer})
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all clones of this machine")
	cmd.Flags().StringVar(&peer, "peer", "", "only the exchange with this peer")
	_ = cmd.RegisterFlagCompletionFunc("peer", a.completePeers)
	return cmd
}

// pauseOrResume calls do with the path of the clone, or with "" for all.
func (a *app) pauseOrResume(ctx context.Context, clone string, all bool, do func(context.Context, *control.Client, string) error) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	defer client.Close()
	if all {
		return do(ctx, client, "")
	}
	c, err := a.findClone(ctx, client, clone)
	if err != nil {
		return err
	}
	return do(ctx, client, c.Path)
}
