package main

import (
	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
)

func newNotifyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "notify [CLONE]",
		Short: "Make the agent look at a clone now",
		Long: `Make the agent look at the work tree and the references of a clone now. For git hooks and cron jobs: the agent watches by
itself, but sees no change that another machine makes on a network file system.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeClones(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			defer client.Close()
			clone, err := a.findClone(cmd.Context(), client, argument(args, 0))
			if err != nil {
				return err
			}
			return client.Notify(cmd.Context(), control.NotifyRequest{Clone: clone.Path})
		},
	}
}
