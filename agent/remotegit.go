package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/xmpp/signal"
)

const (
	pushDelay  = time.Second      // changes within it are one push
	pushWait   = 10 * time.Second // what others give the one whose turn it is
	pushedWait = 2 * time.Second  // what links are given to bring what a remote has, too
)

// branchesMoved notes that the remotes may lack what a branch has now, whoever moved it.
func (c *clone) branchesMoved() {
	for _, p := range c.remotes() {
		if p.Push && p.changed.IsZero() {
			p.changed = time.Now()
			c.agenda.in(taskRemotes, pushDelay)
		}
	}
}

// talkToRemotes pushes to the remotes that lack commits, if it is this clone's turn, and fetches from those that may have some.
func (c *clone) talkToRemotes() {
	now := time.Now()
	for _, p := range c.remotes() {
		switch {
		case p.busy:
		case p.notUntil.After(now):
			c.agenda.in(taskRemotes, p.notUntil.Sub(now))
		case p.due && p.Fetch:
			c.fetchRemote(p)
		case !p.changed.IsZero() && p.Push:
			turn := p.changed.Add(pushDelay)
			if !c.firstToPush(p) {
				turn = p.changed.Add(pushWait)
			}
			if turn.After(now) {
				c.agenda.in(taskRemotes, turn.Sub(now))
			} else {
				c.pushRemote(p)
			}
		}
	}
}

// firstToPush reports whether nobody who is online reaches the remote more cheaply. When that one does not do it, because it has not
// got the commits, or does not reach the remote after all, the others do.
func (c *clone) firstToPush(p *place) bool {
	for _, peer := range c.peers.online() {
		for _, e := range peer.vector.Edges {
			if e.To == p.id && e.Kind == kindGit && (e.Cost < uint64(p.Cost) || e.Cost == uint64(p.Cost) && peer.id.clone < c.id) {
				return false
			}
		}
	}
	return true
}

// own are the branches that are pushed.
func (c *clone) own() (map[string]gitrepo.Hash, error) {
	refs, err := c.git.Refs(context.Background(), branchPrefix)
	maps.DeleteFunc(refs, func(ref string, _ gitrepo.Hash) bool { return !shared(ref) && ref != annexBranch })
	return refs, err
}

func (c *clone) pushRemote(p *place) {
	heads, err := c.own()
	if err != nil {
		c.log.Warn("read branches", "err", err)
		return
	}
	p.changed = time.Time{}
	if p.forgotten {
		delete(heads, annexBranch)
	}
	if len(heads) == 0 || maps.Equal(heads, p.heads) {
		return
	}
	var branches []string
	for _, ref := range slices.Sorted(maps.Keys(heads)) {
		branches = append(branches, strings.TrimPrefix(ref, branchPrefix))
	}
	git, name := c.git, p.Name // which the actor may change meanwhile
	c.remoteJob(p, func(ctx context.Context) error { return git.PushRemote(ctx, name, branches) }, func(ctx context.Context, err error) {
		if errors.Is(err, gitrepo.ErrBehind) {
			p.due, p.changed = true, time.Now()
			return
		}
		if err != nil {
			p.changed = time.Now()
			return
		}
		p.heads = heads
		p.due = p.due || p.forgotten // the person may have pushed the rest
		c.log.Debug("pushed", "remote", p.Name)
		pushed := signal.Pushed{Remote: p.id, Heads: make(map[string]signal.Hash)}
		for ref, h := range heads {
			pushed.Heads[ref] = signal.Hash(h)
		}
		c.tell(ctx, pushed, c.peers.online())
	})
}

func (c *clone) fetchRemote(p *place) {
	p.due = false
	git, name := c.git, p.Name // which the actor may change meanwhile
	var refs map[string]gitrepo.Hash
	c.remoteJob(p, func(ctx context.Context) error {
		err := git.FetchRemote(ctx, name)
		if err == nil {
			refs, err = git.Refs(ctx, "refs/remotes/"+name+"/")
		}
		return err
	}, func(ctx context.Context, err error) {
		if err != nil {
			p.due = true
			return
		}
		c.remoteFetched(ctx, p, refs)
	})
}

// remoteJob has git talk with a remote, beside the actor, and hears of the outcome.
func (c *clone) remoteJob(p *place, job func(context.Context) error, done func(context.Context, error)) {
	p.busy = true
	c.aside(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		err := job(ctx)
		c.post(ctx, func(ctx context.Context) {
			p.busy = false
			code := "remote-failed " + p.Name
			if err == nil || errors.Is(err, gitrepo.ErrBehind) {
				p.failures, p.notUntil = 0, time.Time{}
				c.clear(code)
			} else {
				p.failures++
				p.notUntil = time.Now().Add(backoff(p.failures))
				c.log.Info("remote failed", "remote", p.Name, "err", err)
				if !errors.Is(err, gitrepo.ErrUnreachable) || p.failures >= 3 {
					c.warn(code, err)
				}
			}
			done(ctx, err)
			c.agenda.in(taskRemotes, 0)
		})
	})
}

// remoteFetched takes in where the branches of a remote are. What is pushed to a branch goes to synced/<branch>, too, which nobody has
// checked out: git-annex's convention.
func (c *clone) remoteFetched(ctx context.Context, p *place, refs map[string]gitrepo.Hash) {
	behind, forgotten := false, false
	p.heads = make(map[string]gitrepo.Hash)
	for name, h := range refs {
		branch := strings.TrimPrefix(strings.TrimPrefix(name, "refs/remotes/"+p.Name+"/"), "synced/")
		ref := branchPrefix + branch
		if !shared(ref) && (ref != annexBranch || c.annex == nil) {
			continue
		}
		if ref == annexBranch && c.superseded(h) {
			c.arrive(ctx, ref, h, p.Name)
			forgotten = true
			continue
		}
		p.heads[ref] = h
		ours, err := c.git.Ref(ref)
		if done, err2 := c.git.IsAncestor(ctx, h, ours); err == nil && err2 == nil && done {
			behind = behind || h != ours
			continue
		}
		if c.wasDeleted(ctx, ref, h) {
			continue
		}
		if err := c.git.Complete(ctx, h); err != nil {
			c.log.Warn("incomplete commit", "remote", p.Name, "ref", ref, "err", err)
			continue
		}
		c.arrive(ctx, ref, h, p.Name)
		behind = true // merged, it is more than what the remote has
	}
	c.remoteForgot(p, forgotten)
	if behind && p.changed.IsZero() {
		p.changed = time.Now()
	}
}

// superseded reports whether a git-annex branch has history that was forgotten here: `git annex forget`.
func (c *clone) superseded(h gitrepo.Hash) bool {
	if c.git.Complete(context.Background(), h) != nil {
		return false
	}
	old, err := c.annex.Superseded(h)
	if err != nil {
		c.log.Warn("look at git-annex branch", "commit", h, "err", err)
	}
	return old
}

// remoteForgot notes whether a remote has history of the git-annex branch that was forgotten. That branch is not pushed there then: only force, which is
// the person's, replaces it.
func (c *clone) remoteForgot(p *place, forgotten bool) {
	if p.forgotten && !forgotten {
		p.changed = time.Now()
	}
	p.forgotten = forgotten
	code := "remote-forgot " + p.Name
	if !forgotten {
		c.clear(code)
		return
	}
	c.warnText(code, fmt.Sprintf("the remote %s has history of the git-annex branch that was forgotten here", p.Name),
		fmt.Sprintf("git push --force %s git-annex git-annex:synced/git-annex", p.Name))
}

// receivePushed takes in that a peer has pushed to a remote. What the links do not bring soon is fetched from there.
func (c *clone) receivePushed(b signal.Pushed) {
	p := c.places[b.Remote]
	if p == nil {
		return
	}
	p.heads = make(map[string]gitrepo.Hash)
	lacking := false
	for ref, h := range b.Heads {
		p.heads[ref] = gitrepo.Hash(h)
		lacking = lacking || !c.git.Has(gitrepo.Hash(h))
	}
	if ours, err := c.own(); err == nil && maps.Equal(ours, p.heads) {
		p.changed = time.Time{}
	}
	if lacking && p.Fetch {
		p.due = true
		p.notUntil = time.Now().Add(pushedWait)
		c.agenda.in(taskRemotes, pushedWait)
	}
}
