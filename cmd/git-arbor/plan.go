package main

import (
	"fmt"
	"io"
	"math"
	"os"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/sync/netmap"
)

type planOptions struct {
	tree bool
	dot  bool
	svg  bool
}

func newPlanCommand(a *app) *cobra.Command {
	var opts planOptions
	var plan *netmap.Plan
	cmd := &cobra.Command{
		Use:   "plan NETWORK.json",
		Short: "Plan how a content travels in a network that a file describes",
		Long: `Plan how a content travels from those that hold it to those that want it, in a network that a file describes; - is the
standard input. No agent is needed: the plan is the one that agents make of such a map. It is printed as JSON.

  {"nodes": [{"id": "a"}, {"id": "b", "site": "home"}, {"id": "nas", "relay": true, "up": 1e8, "down": 1e8}],
   "sites": [{"id": "home", "up": 5e6, "down": 1e7}],
   "edges": [{"from": "a", "to": "b", "cost": 100, "rate": 1e6, "rtt": 0.01}],
   "holders": ["a"], "wanters": ["b"], "objective": "time", "size": 200000000}

Rates are bytes a second, with no limit where they are left out; rtt is in seconds, size in bytes. The objective is time (the
last wanter is done as early as possible) or cost (the sum of the costs of the edges is the least).`,
		Args: cobra.ExactArgs(1),
		// What is wrong in the file is wrong usage, so it is found before the verb begins.
		PreRunE: func(_ *cobra.Command, args []string) (err error) {
			plan, err = a.planFile(args[0])
			return err
		},
		RunE: func(*cobra.Command, []string) error {
			return a.showPlan(plan, opts)
		},
	}
	cmd.Flags().BoolVar(&opts.tree, "tree", false, "print a tree: below each node those that get the content from it")
	cmd.Flags().BoolVar(&opts.dot, "dot", false, "print a picture for Graphviz")
	cmd.Flags().BoolVar(&opts.svg, "svg", false, "print a picture in SVG")
	cmd.MarkFlagsMutuallyExclusive("tree", "dot", "svg")
	return cmd
}

// planFile reads a network and a problem from a file and solves it.
func (a *app) planFile(name string) (*netmap.Plan, error) {
	var data []byte
	var err error
	if name == "-" {
		name = "standard input"
		data, err = io.ReadAll(a.stdin)
	} else {
		data, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, err
	}
	network, problem, err := netmap.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	m, err := netmap.New(network)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	plan, err := m.Plan(problem)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return plan, nil
}

func (a *app) showPlan(plan *netmap.Plan, opts planOptions) error {
	labels := netmap.Labels{Node: oneLine, Hop: hopLabel}
	var picture string
	switch {
	case opts.tree:
		picture = plan.Text(labels)
	case opts.dot:
		picture = plan.DOT(labels)
	case opts.svg:
		picture = plan.SVG(labels)
	default:
		return writeJSON(a.stdout, plan)
	}
	_, err := io.WriteString(a.stdout, picture)
	return err
}

// hopLabel says how fast a node gets the content and when it has all of it.
func hopLabel(h netmap.Hop) string {
	if math.IsInf(h.Rate, 1) {
		return "in " + seconds(h.Seconds)
	}
	return fmt.Sprintf("%s/s, in %s", size(int64(min(h.Rate, 1<<62))), seconds(h.Seconds))
}

// seconds writes a time that may be long.
func seconds(s float64) string {
	switch {
	case s < 120:
		return fmt.Sprintf("%.1f s", s)
	case s < 2*3600:
		return fmt.Sprintf("%.1f min", s/60)
	case s < 48*3600:
		return fmt.Sprintf("%.1f h", s/3600)
	default:
		return fmt.Sprintf("%.4g days", s/86400)
	}
}
