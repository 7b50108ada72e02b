package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
)

func newResumeCommand(a *app) *cobra.Command {
	var of scope
	var accept bool
	cmd := &cobra.Command{
		Use:   "resume [CLONE | --all | --file FILE...]",
		Short: "Go on syncing a clone that is paused or halted",
		Long: `Let the contents of a clone that was paused go on. A clone that halted for safety, say because most of its files were gone, looks
again; with --accept it takes what it finds as what you want.

With --file, the contents of files that were paused or cancelled come when it is their turn. With --peer, the exchange with a peer
that was paused goes on.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if of.files {
				return a.changeFiles(cmd.Context(), args, (*control.Client).ResumeFiles, "nothing was paused", "is", "are", " no longer paused")
			}
			return a.pauseOrResume(cmd.Context(), argument(args, 0), of.all, func(ctx context.Context, c *control.Client, clone string) error {
				return c.Resume(ctx, control.PauseRequest{Clone: clone, Accept: accept, Peer: of.peer})
			})
		},
	}
	of.flags(a, cmd)
	cmd.Flags().BoolVar(&accept, "accept", false, "take what halted the clone as wanted")
	cmd.MarkFlagsMutuallyExclusive("all", "accept")
	cmd.MarkFlagsMutuallyExclusive("peer", "accept")
	cmd.MarkFlagsMutuallyExclusive("file", "accept")
	return cmd
}
