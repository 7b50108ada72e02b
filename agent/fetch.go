package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/xmpp/signal"
)

// fetchTimeout bounds one fetch as a whole; silence ends it much sooner.
const fetchTimeout = time.Hour

// lacks reports whether the peer has a head that is not here.
func (c *clone) lacks(p *peer) bool {
	for ref, h := range p.vector.Heads {
		if shared(ref) && !c.git.Has(gitrepo.Hash(h)) {
			return true
		}
	}
	return p.due
}

// fetch starts to fetch from each peer that has what is not here. What two peers have is fetched from one of them.
func (c *clone) fetch() {
	coming := make(map[signal.Hash]bool)
	for _, p := range c.peers.all() {
		if p.fetching {
			for _, h := range p.vector.Heads {
				coming[h] = true
			}
		}
	}
	for _, p := range c.peers.all() {
		if p.fetching || len(p.links) == 0 || !c.lacks(p) {
			continue
		}
		if pause := time.Until(p.notUntil); pause > 0 {
			c.agenda.in(taskRetry, pause)
			continue
		}
		if !p.due && c.allComing(p, coming) {
			continue
		}
		for _, h := range p.vector.Heads {
			coming[h] = true
		}
		c.startFetch(p)
	}
}

func (c *clone) allComing(p *peer, coming map[signal.Hash]bool) bool {
	for _, h := range p.vector.Heads {
		if !coming[h] && !c.git.Has(gitrepo.Hash(h)) {
			return false
		}
	}
	return true
}

func (c *clone) startFetch(p *peer) {
	id, remote, repo, due, told := p.id, p.remote, c.git, p.due, p.told
	p.fetching, p.due = true, false
	open := c.opener(p)
	c.aside(func(ctx context.Context) {
		refs, err := fetchRefs(ctx, repo, remote, open)
		c.post(ctx, func(ctx context.Context) { c.fetched(ctx, id, due, told, refs, err) })
	})
}

func fetchRefs(ctx context.Context, repo *gitrepo.Repo, remote string, open func(context.Context) (*p2p.Client, error)) (map[string]gitrepo.Hash, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	client, err := open(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	conn, err := client.Connect(ctx, p2p.UploadPack)
	if err != nil {
		return nil, err
	}
	return repo.Fetch(ctx, remote, conn)
}

// fetched takes the outcome of a fetch; due and told are what p.due and p.told were when it began.
func (c *clone) fetched(ctx context.Context, id peerID, due bool, told int, refs map[string]gitrepo.Hash, err error) {
	p := c.peers.byID[id]
	if p == nil {
		return // forgotten meanwhile
	}
	p.fetching = false
	code := "fetch-failed " + p.name
	if err != nil {
		p.failures++
		p.notUntil = time.Now().Add(backoff(p.failures))
		p.due = p.due || due && !errors.Is(err, link.ErrUnreachable) // who cannot be reached has another way, or tells when it is back
		c.log.Warn("fetch", "from", p.name, "err", err)
		if p.failures >= 3 && p.online() {
			c.warnText(code, fmt.Sprintf("cannot fetch from %s: %v", p.name, err), "git arbor doctor")
		}
		return
	}
	c.clear(code)
	c.agenda.in(taskPeerRefs, peerRefsDelay)
	p.failures, p.notUntil = 0, time.Time{}
	for ref, h := range refs {
		if shared(ref) || ref == annexBranch && c.annex != nil {
			c.known(ctx, p, ref, h)
		}
	}
	if p.told != told {
		return // what it said meanwhile is newer
	}
	// What the vector said may be older than what came: it is not to be fetched again.
	for ref := range p.vector.Heads {
		if h, ok := refs[ref]; ok {
			p.vector.Heads[ref] = signal.Hash(h)
		} else {
			delete(p.vector.Heads, ref)
		}
	}
}

// backoff is the pause after this many failures in a row: 1 s doubling to a minute, with jitter.
func backoff(failures int) time.Duration {
	d := time.Second << min(failures-1, 6)
	return min(d, time.Minute)/2 + rand.N(min(d, time.Minute)/2)
}

// opener returns what opens a P2P session with a peer, for use by any goroutine.
func (c *clone) opener(p *peer) func(context.Context) (*p2p.Client, error) {
	id, name, cands, online := p.id, p.name, p.links, p.online()
	self, a := c.id, c.agent
	sameHost := guessKind(cands, a.candidates()) == link.KindHost
	return func(ctx context.Context) (*p2p.Client, error) {
		var ask func(context.Context, link.Ticket) error
		if online {
			ask = func(ctx context.Context, t link.Ticket) error { return c.askDialBack(ctx, id, t) }
		}
		conn, err := a.node.Dial(ctx, id.device, cands, link.ServiceP2P, ask)
		if err != nil {
			if online && errors.Is(err, link.ErrUnreachable) {
				c.post(ctx, func(context.Context) { c.dialled(id, link.KindNone, 0) })
			}
			return nil, err
		}
		kind, rtt := kindOf(conn, sameHost), conn.RTT
		c.post(ctx, func(context.Context) { c.dialled(id, kind, rtt) })
		return p2p.NewClient(ctx, conn, p2p.ClientOptions{
			Self: self, Token: id.clone, Limits: a.limits.link(id.device, name, conn.LAN()),
		})
	}
}

// askDialBack asks a peer that could not be dialled to dial us.
func (c *clone) askDialBack(ctx context.Context, id peerID, t link.Ticket) error {
	return c.ask(ctx, func(ctx context.Context) {
		p := c.peers.byID[id]
		if p == nil || !p.online() {
			return
		}
		b := signal.DialBack{Ticket: signal.Ticket(t), Service: link.ServiceP2P}
		for _, cand := range c.agent.candidates() {
			b.Links = append(b.Links, signal.Link(cand))
		}
		c.tell(ctx, b, []*peer{p})
	})
}

// dialBack dials a peer that could not dial us, and serves it.
func (c *clone) dialBack(p *peer, b signal.DialBack) {
	var cands []link.Candidate
	for _, l := range b.Links {
		cands = append(cands, link.Candidate(l))
	}
	id, node, log := p.id, c.agent.node, c.log
	c.aside(func(ctx context.Context) {
		err := node.DialBack(ctx, id.device, cands, b.Service, b.Ticket)
		if err == nil {
			return
		}
		log.Debug("dial back", "err", err)
		c.post(ctx, func(ctx context.Context) { // or it would wait in vain
			if p := c.peers.byID[id]; p != nil && p.online() {
				c.tell(ctx, signal.NoDialBack{Ticket: b.Ticket}, []*peer{p})
			}
		})
	})
}

// syncAll asks every peer for all it has and tells every peer to do the same, whatever the signals said.
func (c *clone) syncAll(ctx context.Context) {
	for _, p := range c.peers.all() {
		p.due, p.notUntil = true, time.Time{}
	}
	for _, p := range c.remotes() {
		p.due, p.notUntil = true, time.Time{}
	}
	c.agenda.in(taskRemotes, 0)
	c.side.audit, c.side.moved = true, true
	c.tell(ctx, signal.SyncRequest{}, c.peers.online())
	c.agenda.in(taskPublish, publishDelay)
	if c.annex != nil {
		c.want.refresh = true
		c.agenda.in(taskRecord, recordDelay)
		c.reconsider()
	}
}

// remoteTaken reports whether git has a remote of this name that is not ours.
func (c *clone) remoteTaken(name string) bool {
	return c.git.Config("remote."+strings.ToLower(name)+".url") != ""
}
