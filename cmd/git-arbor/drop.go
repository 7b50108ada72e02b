package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
)

func newDropCommand(a *app) *cobra.Command {
	numCopies := 0
	cmd := &cobra.Command{
		Use:   "drop FILE...",
		Short: "Remove the contents of files from this machine",
		Long: `Remove the contents of files, or of all files in folders, from this machine. The files stay, without their content, until git arbor get
names them; the other machines are not concerned. A content that is not here yet does not come.

A content goes only when enough other machines have promised to keep theirs meanwhile: as many as git-annex's numcopies and mincopies
say, and at least one. A trusted repository counts unasked; one that is untrusted, dead or offline does not. Where that does not
suffice, remotes are asked. What is kept is listed, with the reason, and the command ends with status 4.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("numcopies") && numCopies < 1 {
				return fmt.Errorf("--numcopies %d: at least one other copy is needed", numCopies)
			}
			return cobra.MinimumNArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var sum control.DropReply
			err := a.eachFiles(cmd.Context(), args, func(c *control.Client, r control.FilesRequest) error {
				reply, err := c.Drop(cmd.Context(), control.DropRequest{FilesRequest: r, NumCopies: numCopies})
				sum.Contents += reply.Contents
				sum.Size += reply.Size
				sum.Cancelled += reply.Cancelled
				sum.KeptContents += reply.KeptContents
				sum.Kept = append(sum.Kept, reply.Kept...)
				return err
			})
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(a.stdout, dropResult(sum)); err != nil {
				return err
			}
			return dropFailure(sum)
		},
	}
	cmd.Flags().IntVar(&numCopies, "numcopies", 0, "how many other copies there must be, in place of what is configured")
	return cmd
}

// dropResult says what has gone.
func dropResult(r control.DropReply) string {
	var lines []string
	if r.Contents > 0 {
		lines = append(lines, fmt.Sprintf("%s gone from here: %s", contents(r.Contents, "has", "have"), size(r.Size)))
	}
	if r.Cancelled > 0 {
		lines = append(lines, contents(r.Cancelled, "was", "were")+" not here yet, and not transferred until asked for")
	}
	if len(lines) == 0 {
		return "nothing is dropped"
	}
	return strings.Join(lines, "\n")
}

// dropFailure is the error for what is kept.
func dropFailure(r control.DropReply) error {
	var lines []string
	lacking := false
	for _, k := range r.Kept {
		if k.InUse {
			lines = append(lines, fmt.Sprintf("%q is kept: another machine counts on the copy here at this moment", k.File))
			continue
		}
		if k.Required {
			lines = append(lines, fmt.Sprintf("%q is kept: git annex required says that this clone must have it", k.File))
			continue
		}
		lacking = true
		line := fmt.Sprintf("%q is kept: %d of %d necessary copies elsewhere are certain", k.File, len(k.Found), k.Needed)
		if len(k.Found) > 0 {
			line += "; with " + strings.Join(k.Found, ", ")
		}
		if len(k.Unproven) > 0 {
			line += "; uncertain: " + strings.Join(k.Unproven, ", ")
		} else if len(k.Found) == 0 {
			line += "; nobody else is known to have it"
		}
		lines = append(lines, line)
	}
	if more := r.KeptContents - len(r.Kept); more > 0 {
		lines = append(lines, fmt.Sprintf("so are the contents of %d more files", more))
	}
	if len(lines) == 0 {
		return nil
	}
	hint := "try again when it is done"
	if lacking {
		hint = "git arbor get on another machine makes one more copy; bring machines online that have one; " +
			"git annex drop also asks git's other remotes, and has --force"
	}
	return &notReached{strings.Join(lines, "\n"), hint}
}
