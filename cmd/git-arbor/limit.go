package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/config"
)

type limitOptions struct {
	up, down config.Rate
	lan      bool
	schedule config.Schedule
	peer     string
	json     bool

	off   bool
	given func(flag string) bool
}

// textFlag is an option whose value a type of package config reads.
type textFlag struct {
	value interface {
		UnmarshalText([]byte) error
		String() string
	}
	kind string
}

func (f textFlag) Set(s string) error { return f.value.UnmarshalText([]byte(s)) }
func (f textFlag) String() string     { return f.value.String() }
func (f textFlag) Type() string       { return f.kind }

func newLimitCommand(a *app) *cobra.Command {
	var opts limitOptions
	cmd := &cobra.Command{
		Use:   "limit [off]",
		Short: "Show or set how much bandwidth is used",
		Long: `Set how many bytes a second all transfers together may send and receive, or those with one peer, and show the limits in force. They
hold at once, and until they are set otherwise: they are written into the configuration.

A RATE is a number with k, M or G (powers of 1024), or off. A TIMETABLE has a time and a rate for each change, in quotes:

  git arbor limit --up 512k --down 10M
  git arbor limit --schedule "08:00,512k 18:00,off"              both ways, every day
  git arbor limit --schedule "Mon-08:00,512k:10M Fri-18:00,off"  up:down, on some days
  git arbor limit --peer nas --up 1M
  git arbor limit off                                            no limit at all; with --peer, none of its own

Links within this machine and its local network are not limited; --lan includes them, --lan=false leaves them out again. A limit of a
peer holds wherever the peer is. A timetable takes the place of --up and --down, and goes by this machine's clock.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			if len(args) > 1 || args[0] != "off" {
				return fmt.Errorf("%q is no argument: want off, or options", args[0])
			}
			for _, flag := range []string{"up", "down", "lan", "schedule"} {
				if cmd.Flags().Changed(flag) {
					return fmt.Errorf("off and --%s do not go together", flag)
				}
			}
			return nil
		},
		ValidArgs: []cobra.Completion{"off"},
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.off, opts.given = len(args) > 0, cmd.Flags().Changed
			return runLimit(cmd.Context(), a, opts)
		},
	}
	cmd.Flags().Var(textFlag{&opts.up, "RATE"}, "up", "bytes per second to send")
	cmd.Flags().Var(textFlag{&opts.down, "RATE"}, "down", "bytes per second to receive")
	cmd.Flags().BoolVar(&opts.lan, "lan", false, "limit links within the local network too")
	cmd.Flags().Var(textFlag{&opts.schedule, "TIMETABLE"}, "schedule", "limits by the time of day")
	cmd.Flags().StringVar(&opts.peer, "peer", "", "limit what is exchanged with this peer")
	cmd.Flags().BoolVar(&opts.json, "json", false, "print JSON")
	for _, other := range []string{"up", "down", "peer"} {
		cmd.MarkFlagsMutuallyExclusive("schedule", other)
	}
	cmd.MarkFlagsMutuallyExclusive("lan", "peer")
	_ = cmd.RegisterFlagCompletionFunc("peer", a.completePeers)
	return cmd
}

func runLimit(ctx context.Context, a *app, opts limitOptions) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	defer client.Close()
	snapshot, err := client.Status(ctx, 0)
	running := !errors.Is(err, control.ErrNotRunning)
	if err != nil && running {
		return err
	}
	changes := opts.off || opts.given("up") || opts.given("down") || opts.given("lan") || opts.given("schedule")
	switch {
	case !changes && !running:
		return control.ErrNotRunning
	case changes:
		if running && opts.peer != "" && !opts.off && !isPeer(snapshot, opts.peer) {
			return &hinted{fmt.Errorf("no peer is called %q", opts.peer), "git arbor status lists the peers"}
		}
		paths, err := a.paths()
		if err != nil {
			return err
		}
		if err := config.ChangeLimits(paths.Config, opts.change); err != nil {
			return err
		}
		if running, err = a.reload(ctx); err != nil {
			return err
		}
		if !running {
			fmt.Fprintln(a.stderr, "hint: no agent is running; the limits hold from its start on: git arbor agent")
			return nil
		}
		if snapshot, err = client.Status(ctx, 0); err != nil {
			return err
		}
	}
	limits := snapshot.Limits
	if opts.json {
		return writeJSON(a.stdout, struct {
			Schema int `json:"schema"`
			status.Limits
		}{1, limits})
	}
	_, err = io.WriteString(a.stdout, strings.Join(limitTable(limits, opts.peer, time.Now()), ""))
	return err
}

func isPeer(s status.Snapshot, name string) bool {
	for _, c := range s.Clones {
		for _, p := range c.Peers {
			if p.Name == name {
				return true
			}
		}
	}
	return false
}

// change makes the limits those that the command line asks for.
func (o limitOptions) change(l *config.Limits) {
	switch {
	case o.peer != "":
		p := l.Peers[o.peer]
		if o.given("up") || o.off {
			p.Up = o.up
		}
		if o.given("down") || o.off {
			p.Down = o.down
		}
		l.Peers[o.peer] = p
	case o.off:
		*l = config.Limits{}
	default:
		if o.given("lan") {
			l.LAN = o.lan
		}
		if o.given("up") || o.given("down") {
			l.Schedule = nil
		}
		if o.given("schedule") {
			l.Up, l.Down, l.Schedule = 0, 0, o.schedule
		}
		if o.given("up") {
			l.Up = o.up
		}
		if o.given("down") {
			l.Down = o.down
		}
	}
}

// limitTable is what people read: a line for the whole and one for each peer, or for one.
func limitTable(l status.Limits, peer string, now time.Time) []string {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	if peer == "" {
		fmt.Fprintf(table, "all\tup %s\tdown %s\t%s\n", limitRate(l.Up), limitRate(l.Down), limitNote(l, now))
	}
	for _, p := range l.Peers {
		if peer == "" || p.Name == peer {
			fmt.Fprintf(table, "%s\tup %s\tdown %s\t\n", oneLine(p.Name), limitRate(p.Up), limitRate(p.Down))
		}
	}
	table.Flush()
	if b.Len() == 0 {
		fmt.Fprintf(&b, "%s  no limit of its own\n", oneLine(peer))
	}
	return trimmed(b.String())
}

func limitRate(bytes int64) string {
	if bytes == 0 {
		return "off"
	}
	return size(bytes) + "/s"
}

// limitNote says what the rates leave open: how long they hold, and where.
func limitNote(l status.Limits, now time.Time) string {
	var notes []string
	if !l.Until.IsZero() {
		format := "15:04"
		if l.Until.Sub(now) >= 24*time.Hour {
			format = "Mon 15:04"
		}
		notes = append(notes, "until "+l.Until.Local().Format(format))
	}
	if l.LAN {
		notes = append(notes, "also within the LAN")
	}
	return strings.Join(notes, ", ")
}
