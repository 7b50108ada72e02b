package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
)

type getOptions struct {
	noWait bool
	json   bool
}

func newGetCommand(a *app) *cobra.Command {
	var opts getOptions
	cmd := &cobra.Command{
		Use:   "get FILE...",
		Short: "Get the contents of files now, before all others",
		Long: `Get the contents of files, or of all files in folders, before all others, and wait until they are here. What was paused or
cancelled is wanted again. When the wait is interrupted, the transfers go on.

Contents that no machine has that can be reached come as soon as one can; the command says who has them, and ends with status 4.
So it does for what is paused or cancelled meanwhile.

In a bare clone, name the files as if they were in its folder.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runGet(cmd.Context(), a, args, opts)
		},
	}
	cmd.Flags().BoolVar(&opts.noWait, "no-wait", false, "do not wait until they are here")
	cmd.Flags().BoolVar(&opts.json, "json", false, "print the progress as JSON, one object a line")
	return cmd
}

func runGet(ctx context.Context, a *app, args []string, opts getOptions) error {
	var sum control.GetProgress
	screen := &screen{app: a, out: a.stderr, transient: true}
	err := a.eachFiles(ctx, args, func(client *control.Client, r control.FilesRequest) error {
		var last control.GetProgress
		err := client.Get(ctx, control.GetRequest{FilesRequest: r, Wait: !opts.noWait}, func(p control.GetProgress) error {
			last = p
			if opts.json {
				return writeJSON(a.stdout, struct {
					Schema int    `json:"schema"`
					Clone  string `json:"clone"`
					control.GetProgress
				}{1, r.Clone, p})
			}
			return screen.show([]string{getLine(p)})
		})
		sum.Contents += last.Contents
		sum.Left += last.Left
		sum.Size += last.Size
		sum.Paused += last.Paused
		sum.Lacking += last.Lacking
		sum.Unreachable = append(sum.Unreachable, last.Unreachable...)
		return err
	})
	screen.clear()
	if err != nil {
		return err
	}
	if !opts.json {
		if _, err := fmt.Fprintln(a.stdout, getResult(sum, opts.noWait)); err != nil {
			return err
		}
	}
	return getFailure(sum)
}

// getResult says what the command has reached.
func getResult(p control.GetProgress, noWait bool) string {
	switch came := p.Contents - p.Left - p.Paused; {
	case p.Contents+p.Lacking == 0:
		return "nothing is missing"
	case noWait:
		return contents(p.Contents+p.Lacking, "comes", "come") + " first"
	default:
		return contents(came, "has come", "have come")
	}
}

// getFailure is the error for what did not come.
func getFailure(p control.GetProgress) error {
	var lines []string
	for _, u := range p.Unreachable {
		who := "nobody is known to have it"
		if len(u.Holders) > 0 {
			who = "it is with " + strings.Join(u.Holders, ", ")
		}
		lines = append(lines, fmt.Sprintf("no machine that can be reached has %q: %s", u.File, who))
	}
	if more := p.Lacking - len(p.Unreachable); more > 0 {
		lines = append(lines, fmt.Sprintf("nor the contents of %d more files", more))
	}
	hint := "they come as soon as somebody is there who has them"
	if p.Paused > 0 {
		lines = append(lines, contents(p.Paused, "was", "were")+" paused or cancelled meanwhile")
		if p.Lacking == 0 {
			hint = "git arbor get, to have them after all"
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return &notReached{strings.Join(lines, "\n"), hint}
}

// getLine is the progress of a request in one line.
func getLine(p control.GetProgress) string {
	parts := []string{fmt.Sprintf("%d of %d", p.Contents-p.Left, p.Contents)}
	if p.Size > 0 {
		parts = append(parts, size(p.Bytes)+" of "+size(p.Size))
	}
	if p.Rate > 0 {
		parts = append(parts, size(p.Rate)+"/s")
	}
	if left := (status.Transfer{Bytes: p.Bytes, Size: p.Size, Rate: p.Rate, State: status.TransferRunning}).Left(); left >= 0 {
		parts = append(parts, span(left)+" left")
	}
	if len(p.From) > 0 {
		parts = append(parts, "from "+oneLine(strings.Join(p.From, ", ")))
	}
	return strings.Join(parts, "  ") + "\n"
}

// span writes a length of time, roughly.
func span(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	case s < 48*3600:
		return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
	default:
		return fmt.Sprintf("%d days", s/(24*3600))
	}
}
