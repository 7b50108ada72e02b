package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/transfer"
)

const (
	progressApart    = 100 * time.Millisecond // the least time between two tellings
	shownUnreachable = 10                     // files that are told by name
)

// request is contents that a person waits for.
type request struct {
	changed chan struct{} // 1 long

	mu      sync.Mutex
	all     map[annex.Key]bool // false: it is here
	running map[annex.Key]transfer.Event
	left    int
	held    int
}

// requests are those under way. The actor says what has come, the queue's goroutines how far the rest is.
type requests struct {
	mu  sync.Mutex
	all map[*request]struct{}
}

func (rs *requests) add(keys []annex.Key) *request {
	r := &request{
		changed: make(chan struct{}, 1), all: make(map[annex.Key]bool), running: make(map[annex.Key]transfer.Event), left: len(keys),
	}
	for _, k := range keys {
		r.all[k] = true
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.all == nil {
		rs.all = make(map[*request]struct{})
	}
	rs.all[r] = struct{}{}
	return r
}

func (rs *requests) remove(r *request) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.all, r)
}

// each calls f with each request locked, and wakes those for which it says that something changed.
func (rs *requests) each(f func(*request) (changed bool)) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for r := range rs.all {
		r.mu.Lock()
		changed := f(r)
		r.mu.Unlock()
		if changed {
			select {
			case r.changed <- struct{}{}:
			default:
			}
		}
	}
}

// told takes in what the queue tells of a transfer.
func (rs *requests) told(e transfer.Event) {
	rs.each(func(r *request) bool {
		if !r.all[e.Job.Key] {
			return false
		}
		if e.State == transfer.Running {
			r.running[e.Job.Key] = e
		} else {
			delete(r.running, e.Job.Key)
		}
		return true
	})
}

// settle takes in which contents are in the files now.
func (rs *requests) settle(w *contents) {
	rs.each(func(r *request) bool {
		return r.end(func(k annex.Key) bool { return !w.missing[k] && w.behind[k] == nil })
	})
}

// hold takes in that contents will not come for now.
func (rs *requests) hold(keys []annex.Key) {
	held := make(map[annex.Key]bool)
	for _, k := range keys {
		held[k] = true
	}
	rs.each(func(r *request) bool {
		before := r.left
		changed := r.end(func(k annex.Key) bool { return held[k] })
		r.held += before - r.left
		return changed
	})
}

// end ends the waiting for some contents.
func (r *request) end(which func(annex.Key) bool) (changed bool) {
	for k, waits := range r.all {
		if waits && which(k) {
			r.all[k] = false
			delete(r.running, k)
			r.left--
			changed = true
		}
	}
	return changed
}

func (r *request) progress(nameOf func(string) string) control.GetProgress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := control.GetProgress{Contents: len(r.all), Left: r.left, Paused: r.held, From: []string{}}
	for k, waits := range r.all {
		size, _ := k.Size()
		p.Size += size
		if !waits {
			p.Bytes += size
		}
	}
	for _, e := range r.running {
		p.Bytes += e.Bytes
		p.Rate += int64(e.Rate)
		if name := nameOf(e.Clone); name != "" && !slices.Contains(p.From, name) {
			p.From = append(p.From, name)
		}
	}
	slices.Sort(p.From)
	p.Done = r.left == 0
	return p
}

// get has contents transferred before all others, and tells how far that is.
func (a *agent) get(ctx context.Context, r control.GetRequest, tell func(control.GetProgress) error) error {
	c, err := a.find(r.Clone)
	if err != nil {
		return err
	}
	var req *request
	var first control.GetProgress
	var names func(string) string
	asked := c.ask(ctx, func(actor context.Context) {
		if c.state.Paused {
			err = &control.Error{Code: "paused", Text: "the contents of " + c.conf.Name + " are paused", Fix: "git arbor resume " + c.conf.Name}
			return
		}
		var keys []annex.Key
		if keys, err = c.hurry(r.Files); err == nil {
			keys, first = c.reachable(actor, keys)
			req, names = c.asked.add(keys), c.names
			context.AfterFunc(ctx, func() { c.asked.remove(req) })
		}
	})
	if asked != nil {
		return asked
	}
	if err != nil {
		return err
	}
	pause := time.NewTicker(progressApart)
	defer pause.Stop()
	for {
		p := req.progress(names)
		p.Lacking, p.Unreachable = first.Lacking, first.Unreachable
		p.Done = p.Done || !r.Wait
		if err := tell(p); err != nil || p.Done {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-pause.C:
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-req.changed:
		}
	}
}

func (a *agent) prioritise(ctx context.Context, r control.FilesRequest) (reply control.FilesReply, err error) {
	err = a.tell(ctx, r.Clone, func(_ context.Context, c *clone) error {
		keys, err := c.hurry(r.Files)
		reply.Contents = len(keys)
		return err
	})
	return reply, err
}

// hurry has what is missing of some files transferred before all others, also what was held. It gives the keys.
func (c *clone) hurry(files []string) ([]annex.Key, error) {
	keys, err := c.missingOf(files)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if !c.want.missing[k] {
			continue // on its way from the annex into the file
		}
		if c.want.held[k] {
			c.release(k)
		}
		if c.want.spare[k] {
			c.want.kept[k] = true
			c.consider(k)
		}
		c.want.urgent[k] = true
	}
	c.queue.Prioritise(keys...)
	c.showQueue()
	return keys, c.write()
}

// missingOf gives the contents that some files and folders name and do not have yet.
func (c *clone) missingOf(files []string) ([]annex.Key, error) {
	if c.annex == nil {
		return nil, &control.Error{Code: "not-annexed", Text: "nothing in " + c.conf.Name + " is annexed: all its files are in git itself, and here"}
	}
	wanted := make(map[annex.Key]bool)
	for _, file := range files {
		e, err := c.entry(c.side.head, file)
		if err != nil {
			return nil, err
		}
		k, annexed := c.keyOf(e)
		switch {
		case e.Mode == gitrepo.ModeDir:
			below := func(p string) bool { return isBelow(p, file) }
			for k := range c.want.missing {
				if slices.ContainsFunc(c.want.named[k], below) {
					wanted[k] = true
				}
			}
			for k, paths := range c.want.behind {
				if slices.ContainsFunc(slices.Collect(maps.Keys(paths)), below) {
					wanted[k] = true
				}
			}
		case !annexed:
			return nil, &control.Error{Code: "not-annexed", Text: fmt.Sprintf("%q is not annexed: it is in git itself, and here", file)}
		case c.want.missing[k] || c.want.behind[k] != nil:
			wanted[k] = true
		}
	}
	return slices.Collect(maps.Keys(wanted)), nil
}

// entry finds a file that a person names in a commit. Any goroutine may call it.
func (c *clone) entry(commit gitrepo.Hash, file string) (gitrepo.Entry, error) {
	e, err := c.git.Entry(commit, file)
	if errors.Is(err, gitrepo.ErrNotFound) {
		return e, &control.Error{Code: "no-such-file", Text: fmt.Sprintf("%q is in no commit of %s", file, c.conf.Name)}
	}
	if err != nil {
		return e, fmt.Errorf("find %q: %w", file, err)
	}
	return e, nil
}

// isBelow reports whether a path is in a folder, or in one below it; "" is the whole clone.
func isBelow(path, folder string) bool { return folder == "" || strings.HasPrefix(path, folder+"/") }

// reachable gives those of some contents that are on their way or that somebody has who can be asked. Of the others it says
// who has them.
func (c *clone) reachable(ctx context.Context, keys []annex.Key) (can []annex.Key, lacking control.GetProgress) {
	for _, k := range keys {
		logged, err := c.annex.Locations(ctx, k)
		if err != nil {
			c.log.Warn("read location log", "key", k, "err", err)
		}
		if !c.want.missing[k] || slices.ContainsFunc(c.holdersOf(k, logged), c.answers) {
			can = append(can, k)
			continue
		}
		lacking.Lacking++
		if len(lacking.Unreachable) < shownUnreachable {
			lacking.Unreachable = append(lacking.Unreachable, control.Unreachable{
				File: c.want.fileOf(k), Holders: c.whoHas(ctx, k, logged),
			})
		}
	}
	slices.SortFunc(lacking.Unreachable, func(a, b control.Unreachable) int { return strings.Compare(a.File, b.File) })
	return can, lacking
}

// holdersOf gives the peers that have a content.
func (c *clone) holdersOf(k annex.Key, logged []string) []*peer {
	return slices.DeleteFunc(c.peers.all(), func(p *peer) bool { return !p.keys[k] && !slices.Contains(logged, p.id.clone) })
}

// answers tells whether a peer can be expected to give contents. Without a session nobody is known to be online, and all
// are tried.
func (c *clone) answers(p *peer) bool {
	alone := c.agent.store.Snapshot().Agent.XMPP != status.SessionOnline
	return !p.refuses && !c.want.paused.has(p.id.device) && (p.online() || alone && len(p.links) > 0)
}

// whyNot says why a peer that does not answer is not asked.
func (c *clone) whyNot(p *peer) string {
	switch {
	case c.want.paused.has(p.id.device):
		return "paused"
	case p.refuses:
		return "paused there"
	}
	return "offline"
}

// whoHas names those who have a content, and says why they are not asked.
func (c *clone) whoHas(ctx context.Context, k annex.Key, logged []string) []string {
	descriptions, err := c.annex.Descriptions(ctx)
	if err != nil {
		c.log.Warn("read descriptions of repositories", "err", err)
	}
	who := []string{}
	known := map[string]bool{c.id: true}
	for _, p := range c.holdersOf(k, logged) {
		known[p.id.clone] = true
		who = append(who, p.name+" ("+c.whyNot(p)+")")
	}
	for _, id := range logged {
		if !known[id] {
			who = append(who, cmp.Or(descriptions[id], id)+" (not in the grove)")
		}
	}
	return who
}
