package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/sync/wanted"
)

// want says, and with Set changes, what a repository is set to want. All clones know it as soon as they have the git-annex branch.
func (a *agent) want(ctx context.Context, r control.WantRequest) (reply control.WantReply, err error) {
	err = a.tell(ctx, r.Clone, func(ctx context.Context, c *clone) error {
		if c.annex == nil {
			return &control.Error{Code: "not-annexed", Text: "nothing in " + c.conf.Name + " is annexed: git has all its files everywhere"}
		}
		id, err := c.repository(ctx, r.Repository)
		if err != nil {
			return err
		}
		if r.Set {
			if err := c.setWanted(ctx, id, strings.Join(strings.Fields(r.Want), " ")); err != nil {
				return err
			}
		}
		reply, err = c.setting(ctx, id)
		return err
	})
	return reply, err
}

// setWanted sets what a repository wants: an expression, or what a group does.
func (c *clone) setWanted(ctx context.Context, id, text string) error {
	settings, err := c.annex.Wanted(ctx)
	if err != nil {
		return fmt.Errorf("read what is wanted: %w", err)
	}
	old, err := c.annex.BranchHead()
	if err != nil {
		return fmt.Errorf("read git-annex branch: %w", err)
	}
	groups, word, isGroup := settings.Join(id, text)
	if !isGroup {
		if err := wanted.Check(text); err != nil {
			return &control.Error{
				Code: "not-understood", Text: fmt.Sprintf("%q is neither a group that says what it wants nor an expression: %v", text, err),
				Fix: "groups are " + strings.Join(wanted.StandardGroups(), ", ") + "; git annex help preferred-content describes the expressions",
			}
		}
		word = text
	} else if err := c.annex.SetGroups(ctx, id, groups); err != nil {
		return fmt.Errorf("set groups: %w", err)
	}
	if err := c.annex.SetPreferred(ctx, id, word); err != nil {
		return fmt.Errorf("set what is wanted: %w", err)
	}
	head, err := c.annex.BranchHead()
	if err != nil {
		return fmt.Errorf("read git-annex branch: %w", err)
	}
	if head == old {
		return nil
	}
	c.announce(ctx, annexBranch, old, head)
	c.agenda.in(taskPublish, publishDelay)
	return c.lookAtContents(ctx)
}

// setting shows people what is set for a repository.
func (c *clone) setting(ctx context.Context, id string) (control.WantReply, error) {
	settings, err := c.annex.Wanted(ctx)
	if err != nil {
		return control.WantReply{}, fmt.Errorf("read what is wanted: %w", err)
	}
	names, err := c.repositoryNames(ctx)
	if err != nil {
		return control.WantReply{}, err
	}
	set := settings.Of(id)
	reply := control.WantReply{
		Repository: names.of(id), UUID: id, Groups: append([]string{}, set.Groups...), Wanted: set.Wanted, Required: set.Required, Means: set.Means,
		Problems: []string{},
	}
	for _, word := range set.Void {
		reply.Problems = append(reply.Problems, fmt.Sprintf("%q stands for what is there already: not exactly one of its groups says what it wants", word))
	}
	if set.Problem != nil {
		reply.Problems = append(reply.Problems, set.Problem.Error())
	}
	return reply, nil
}

// repositoryNames are what people call the repositories, by their ids.
type repositoryNames struct {
	remotes, machines, descriptions map[string]string
}

func (c *clone) repositoryNames(ctx context.Context) (repositoryNames, error) {
	descriptions, err := c.annex.Descriptions(ctx)
	if err != nil {
		return repositoryNames{}, fmt.Errorf("read descriptions of repositories: %w", err)
	}
	n := repositoryNames{make(map[string]string), map[string]string{c.id: c.agent.store.Snapshot().Agent.Name}, descriptions}
	for _, p := range c.places {
		if p.UUID != "" {
			n.remotes[p.id] = p.Name
		}
	}
	for _, p := range c.peers.all() {
		n.machines[p.id.clone] = p.name
	}
	return n, nil
}

// of is what people call a repository.
func (n repositoryNames) of(id string) string {
	for _, names := range []map[string]string{n.machines, n.remotes, n.descriptions} {
		if names[id] != "" {
			return names[id]
		}
	}
	return id
}

// repository finds the id of a repository by its name: first of the remotes of git's configuration, then of the machines, then by what
// git-annex knows.
func (c *clone) repository(ctx context.Context, name string) (string, error) {
	if name == "" {
		return c.id, nil
	}
	names, err := c.repositoryNames(ctx)
	if err != nil {
		return "", err
	}
	for _, all := range []map[string]string{names.remotes, names.machines, names.descriptions} {
		var found []string
		for id, called := range all {
			if called == name || id == name {
				found = append(found, id)
			}
		}
		slices.Sort(found)
		if len(found) == 1 {
			return found[0], nil
		}
		if len(found) > 1 {
			return "", &control.Error{
				Code: "ambiguous", Text: fmt.Sprintf("%q means more than one repository", name), Fix: "give the UUID: " + strings.Join(found, " or "),
			}
		}
	}
	for _, p := range c.places {
		if p.Name == name {
			return "", &control.Error{
				Code: "no-annex", Text: fmt.Sprintf("of the remote %q it is not known that it has an annex", name), Fix: "git annex info " + name + " looks for it",
			}
		}
	}
	return "", &control.Error{
		Code: "no-such-repository", Text: fmt.Sprintf("%s knows no repository %q", c.conf.Name, name), Fix: "git annex info lists them",
	}
}
