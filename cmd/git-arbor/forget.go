package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
)

func newForgetCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "forget DEVICE [CLONE]",
		Short: "Take a machine out of a clone's grove",
		Long: `Take a machine out of a clone's grove: it gets nothing more, and a new key is handed to the others. What it has already it
keeps. DEVICE is a name or device ID as git arbor status shows it, or the beginning of the ID.`,
		Args: cobra.RangeArgs(1, 2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return a.completeClones(1)(cmd, args, typed)
			}
			return a.completeDevices(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			defer client.Close()
			clone, err := a.findClone(cmd.Context(), client, argument(args, 1))
			if err != nil {
				return err
			}
			if err := client.Forget(cmd.Context(), control.ForgetRequest{Clone: clone.Path, Device: args[0]}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "%s is no longer in the grove of %s\n", oneLine(args[0]), oneLine(clone.Name))
			return err
		},
	}
}
