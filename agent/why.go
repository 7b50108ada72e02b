package agent

import (
	"context"
	"fmt"
	"slices"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/wanted"
)

// why says where the content of a file is, whether it is wanted here, and what becomes of it.
func (a *agent) why(ctx context.Context, r control.WhyRequest) (reply control.WhyReply, err error) {
	err = a.tell(ctx, r.Clone, func(ctx context.Context, c *clone) error {
		e, err := c.entry(c.side.head, r.File)
		if err != nil {
			return err
		}
		if e.Mode == gitrepo.ModeDir {
			return &control.Error{Code: "is-folder", Text: fmt.Sprintf("%q is a folder", r.File), Fix: "name one file in it"}
		}
		reply = control.WhyReply{File: r.File, State: control.WhyInGit, Size: -1, Holders: []control.Holder{}, Reasons: []control.Reason{}}
		k, annexed := c.keyOf(e)
		if !annexed || c.annex == nil {
			return nil
		}
		reply.Key = k.String()
		if size, ok := k.Size(); ok {
			reply.Size = size
		}
		return c.explain(ctx, k, &reply)
	})
	return reply, err
}

// explain gathers what is known of a content.
func (c *clone) explain(ctx context.Context, k annex.Key, reply *control.WhyReply) error {
	logged, err := c.annex.Locations(ctx, k)
	if err != nil {
		return fmt.Errorf("read location log: %w", err)
	}
	if reply.Holders, err = c.holderNames(ctx, k, logged); err != nil {
		return err
	}
	settings, err := c.annex.Wanted(ctx)
	if err != nil {
		return fmt.Errorf("read what is wanted: %w", err)
	}
	here := c.annex.Has(k)
	if err := c.explainWanted(ctx, settings, k, here, logged, reply); err != nil {
		return err
	}
	reply.Asked = c.want.urgent[k] || c.want.kept[k]
	if !here {
		c.explainMissing(k, logged, reply)
		return nil
	}
	reply.State = control.WhyHere
	if c.want.behind[k] != nil {
		reply.State = control.WhyUnfilled
	}
	return c.explainCopies(ctx, settings, k, logged, reply)
}

// holderNames names the other repositories that have a content.
func (c *clone) holderNames(ctx context.Context, k annex.Key, logged []string) ([]control.Holder, error) {
	names, err := c.repositoryNames(ctx)
	if err != nil {
		return nil, err
	}
	all := []control.Holder{}
	peers := c.peersByClone()
	for _, id := range c.want.whoHas(k, logged) {
		h := control.Holder{Name: names.of(id)}
		switch p := peers[id]; {
		case p == nil && c.places[id] != nil && c.places[id].Read:
			h.Note = "a remote"
		case p == nil && c.places[id] != nil:
			h.Note = "a remote that is not read from"
		case p == nil:
			h.Note = "not in the grove"
		case c.answers(p):
			h.Online = true
		default:
			h.Note = c.whyNot(p)
		}
		all = append(all, h)
	}
	return all, nil
}

func (c *clone) peersByClone() map[string]*peer {
	peers := make(map[string]*peer)
	for _, p := range c.peers.all() {
		peers[p.id.clone] = p
	}
	return peers
}

// explainWanted says whether a content is wanted here, by the file that is asked about or, if that is not wanted, by another one that is.
func (c *clone) explainWanted(
	ctx context.Context, settings *wanted.Settings, k annex.Key, here bool, logged []string, reply *control.WhyReply,
) error {
	have := c.want.whoHas(k, logged)
	if here {
		have = append(have, c.id)
	}
	for _, file := range slices.Concat([]string{reply.File}, c.want.named[k]) {
		f := c.annex.WantedFile(ctx, k, file, have)
		if c.want.weighs() {
			f.Used = func() (map[string]wanted.Use, error) { return c.want.useBeside(k), nil }
		}
		yes, reasons, err := settings.Explain(c.id, f, here)
		if err != nil {
			return fmt.Errorf("find out whether %q is wanted: %w", file, err)
		}
		if yes || file == reply.File {
			reply.Wanted, reply.Reasons = yes, reply.Reasons[:0]
			for _, r := range reasons {
				reply.Reasons = append(reply.Reasons, control.Reason{Term: r.Term, Match: r.Match, Why: r.Why})
			}
		}
		if yes {
			if file != reply.File {
				reply.WantedAs = file
			}
			break
		}
	}
	return nil
}

// explainMissing says why a content is not here, or how far it is on its way.
func (c *clone) explainMissing(k annex.Key, logged []string, reply *control.WhyReply) {
	switch {
	case c.want.dropped[k]:
		reply.State = control.WhyDropped
		return
	case c.want.held[k]:
		reply.State, reply.Bytes = control.WhyHeld, c.partial(k)
		return
	case c.want.spare[k]:
		reply.State = control.WhyUnwanted
		return
	}
	for _, e := range c.queue.Running() {
		if e.Job.Key == k {
			source := control.Source{Name: c.names(e.Clone)}
			if e.Clone != "" {
				source.Why = c.want.why(k, logged, e.Clone)
			}
			reply.State, reply.From, reply.Bytes = control.WhyComing, append(reply.From, source), max(reply.Bytes, e.Bytes)
		}
	}
	reply.Position = c.queue.Position(k)
	switch {
	case reply.State == control.WhyComing:
	case c.state.Paused:
		reply.State = control.WhyPaused
	case !c.canBeAsked(k, logged):
		reply.State = control.WhyUnreached
	case reply.Position > 0:
		reply.State = control.WhyQueued
	default:
		reply.State = control.WhyUnknown
	}
}

// canBeAsked reports whether there is somebody from whom a content can be got now.
func (c *clone) canBeAsked(k annex.Key, logged []string) bool {
	peers := c.peersByClone()
	for _, h := range c.want.of(k, logged) {
		if h.Remote || peers[h.Clone] != nil && c.answers(peers[h.Clone]) {
			return true
		}
	}
	return len(c.want.copies.of(k, c.annex)) > 0
}

// explainCopies says whether a content that is here could be dropped.
func (c *clone) explainCopies(
	ctx context.Context, settings *wanted.Settings, k annex.Key, logged []string, reply *control.WhyReply,
) error {
	files := c.want.named[k]
	if !slices.Contains(files, reply.File) {
		files = append(slices.Clone(files), reply.File)
	}
	var err error
	if reply.Required, err = settings.Requires(c.id, c.annex.WantedFile(ctx, k, files[0], logged), files[1:]...); err != nil {
		return fmt.Errorf("find out whether %q is required: %w", reply.File, err)
	}
	copies, err := c.annex.Copies(ctx, files, 0)
	if err != nil {
		return fmt.Errorf("how many copies of %q there must be: %w", reply.File, err)
	}
	found, err := c.copyFinder().find(ctx, k)
	if err != nil {
		return err
	}
	reply.Needed = copies.Elsewhere()
	reply.Certain, reply.Provable = found.names(found.trusted), found.names(slices.Concat(found.ask, found.remotes))
	reply.Uncertain = found.unproven(&p2p.Locked{})
	return nil
}
