package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/sync/netmap"
)

type mapOptions struct {
	clone string
	json  bool
	dot   bool
	svg   bool
}

func newMapCommand(a *app) *cobra.Command {
	var opts mapOptions
	cmd := &cobra.Command{
		Use:   "map [FILE]",
		Short: "Show who gets the contents of large files from whom",
		Long: `Show who gets the contents of large files from whom: below each clone those that get them from it. With FILE it is the way of
that file's content, from those that have it to all others; without, that of a large content that is new here. The map is made of
what the agents have measured and told each other; git arbor plan makes the same plan of the output of --json.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			defer client.Close()
			var req control.MapRequest
			if len(args) == 1 {
				snapshot, err := client.Status(cmd.Context(), 0)
				if err != nil {
					return err
				}
				if req.Clone, req.File, err = locate(snapshot.Clones, args[0]); err != nil {
					return err
				}
			} else {
				c, err := a.findClone(cmd.Context(), client, opts.clone)
				if err != nil {
					return err
				}
				req.Clone = c.Path
			}
			reply, err := client.Map(cmd.Context(), req)
			if err != nil {
				return err
			}
			return a.showMap(reply, opts)
		},
	}
	cmd.Flags().StringVar(&opts.clone, "clone", "", "the clone, by name or path (default: that of the current directory)")
	cmd.Flags().BoolVar(&opts.json, "json", false, "print the map as git arbor plan reads it")
	cmd.Flags().BoolVar(&opts.dot, "dot", false, "print a picture for Graphviz")
	cmd.Flags().BoolVar(&opts.svg, "svg", false, "print a picture in SVG")
	cmd.MarkFlagsMutuallyExclusive("json", "dot", "svg")
	return cmd
}

func (a *app) showMap(reply control.MapReply, opts mapOptions) error {
	if opts.json {
		return writeJSON(a.stdout, reply.Problem)
	}
	network, problem, err := netmap.Decode(reply.Problem)
	if err != nil {
		return fmt.Errorf("read map: %w", err)
	}
	m, err := netmap.New(network)
	if err != nil {
		return fmt.Errorf("read map: %w", err)
	}
	plan, err := m.Plan(problem)
	if err != nil {
		return fmt.Errorf("read map: %w", err)
	}
	name := func(id string) string {
		if id == reply.Self {
			return oneLine(reply.Names[id]) + " (this one)"
		}
		return oneLine(cmp.Or(reply.Names[id], id))
	}
	labels := netmap.Labels{Node: name, Hop: hopLabel}
	var picture string
	switch {
	case opts.dot:
		picture = plan.DOT(labels)
	case opts.svg:
		picture = plan.SVG(labels)
	default:
		picture = plan.Text(labels) + spare(plan, problem, name)
	}
	_, err = io.WriteString(a.stdout, picture)
	return err
}

// spare names the holders from which nobody gets the content.
func spare(plan *netmap.Plan, problem netmap.Problem, name func(string) string) string {
	var text strings.Builder
	roots := plan.Roots()
	for _, id := range problem.Holders {
		if !slices.Contains(roots, id) {
			fmt.Fprintf(&text, "%s has it\n", name(id))
		}
	}
	return text.String()
}
