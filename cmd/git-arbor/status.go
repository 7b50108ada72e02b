package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
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
started) and one for each transfer (what comes and what goes, the first that wait, in their order, and the first
that are paused): how far it is, how fast, how
long it takes if that holds, with whom, and why with that machine. Then come the warnings. Above all are the limits in force.

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
	_, _, redraw := a.terminalSize(a.stdout)
	redraw = redraw && !asJSON
	var snapshot status.Snapshot
	for {
		next, err := nextStatus(ctx, client, snapshot.Version, redraw)
		switch {
		case err == nil:
			snapshot = next
		case !errors.Is(err, errNothingNew):
			return err
		}
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

// errNothingNew ends the wait for news so that what is shown can age.
var errNothingNew = errors.New("nothing new for a second")

// nextStatus waits for a snapshot of another version; with aging for a second at most.
func nextStatus(ctx context.Context, client *control.Client, version uint64, aging bool) (status.Snapshot, error) {
	if aging {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Second, errNothingNew)
		defer cancel()
	}
	return client.Status(ctx, version)
}

// statusLines is what people read: lines of clones, of transfers, of warnings, each with its line break.
func statusLines(s status.Snapshot, now time.Time) []string {
	var b strings.Builder
	if s.Agent.XMPP != status.SessionOnline {
		fmt.Fprintf(&b, "xmpp %s as %s\n", s.Agent.XMPP, oneLine(s.Agent.JID))
	}
	if l := s.Limits; l.Up+l.Down > 0 || l.Schedule != "" || len(l.Peers) > 0 {
		for _, line := range limitTable(l, "", now) {
			b.WriteString("limit " + line)
		}
	}
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range s.Clones {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n",
			oneLine(c.Name), cloneState(c), oneLine(branch(c)), oneLine(peerList(c.Peers)), changed(now, c.LastChange))
	}
	transfers := slices.Clone(s.Transfers)
	slices.SortStableFunc(transfers, func(x, y status.Transfer) int {
		return cmp.Or(cmp.Compare(place(x), place(y)), cmp.Compare(x.File, y.File))
	})
	table.Flush()
	for _, t := range transfers {
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\n", oneLine(t.File), progress(t), rate(t), timeLeft(t), oneLine(otherSide(t)))
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
	return trimmed(b.String())
}

// place orders transfers: those under way, those that wait, those that are paused.
func place(t status.Transfer) int {
	if t.State == status.TransferPaused {
		return math.MaxInt
	}
	return t.Position
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
	if c.Keys.Paused > 0 {
		details = append(details, fmt.Sprintf("%d paused", c.Keys.Paused))
	}
	if c.Keys.Unwanted > 0 {
		details = append(details, fmt.Sprintf("%d not wanted", c.Keys.Unwanted))
	}
	if c.Keys.Surplus > 0 {
		details = append(details, fmt.Sprintf("%d to be dropped", c.Keys.Surplus))
	}
	if c.Keys.Dropped > 0 {
		details = append(details, fmt.Sprintf("%d dropped", c.Keys.Dropped))
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
		var notes []string
		switch {
		case !p.Online:
			notes = append(notes, "offline")
		case !p.InStep:
			notes = append(notes, "behind")
		}
		if p.Paused {
			notes = append(notes, "paused")
		}
		if p.PausedThere {
			notes = append(notes, "paused there")
		}
		name := p.Name
		if len(notes) > 0 {
			name += " (" + strings.Join(notes, ", ") + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

func progress(t status.Transfer) string {
	switch {
	case t.State == status.TransferQueued && t.Asked:
		return "queued, asked for"
	case t.State == status.TransferPaused && t.Bytes > 0 && t.Size > 0:
		return "paused at " + size(t.Bytes) + " of " + size(t.Size)
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

func timeLeft(t status.Transfer) string {
	if left := t.Left(); left >= 0 {
		return span(left) + " left"
	}
	return ""
}

// otherSide says with whom, and why with that one.
func otherSide(t status.Transfer) string {
	side := "from " + t.Peer
	switch {
	case t.Peer == "":
		return ""
	case t.Direction == status.Up:
		side = "to " + t.Peer
	}
	if t.Why != "" {
		side += " (" + t.Why + ")"
	}
	return side
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
