package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
)

func newResumeCommand(a *app) *cobra.Command {
	var all, accept bool
	var peer string
	cmd := &cobra.Command{
		Use:   "resume [CLONE]",
		Short: "Go on syncing a clone that is paused or halted",
		Long: `Let the contents of a clone that was paused go on. A clone that halted for safety, say because most of its files were gone, looks
again; with --accept it takes what it finds as what you want. With --peer, the exchange with a peer that was paused goes on.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeClones(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.pauseOrResume(cmd.Context(), argument(args, 0), all, func(ctx context.Context, c *control.Client, clone string) error {
				return c.Resume(ctx, control.PauseRequest{Clone: clone, Accept: accept, Peer: peer})
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all clones of this machine")
	cmd.Flags().BoolVar(&accept, "accept", false, "take what halted the clone as wanted")
	cmd.Flags().StringVar(&peer, "peer", "", "only the exchange with this peer")
	cmd.MarkFlagsMutuallyExclusive("all", "accept")
	cmd.MarkFlagsMutuallyExclusive("peer", "accept")
	_ = cmd.RegisterFlagCompletionFunc("peer", a.completePeers)
	return cmd
}
