package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
)

// scope is what is to be paused or resumed.
type scope struct {
	all   bool
	files bool
	peer  string
}

func newPauseCommand(a *app) *cobra.Command {
	var of scope
	cmd := &cobra.Command{
		Use:   "pause [CLONE | --all | --file FILE...]",
		Short: "Stop getting the contents of large files until resumed",
		Long: `Stop getting the contents of large files until resumed, also after a restart of the agent. Commits go on travelling, and
other machines go on getting what is here. CLONE is a name or a path; without it the clone of the current directory is meant.

With --file, only the contents of these files, or of all files in these folders, are meant. What has come of them is kept; git arbor
cancel forgets that too. git arbor get and git arbor prioritise resume what they name.

With --peer, contents are neither got from that machine nor given to it; with the others all goes on.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if of.files {
				return a.changeFiles(cmd.Context(), args, (*control.Client).PauseFiles, "nothing was to be transferred", "is", "are", " paused")
			}
			return a.pauseOrResume(cmd.Context(), argument(args, 0), of.all, func(ctx context.Context, c *control.Client, clone string) error {
				return c.Pause(ctx, control.PauseRequest{Clone: clone, Peer: of.peer})
			})
		},
	}
	of.flags(a, cmd)
	return cmd
}

// flags adds the flags that say what is meant, and checks the arguments by them.
func (s *scope) flags(a *app, cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.all, "all", false, "all clones of this machine")
	cmd.Flags().BoolVar(&s.files, "file", false, "only the contents of the files and folders that are named")
	cmd.Flags().StringVar(&s.peer, "peer", "", "only the exchange with this peer")
	_ = cmd.RegisterFlagCompletionFunc("peer", a.completePeers)
	cmd.MarkFlagsMutuallyExclusive("all", "file")
	cmd.MarkFlagsMutuallyExclusive("peer", "file")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if s.files {
			return cobra.MinimumNArgs(1)(cmd, args)
		}
		return cobra.MaximumNArgs(1)(cmd, args)
	}
	clones := a.completeClones(0)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if s.files {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return clones(cmd, args, toComplete)
	}
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
