package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
)

func newInviteCommand(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "invite [CLONE]",
		Short: "Print an invitation for one more machine",
		Long: `Print an invitation to CLONE (a name or a path; without it the clone of the current directory), good for one machine and
ten minutes. The agent must go on running until the other machine has joined. Whoever has it can read and change everything in the
repository: send it over a channel that you trust.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeClones(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			defer client.Close()
			snapshot, err := client.Status(cmd.Context(), 0)
			if err != nil {
				return err
			}
			clone, err := matchClone(snapshot.Clones, argument(args, 0))
			if err != nil {
				return err
			}
			reply, err := client.Invite(cmd.Context(), control.InviteRequest{Clone: clone.Path})
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(a.stdout, struct {
					Schema int `json:"schema"`
					control.InviteReply
				}{1, reply})
			}
			_, err = fmt.Fprintln(a.stdout, reply.URI)
			fmt.Fprintf(a.stderr, "Good for one machine until %s. On that machine:\n  git arbor join 'xmpp:...' DIR\n",
				reply.Expires.Local().Format(time.TimeOnly))
			if state := snapshot.Agent.XMPP; state != status.SessionOnline {
				fmt.Fprintf(a.stderr, "warning: the agent has no session now (%s): nobody can join until it has\n", state)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
