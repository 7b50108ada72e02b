package main

import (
	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
)

func newCancelCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "cancel FILE...",
		Short: "Do not transfer the contents of files, and forget what has come",
		Long: `Stop transferring the contents of files, or of all files in folders, and forget what has come of them; git arbor pause --file keeps
that. They stay missing, also after a restart of the agent, until git arbor get, git arbor prioritise or git arbor resume --file
names them. The other machines are not concerned.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeFiles(cmd.Context(), args, (*control.Client).Cancel,
				"nothing was to be transferred", "is", "are", " not transferred until asked for")
		},
	}
}
