package main

import (
	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
)

func newPrioritiseCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "prioritise FILE...",
		Aliases: []string{"prioritize"},
		Short:   "Transfer the contents of files before all others",
		Long: `Transfer the contents of files, or of all files in folders, before all others that are missing here, also those that were paused
or cancelled. What was asked for last comes first, and of that the small before the large. git arbor get does the same and waits.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeFiles(cmd.Context(), args, (*control.Client).Prioritise, "nothing is missing", "comes", "come", " first")
		},
	}
}
