package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
)

func newCancelCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "cancel FILE...",
		Short: "Do not transfer the contents of files for now",
		Long: `Stop transferring the contents of files, or of all files in folders. They stay missing, also after a restart of the agent, until
git arbor get or git arbor prioritise names them. What has come of them is kept. The other machines are not concerned.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			sum := 0
			err := a.eachFiles(cmd.Context(), args, func(c *control.Client, r control.FilesRequest) error {
				reply, err := c.Cancel(cmd.Context(), r)
				sum += reply.Contents
				return err
			})
			if err != nil {
				return err
			}
			if sum == 0 {
				_, err = fmt.Fprintln(a.stdout, "nothing was to be transferred")
			} else {
				_, err = fmt.Fprintf(a.stdout, "%s not transferred until asked for\n", contents(sum, "is", "are"))
			}
			return err
		},
	}
}
