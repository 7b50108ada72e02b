package agent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/remote"
	"github.com/git-arbor/arbor/sync/transfer"
	"github.com/git-arbor/arbor/xmpp/signal"
)

// Kinds of edges to remotes.
const (
	kindRemote = "remote" // contents travel that way
	kindDrive  = "drive"  // likewise, without leaving the machine
	kindGit    = "git"    // branches are pushed that way
)

// place is a remote, a place without an agent, as this clone knows it.
type place struct {
	*remote.Remote
	id       string               // its UUID; of one without an annex, made of its URL
	get, put signal.Edge          // what was last told
	lacks    map[annex.Key]string // contents that are here and, by all that is known, not there, each with a file that names it
	has      map[annex.Key]bool   // what signals said is there

	heads     map[string]gitrepo.Hash // where its branches are, as far as was seen or told
	busy      bool                    // git talks with it
	due       bool                    // it is to be fetched from
	changed   time.Time               // since when it lacks commits; zero: it lacks none
	forgotten bool                    // its git-annex branch has history that was forgotten here
	failures  int
	notUntil  time.Time
}

// local reports whether the remote is on this machine.
func (p *place) local() bool { return p.Kind == remote.Path || p.Kind == remote.Directory }

// listRemotes looks which remotes git's configuration has. Some have to be asked who they are.
func (c *clone) listRemotes() {
	git, repo, log := c.git, c.annex, c.log
	c.aside(func(ctx context.Context) {
		found, err := remote.List(ctx, git, repo)
		if err != nil {
			log.Warn("list remotes", "err", err)
			return
		}
		for _, r := range found {
			if err := r.Identify(ctx); err != nil {
				log.Debug("identify remote", "err", err)
			}
		}
		c.post(ctx, func(context.Context) { c.remotesListed(found) })
	})
}

// remotesListed takes in the remotes of git's configuration. Those that are clones with an agent are reached as peers.
func (c *clone) remotesListed(found []*remote.Remote) {
	old := c.places
	c.places = make(map[string]*place)
	for _, r := range found {
		id := r.UUID
		if id == "" {
			sum := sha256.Sum256([]byte(r.URL))
			id = hex.EncodeToString(sum[:16])
		}
		if c.places[id] != nil || id == c.id { // the cheaper one comes first
			continue
		}
		p := old[id]
		if p == nil {
			p = &place{
				id: id, due: r.Fetch, lacks: make(map[annex.Key]string), has: make(map[annex.Key]bool), heads: make(map[string]gitrepo.Hash),
			}
			if r.Push {
				p.changed = time.Now()
			}
		}
		p.Remote = r
		c.places[id] = p
	}
	c.lookForLacks()
	c.holdersChanged()
	c.agenda.in(taskPublish, publishDelay)
	c.agenda.in(taskRemotes, 0)
}

// remotes are those that are no peers, in an order that is always the same.
func (c *clone) remotes() []*place {
	if len(c.places) == 0 {
		return nil
	}
	peers := make(map[string]bool)
	for _, p := range c.peers.all() {
		peers[p.id.clone] = true
	}
	all := slices.SortedFunc(maps.Values(c.places), func(a, b *place) int { return cmp.Compare(a.id, b.id) })
	return slices.DeleteFunc(all, func(p *place) bool { return peers[p.id] })
}

// lookForLacks finds the contents that are here and not in each remote.
func (c *clone) lookForLacks() {
	if c.annex != nil && len(c.places) > 0 {
		c.lacking(slices.DeleteFunc(slices.Collect(maps.Keys(c.want.named)), func(k annex.Key) bool { return !c.annex.Has(k) })...)
	}
}

// lacking notes which remotes lack contents that are here.
func (c *clone) lacking(keys ...annex.Key) {
	remotes := c.remotes()
	if len(remotes) == 0 {
		return
	}
	for i, logged := range c.loggedOf(c.annex, keys) {
		k := keys[i]
		files := c.want.named[k]
		for _, p := range remotes {
			switch {
			case !p.Write || len(files) == 0:
			case p.has[k] || slices.Contains(logged, p.id):
				delete(p.lacks, k)
			default:
				p.lacks[k] = files[0]
				c.want.toUpload[k] = true
			}
		}
	}
}

// openUploads makes what puts contents to remotes.
func (c *clone) openUploads() {
	holders := c.want.holders
	c.uploads = transfer.NewUploads(transfer.UploadOptions{
		Open:  c.openRemote,
		Event: func(e transfer.Event) { c.uploaded(holders, e) },
		Log:   c.log,
	})
	c.uploads.SetPaused(c.state.Paused)
}

// openRemote opens a session with a remote for the queues.
func (c *clone) openRemote(ctx context.Context, id string) (remote.Session, error) {
	var r *remote.Remote // which does not change; the place gets another one
	var local bool
	err := c.ask(ctx, func(context.Context) {
		if p := c.places[id]; p != nil {
			r, local = p.Remote, p.local()
		}
	})
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fmt.Errorf("open remote %s: %w", id, gitrepo.ErrUnreachable)
	}
	return r.Open(ctx, c.agent.limits.remote(local))
}

// planUploads has the contents put to remotes that this clone is to put there by the plan.
func (c *clone) planUploads() {
	for _, p := range c.remotes() {
		var keys []annex.Key
		if c.want.replan {
			keys = slices.Collect(maps.Keys(p.lacks))
		} else {
			for k := range c.want.toUpload {
				if _, lacks := p.lacks[k]; lacks {
					keys = append(keys, k)
				}
			}
		}
		var jobs []transfer.Job
		mine := make(map[annex.Key]bool)
		for i, logged := range c.loggedOf(c.annex, keys) {
			if k := keys[i]; c.want.putter(k, logged, p.id) == c.id {
				mine[k] = true
				jobs = append(jobs, transfer.Job{Key: k, File: p.lacks[k]})
			}
		}
		if c.want.replan {
			c.uploads.Cancel(p.id, func(k annex.Key) bool { return !mine[k] })
		}
		c.uploads.Add(p.id, jobs...)
	}
	c.want.replan = false
	clear(c.want.toUpload)
}

// uploaded is told by the goroutines of the uploads what happens to them.
func (c *clone) uploaded(holders *holders, e transfer.Event) {
	row := c.rowOf(e, status.Up)
	if e.State == transfer.Running {
		if e.Bytes >= fairSample {
			holders.came(putRate(e.Clone), e.Rate)
		}
		c.agent.store.SetTransfer(row)
		return
	}
	c.agent.store.RemoveTransfer(row)
	switch e.State {
	case transfer.Present:
		c.arrivals.put(e.Clone, e.Job.Key)
	case transfer.NoRoom, transfer.Failed:
		c.log.Debug("upload failed", "key", e.Job.Key, "to", e.Clone, "err", e.Err)
	case transfer.Running, transfer.Waiting:
	}
}

// remoteHas takes in that contents have been put to a remote, and tells it.
func (c *clone) remoteHas(ctx context.Context, id string, keys []annex.Key) {
	if c.places[id] == nil {
		return // the person has taken it out
	}
	for _, k := range keys {
		c.want.records = append(c.want.records, annex.Location{Key: k, UUID: id, Present: true})
	}
	c.recordSoon()
	c.theyHaveAt(id, keys)
	c.tellHave(ctx, keys, id)
}

// theyHaveAt notes contents that a remote has, if it is one of ours too.
func (c *clone) theyHaveAt(id string, keys []annex.Key) {
	p := c.places[id]
	if p == nil {
		return
	}
	for _, k := range keys {
		p.has[k] = true
		delete(p.lacks, k)
	}
	c.holdersChanged(keys...)
	if c.want.weighs() {
		c.locationsChanged(keys)
	}
}

// remoteEdges are those from and to the remotes that contents can be got from and put to, and those to the ones that branches are
// pushed to.
func (c *clone) remoteEdges() []signal.Edge {
	var all []signal.Edge
	for _, p := range c.remotes() {
		tell := func(told *signal.Edge, e signal.Edge, rate float64) {
			e.Kind, e.Cost, e.Rate = kindRemote, uint64(p.Cost), uint64(round(rate))
			if p.local() {
				e.Kind = kindDrive
			}
			if told.Cost == e.Cost && near(told.Rate, e.Rate, 1.5) {
				e.Rate = told.Rate
			}
			*told = e
			all = append(all, e)
		}
		if p.Read {
			tell(&p.get, signal.Edge{From: p.id}, c.want.rateFrom(p.id))
		}
		if p.Write {
			tell(&p.put, signal.Edge{To: p.id}, c.want.rateFrom(putRate(p.id)))
		}
		if p.Push {
			all = append(all, signal.Edge{To: p.id, Kind: kindGit, Cost: uint64(p.Cost)})
		}
	}
	return all
}

// putRate is the name under which the rate of putting to a remote is kept.
func putRate(id string) string { return "to " + id }
