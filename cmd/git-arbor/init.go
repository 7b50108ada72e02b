package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/config"
)

func newInitCommand(a *app) *cobra.Command {
	var opts agent.InitOptions
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Make a repository the first clone of a new grove",
		Long: `Make the repository in DIR, or in the current directory, the first clone of a new grove; where there is no repository one
is made. What is in it stays as it is. In a new repository files above 100 kB are annexed and stay editable in place.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if opts.Paths, err = a.paths(); err != nil {
				return err
			}
			opts.Dir = cmp.Or(argument(args, 0), ".")
			result, err := agent.Init(cmd.Context(), opts)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(a.stdout, "%s is the first clone of a new grove\n", oneLine(result.Path)); err != nil {
				return err
			}
			return a.nowSyncs(cmd.Context())
		},
	}
	cloneFlags(cmd, &opts.Name, &opts.Mode, &opts.Bare)
	cmd.Flags().BoolVar(&opts.Plain, "plain", false, "plain git, without git-annex's formats, when the repository is new")
	return cmd
}

// cloneFlags adds what init and join have in common.
func cloneFlags(cmd *cobra.Command, name, mode *string, bare *bool) {
	cmd.Flags().StringVar(name, "name", "", "what to call the clone (default the folder's name)")
	*mode = config.ModeAuto
	cmd.Flags().Var((*modeValue)(mode), "mode", `"auto" commits what is saved, "commits" leaves committing to you`)
	cmd.Flags().BoolVar(bare, "bare", false, "a bare repository, without work tree, when it is new")
}

// modeValue is a flag for config.Clone.Mode. A wrong one is noticed before anything is made.
type modeValue string

func (m *modeValue) Set(s string) error {
	if s != config.ModeAuto && s != config.ModeCommits {
		return fmt.Errorf("want %q or %q", config.ModeAuto, config.ModeCommits)
	}
	*m = modeValue(s)
	return nil
}

func (m *modeValue) String() string { return string(*m) }
func (m *modeValue) Type() string   { return "mode" }
