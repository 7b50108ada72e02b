package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
)

func newPrioritiseCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "prioritise FILE...",
		Aliases: []string{"prioritize"},
		Short:   "Transfer the contents of files before all others",
		Long: `Transfer the contents of files, or of all files in folders, before all others that are missing here, also those that were
cancelled. What was asked for last comes first, and of that the small before the large. git arbor get does the same and waits.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			sum := 0
			err := a.eachFiles(cmd.Context(), args, func(c *control.Client, r control.FilesRequest) error {
				reply, err := c.Prioritise(cmd.Context(), r)
				sum += reply.Contents
				return err
			})
			if err != nil {
				return err
			}
			if sum == 0 {
				_, err = fmt.Fprintln(a.stdout, "nothing is missing")
			} else {
				_, err = fmt.Fprintf(a.stdout, "%s first\n", contents(sum, "comes", "come"))
			}
			return err
		},
	}
}
