package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
)

// findClone asks the agent which of its clones is meant: by name, by a path in it, or, with an empty argument, by the
// current directory.
func (a *app) findClone(ctx context.Context, client *control.Client, arg string) (status.Clone, error) {
	snapshot, err := client.Status(ctx, 0)
	if err != nil {
		return status.Clone{}, err
	}
	return matchClone(snapshot.Clones, arg)
}

func matchClone(clones []status.Clone, arg string) (status.Clone, error) {
	var named []status.Clone
	for _, c := range clones {
		if c.Name == arg {
			named = append(named, c)
		}
	}
	if len(named) == 1 {
		return named[0], nil
	}
	if len(named) > 1 {
		return status.Clone{}, &hinted{fmt.Errorf("%d clones are called %q", len(named), arg), "give the path of one: " + named[0].Path}
	}
	path, err := filepath.Abs(arg)
	if err != nil {
		return status.Clone{}, fmt.Errorf("find clone: %w", err)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = path
	}
	var found status.Clone
	for _, c := range clones {
		inside := within(c.Path, path) || within(c.Path, real)
		if target, err := filepath.EvalSymlinks(c.Path); err == nil {
			inside = inside || within(target, real)
		}
		if inside && len(c.Path) > len(found.Path) {
			found = c
		}
	}
	if found.Path != "" {
		return found, nil
	}
	return status.Clone{}, notAClone(clones, arg)
}

// within tells whether path is root or below it.
func within(root, path string) bool {
	rel, err := filepath.Rel(root, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(os.PathSeparator))
}

func notAClone(clones []status.Clone, arg string) error {
	var names []string
	for _, c := range clones {
		names = append(names, c.Name)
	}
	hint := "git arbor init DIR makes one"
	if len(names) > 0 {
		hint = "the clones are " + strings.Join(names, ", ")
	}
	if arg == "" {
		return &hinted{fmt.Errorf("the current directory is in no clone of this agent"), hint}
	}
	return &hinted{fmt.Errorf("%q is no clone of this agent", arg), hint}
}

// completeClones completes the argument at index at with the names of the agent's clones.
func (a *app) completeClones(at int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) != at {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []cobra.Completion
		for _, c := range a.knownClones(cmd.Context()) {
			names = append(names, cobra.CompletionWithDesc(c.Name, c.Path))
		}
		return names, cobra.ShellCompDirectiveDefault
	}
}

// completeDevices gives the names of all peers.
func (a *app) completeDevices(ctx context.Context) []cobra.Completion {
	var names []cobra.Completion
	for _, c := range a.knownClones(ctx) {
		for _, p := range c.Peers {
			if name := cobra.CompletionWithDesc(p.Name, p.Device); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// completePeers completes the value of an option with them.
func (a *app) completePeers(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completeDevices(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
}

// knownClones are what a running agent has; completion has nothing to say without one.
func (a *app) knownClones(ctx context.Context) []status.Clone {
	client, err := a.client()
	if err != nil {
		return nil
	}
	defer client.Close()
	snapshot, err := client.Status(ctx, 0)
	if err != nil {
		return nil
	}
	return snapshot.Clones
}

// argument returns the argument at i, or "".
func argument(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}
