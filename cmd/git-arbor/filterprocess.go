package main

import (
	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// newFilterProcessCommand is what filter.annex.process names where git-annex is not installed. git runs it, at the top of
// the work tree.
func newFilterProcessCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    "filter-process",
		Short:  "Serve git's filter protocol in place of git-annex",
		Hidden: true,
		Args:   cobra.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			repo, err := gitrepo.Open(cmd.Context(), ".")
			if err != nil {
				return err
			}
			defer repo.Close()
			return annex.FilterProcess(cmd.Context(), repo, a.stdin, a.stdout)
		},
	}
}
