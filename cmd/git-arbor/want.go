package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/sync/wanted"
)

type wantOptions struct {
	clone, remote    string
	everything, json bool
}

func newWantCommand(a *app) *cobra.Command {
	var opts wantOptions
	cmd := &cobra.Command{
		Use:   "want [GROUP | EXPRESSION...]",
		Short: "Show or set which contents a clone is to have",
		Long: `Show or set which contents a clone is to have, in git-annex's own settings, which all clones share. Contents that are missing and
wanted are got; what is here and not wanted any more goes as soon as enough others are proven to have it.

GROUP is one of git-annex's standard groups, such as client, backup or manual, or one with an expression of its own (git annex
groupwanted): the clone leaves other such groups, and wants what the group does. EXPRESSION is one of git-annex's preferred content
expressions (git annex help preferred-content): 'include=*.jpg and smallerthan=10mb', or nothing. A clone for which nothing is set
wants everything.`,
		Args: func(_ *cobra.Command, args []string) error {
			if opts.everything && len(args) > 0 {
				return errors.New("--everything and an expression do not go together")
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return append(wanted.StandardGroups(), "nothing"), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			defer client.Close()
			clone, err := a.findClone(cmd.Context(), client, opts.clone)
			if err != nil {
				return err
			}
			reply, err := client.Want(cmd.Context(), control.WantRequest{
				Clone: clone.Path, Repository: opts.remote, Set: opts.everything || len(args) > 0, Want: strings.Join(args, " "),
			})
			if err != nil {
				return err
			}
			if opts.json {
				return writeJSON(a.stdout, struct {
					Schema int `json:"schema"`
					control.WantReply
				}{1, reply})
			}
			_, err = io.WriteString(a.stdout, wantText(reply))
			return err
		},
	}
	cmd.Flags().StringVar(&opts.clone, "clone", "", "the clone, by name or path (default: that of the current directory)")
	cmd.Flags().StringVar(&opts.remote, "remote", "", "what this remote or other machine is to have; a name, a git-annex description or a UUID")
	cmd.Flags().BoolVar(&opts.everything, "everything", false, "unset the expression")
	cmd.Flags().BoolVar(&opts.json, "json", false, "print it as JSON")
	_ = cmd.RegisterFlagCompletionFunc("remote", a.completePeers)
	return cmd
}

// wantText says what is set for a repository.
func wantText(r control.WantReply) string {
	what := r.Wanted
	switch {
	case what == "" && r.Required == "":
		what = "everything: nothing is set"
	case what == "":
		what = "only what is required of it"
	}
	var text strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&text, "  %-10s %s\n", name+":", oneLine(value))
		}
	}
	fmt.Fprintf(&text, "%s wants %s\n", oneLine(r.Repository), oneLine(what))
	line("that is", r.Means)
	line("in groups", strings.Join(r.Groups, ", "))
	line("required", r.Required)
	for _, problem := range r.Problems {
		line("problem", problem)
	}
	return text.String()
}
