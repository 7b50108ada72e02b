package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent"
)

func newJoinCommand(a *app) *cobra.Command {
	var opts agent.JoinOptions
	var verbose bool
	cmd := &cobra.Command{
		Use:   "join URI DIR",
		Short: "Take up an invitation and clone the repository",
		Long: `Take up the invitation URI that git arbor invite printed on another machine, and clone the repository into DIR. Quote the
URI: it has characters that mean something to the shell.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if opts.Paths, err = a.paths(); err != nil {
				return err
			}
			opts.URI, opts.Dir = args[0], args[1]
			opts.Log = newVerbLog(a, verbose)
			var last string // a step is repeated until it succeeds
			opts.Progress = func(step string) {
				if step != last {
					fmt.Fprintln(a.stderr, oneLine(step))
				}
				last = step
			}
			result, err := agent.Join(cmd.Context(), opts)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(a.stdout, "%s has joined\n", oneLine(result.Path)); err != nil {
				return err
			}
			return a.nowSyncs(cmd.Context())
		},
	}
	cloneFlags(cmd, &opts.Name, &opts.Mode, &opts.Bare)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log what is of use only to find a fault")
	return cmd
}
