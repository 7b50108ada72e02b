package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/grove"
	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/xmpp"
	"github.com/git-arbor/arbor/xmpp/signal"
)

// Keys of git's configuration that make a repository a clone.
const (
	configGrove = "arbor.grove"
	configClone = "arbor.uuid" // where there is no annex.uuid
)

func cloneID(git *gitrepo.Repo) string {
	if id := git.Config("annex.uuid"); id != "" {
		return id
	}
	return git.Config(configClone)
}

// invite makes an invitation to the clone's grove.
func (c *clone) invite(now time.Time) (control.InviteReply, error) {
	inv, err := c.grove.Invite(now)
	if err != nil {
		return control.InviteReply{}, fmt.Errorf("invite: %w", err)
	}
	return control.InviteReply{URI: inv.URI(), Expires: inv.Expires}, nil
}

// admit answers a device that asks to be admitted. A request without the secret of an open invitation gets no answer.
func (c *clone) admit(ctx context.Context, from string, payload xmpp.Payload) bool {
	a, err := c.grove.Admit(payload.Tag, bareJID(from), payload.Data, time.Now())
	if err != nil {
		return false
	}
	reply := grove.JoinReply{Clone: c.id}
	for _, cand := range c.agent.candidates() {
		reply.Links = append(reply.Links, grove.JoinLink(cand))
	}
	if a.Refused == "" {
		c.clear("join-refused")
	}
	if a.Refused == "" && a.New {
		c.membersChanged(ctx) // before the answer: the device dials at once
	}
	if a.Refused != "" {
		c.warnText("join-refused", fmt.Sprintf("%s (%s) asked to join and was refused: the invitation is %s", a.Member.Name, bareJID(from), a.Refused),
			"git arbor invite makes a new one")
	}
	data, err := c.grove.SealReply(a, c.agent.jid(), reply)
	if err == nil {
		err = c.agent.sendNormal(ctx, from, xmpp.Payload{Tag: payload.Tag, Data: data})
	}
	if err != nil {
		c.log.Warn("answer join request", "from", from, "err", err)
	}
	return true
}

// member reports whether this device belongs to the grove still.
func (c *clone) member() bool {
	_, ok := c.grove.Member(c.agent.device.ID())
	return ok
}

// forget ends the membership of a device that a person named by its ID, the beginning of it, or its name.
func (c *clone) forget(ctx context.Context, which string) error {
	var found []grove.Member
	for _, m := range c.grove.Members() {
		if m.Name == which || which != "" && strings.HasPrefix(m.Device.String(), strings.ToLower(which)) {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return hinted(fmt.Errorf("no member of this grove is called %q", which), "git arbor status lists the peers")
	case 1:
	default:
		return hinted(fmt.Errorf("%q means %d members", which, len(found)), "use the device id that git arbor status --json shows")
	}
	gone := found[0].Device
	online := c.peers.online() // told before they are forgotten, so that the forgotten device learns why
	if err := c.grove.Revoke(gone, time.Now()); err != nil {
		return fmt.Errorf("forget %s: %w", which, err)
	}
	for _, p := range online {
		if p.id.device == gone {
			c.sendLogTo(ctx, found[0], p)
		} else {
			c.sendLog(ctx, p)
		}
	}
	c.membersChanged(ctx)
	return nil
}

// restore reads what the clone remembers of earlier runs.
func (c *clone) restore() error {
	c.state = &cloneState{}
	b, err := os.ReadFile(c.statePath())
	if err == nil && json.Unmarshal(b, c.state) != nil {
		c.state = &cloneState{} // all of it comes again by itself
	}
	if c.state.Peers == nil {
		c.state.Peers = make(map[string]*peerState)
	}
	if c.state.Deleted == nil {
		c.state.Deleted = make(map[string]string)
	}
	c.want = newContents(c.state)
	if len(c.state.Replay) > 0 {
		if err := c.replay.UnmarshalBinary(c.state.Replay); err != nil {
			c.log.Warn("forget which signals were seen", "err", err)
		}
	}
	c.counter = signal.NewCounter(c.agent.epoch)
	return nil
}

// begin makes the peers of earlier runs known: they can be fetched from before they say a word.
func (c *clone) begin() {
	for text, ps := range c.state.Peers {
		id, ok := parsePeerID(text)
		m, member := c.grove.Member(id.device)
		if !ok || !member {
			delete(c.state.Peers, text)
			continue
		}
		p := c.peers.find(id, m, c.remoteTaken)
		p.seen, p.due = ps.LastSeen, true
		for _, l := range ps.Links {
			p.links = append(p.links, link.Candidate(l))
		}
	}
	c.agenda.in(taskSync, c.agent.interval())
	c.agenda.in(taskPublish, 0)
	c.holdersChanged()
	c.introduce()
	c.listRemotes()
}

// introduce corrects what the member log says of this device: its account or its name may have changed.
func (c *clone) introduce() {
	self := c.agent.self()
	m, ok := c.grove.Member(self.Device)
	if !ok || m.JID == self.JID && m.Resource == self.Resource && m.Name == self.Name || self.JID == "" {
		return
	}
	if err := c.grove.Add(self, time.Now()); err != nil {
		c.log.Warn("correct own entry in the member log", "err", err)
	}
}

// save writes what the clone remembers, as far as it can.
func (c *clone) save() {
	if err := c.write(); err != nil {
		c.log.Warn("save state", "err", err)
	}
}

// write writes what the clone remembers.
func (c *clone) write() error {
	for _, p := range c.peers.all() {
		ps := &peerState{LastSeen: p.seen}
		for _, l := range p.links {
			ps.Links = append(ps.Links, savedLink(l))
		}
		c.state.Peers[p.id.String()] = ps
	}
	c.state.Asked, c.state.Held = sortedKeys(c.want.urgent), sortedKeys(c.want.held)
	c.state.Dropped, c.state.Kept = sortedKeys(c.want.dropped), sortedKeys(c.want.kept)
	begun := maps.Clone(c.want.unneeded)
	maps.DeleteFunc(begun, func(k annex.Key, _ bool) bool { return c.partial(k) == 0 })
	c.state.Unneeded = sortedKeys(begun)
	c.state.PausedPeers = c.want.paused.list()
	var err error
	if c.state.Replay, err = c.replay.MarshalBinary(); err != nil {
		return err
	}
	return c.state.save(c.statePath())
}

func sortedKeys(keys map[annex.Key]bool) []string {
	return slices.Sorted(slices.Values(keyStrings(slices.Collect(maps.Keys(keys)))))
}
