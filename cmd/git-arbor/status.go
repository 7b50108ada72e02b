package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/status"
)

type statusOptions struct {
	json  bool
	watch bool
}

func newStatusCommand(a *app) *cobra.Command {
	var opts statusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the clones, the transfers and what needs you",
		Long: `Show one line for each clone (its name, how it is, its branch, its peers, and when something last changed since the agent was
started) and one for each transfer, then the warnings.

A clone is: starting, in-step (it has what all reachable peers have), committing, merging, fetching, waiting (for your unfinished
merge or rebase, or for a file being written), paused, offline (no peer can be reached) or halted (it needs you).`,
		Args: cobra.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.watch {
				return watchStatus(cmd.Context(), a, opts.json)
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			defer client.Close()
			snapshot, err := client.Status(cmd.Context(), 0)
			if err != nil {
				return err
			}
			if opts.json {
				return writeJSON(a.stdout, snapshot)
			}
			_, err = io.WriteString(a.stdout, strings.Join(statusLines(snapshot, time.Now()), ""))
			return err
		},
	}
	cmd.Flags().BoolVar(&opts.json, "json", false, "print JSON; with --watch one object a line")
	cmd.Flags().BoolVar(&opts.watch, "watch", false, "go on showing what changes")
	return cmd
}

// watchStatus shows each new snapshot: redrawn in place on a terminal, one after the other elsewhere.
func watchStatus(ctx context.Context, a *app, asJSON bool) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	defer client.Close()
	screen := &screen{app: a, out: a.stdout}
	// People and programs alike get at most ten frames a second; what lies between is dropped.
	frame := time.NewTicker(100 * time.Millisecond)
	defer frame.Stop()
	for version := uint64(0); ; {
		snapshot, err := client.Status(ctx, version)
		if err != nil {
			return err
		}
		version = snapshot.Version
		if asJSON {
			err = writeJSON(a.stdout, snapshot)
		} else {
			err = screen.show(statusLines(snapshot, time.Now()))
		}
		if err != nil {
			return err
		}
		select {
		case <-frame.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// screen shows blocks of lines, each in place of the one before where that can be done.
type screen struct {
	app  *app
	out  io.Writer
	rows int // of the block shown last
}

func (s *screen) show(lines []string) error {
	var b strings.Builder
	width, redraw := s.app.terminalWidth(s.out)
	if redraw {
		if s.rows > 0 {
			fmt.Fprintf(&b, "\x1b[%dA", s.rows)
		}
		b.WriteString("\r\x1b[J") // erase to the end of the screen
	} else if s.rows > 0 {
		b.WriteByte('\n')
	}
	for _, line := range lines {
		if redraw {
			line = cut(strings.TrimSuffix(line, "\n"), width) + "\n"
		}
		b.WriteString(line)
	}
	s.rows = len(lines)
	_, err := io.WriteString(s.out, b.String())
	return err
}

// statusLines is what people read: lines of clones, of transfers, of warnings, each with its line break.
func statusLines(s status.Snapshot, now time.Time) []string {
	var b strings.Builder
	if s.Agent.XMPP != status.SessionOnline {
		fmt.Fprintf(&b, "xmpp %s as %s\n", s.Agent.XMPP, oneLine(s.Agent.JID))
	}
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range s.Clones {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n",
			oneLine(c.Name), cloneState(c), oneLine(branch(c)), oneLine(peerList(c.Peers)), changed(now, c.LastChange))
	}
	transfers := slices.Clone(s.Transfers)
	slices.SortStableFunc(transfers, func(x, y status.Transfer) int { return strings.Compare(x.File, y.File) })
	table.Flush()
	for _, t := range transfers {
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", oneLine(t.File), progress(t), rate(t), oneLine(otherSide(t)))
	}
	table.Flush()
	for _, w := range s.Warnings {
		fmt.Fprintf(&b, "! %s\n", oneLine(warningText(s.Clones, w)))
		if w.Hint != "" {
			fmt.Fprintf(&b, "  hint: %s\n", oneLine(w.Hint))
		}
	}
	if len(s.Clones) == 0 {
		b.WriteString("no clones yet; git arbor init DIR makes one\n")
	}
	return slices.Collect(strings.Lines(b.String()))
}

func changed(now, at time.Time) string {
	if at.IsZero() {
		return "no change yet"
	}
	return "changed " + ago(now, at)
}

func cloneState(c status.Clone) string {
	var details []string
	if c.Detail != "" {
		details = append(details, oneLine(c.Detail))
	}
	if c.Keys.Missing > 0 {
		details = append(details, fmt.Sprintf("%d of %d contents missing", c.Keys.Missing, c.Keys.Wanted))
	}
	if len(details) == 0 {
		return string(c.State)
	}
	return fmt.Sprintf("%s (%s)", c.State, strings.Join(details, "; "))
}

func branch(c status.Clone) string {
	if c.Branch == "" {
		return "no branch"
	}
	return c.Branch
}

func peerList(peers []status.Peer) string {
	if len(peers) == 0 {
		return "no peers"
	}
	var names []string
	for _, p := range peers {
		switch {
		case !p.Online:
			names = append(names, p.Name+" (offline)")
		case !p.InStep:
			names = append(names, p.Name+" (behind)")
		default:
			names = append(names, p.Name)
		}
	}
	return strings.Join(names, ", ")
}

func progress(t status.Transfer) string {
	switch {
	case t.State != status.TransferRunning:
		return string(t.State)
	case t.Size < 0:
		return size(t.Bytes)
	default:
		return size(t.Bytes) + " of " + size(t.Size)
	}
}

func rate(t status.Transfer) string {
	if t.State != status.TransferRunning || t.Rate <= 0 {
		return ""
	}
	return size(t.Rate) + "/s"
}

func otherSide(t status.Transfer) string {
	if t.Direction == status.Up {
		return "to " + t.Peer
	}
	return "from " + t.Peer
}

// warningText names the clone that a warning is about. Several errors in it stand in one line.
func warningText(clones []status.Clone, w status.Warning) string {
	text := strings.ReplaceAll(w.Text, "\n", "; ")
	for _, c := range clones {
		if c.Path == w.Clone {
			return c.Name + ": " + text
		}
	}
	return text
}
