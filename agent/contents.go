package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
	"github.com/git-arbor/arbor/xmpp/signal"
)

// unneededDelay is how long what has come of contents is kept that no file names or wants any more: a file that is moved may be gone first.
const unneededDelay = 2 * time.Second

// contents are the annexed contents that the clone's files name and that are not here.
type contents struct {
	missing    map[annex.Key]bool            // what files name and is not here
	behind     map[annex.Key]map[string]bool // files that are pointers still though their content is here
	drafts     map[annex.Key]bool            // huge contents that files are to get: whether copies of them are being made
	urgent     map[annex.Key]bool            // missing, and wanted first by the person
	held       map[annex.Key]bool            // missing, and not to be transferred for now
	dropped    map[annex.Key]bool            // held, because the person has dropped them
	spare      map[annex.Key]bool            // missing, and not wanted here
	unneeded   map[annex.Key]bool            // missing, and named or wanted no more since a moment
	surplus    map[annex.Key]bool            // here, and not wanted any more
	round      []annex.Key                   // to be weighed again
	unproven   map[annex.Key]bool            // surplus of which there were not enough other copies when it was last tried
	kept       map[annex.Key]bool            // not wanted, but the person has asked for them
	altered    map[annex.Key]string          // may have been overwritten, each with a file that may be its object
	dropping   int                           // how many of the surplus are being dropped
	seen       gitrepo.Hash                  // the git-annex branch as lookAtContents has seen it last
	taken      gitrepo.Hash                  // and as it was when the others' locations were taken in
	forgetting bool                          // git-annex is about to rewrite the git-annex branch (git annex forget)
	paused     *devices                      // with which no contents are exchanged
	requeued   bool                          // the queue is not as it was last shown
	refresh    bool                          // who holds what has changed
	redraw     bool                          // the map may have changed
	edges      []signal.Edge                 // what the others were told of getting contents from them
	online     []string                      // clones that came online
	records    []annex.Location              // not yet in the location log
	told       []annex.Location              // likewise, of what peers have told for this clone to write it down
	untold     []annex.Key                   // contents that have come and that the peers were not told of
	toUpload   map[annex.Key]bool            // that a remote lacks, and nobody has decided who puts it there
	replan     bool                          // that is to be decided anew for all
	recordDue  bool
	copies     *copies

	unrecorded time.Time // since when there is something to be recorded
	newest     time.Time // when the newest of it came

	*holders
}

func newContents(state *cloneState) contents {
	return contents{
		missing: make(map[annex.Key]bool), behind: make(map[annex.Key]map[string]bool), drafts: make(map[annex.Key]bool),
		urgent: keySet(state.Asked), held: keySet(state.Held, state.Dropped), dropped: keySet(state.Dropped), kept: keySet(state.Kept),
		unneeded: keySet(state.Unneeded), paused: newDevices(state.PausedPeers),
		spare: make(map[annex.Key]bool), surplus: make(map[annex.Key]bool), unproven: make(map[annex.Key]bool), altered: make(map[annex.Key]string),
		toUpload: make(map[annex.Key]bool), copies: new(copies), holders: newHolders(),
	}
}

// keySet reads keys that were written down.
func keySet(texts ...[]string) map[annex.Key]bool {
	keys := make(map[annex.Key]bool)
	for _, k := range parseKeys(slices.Concat(texts...)) {
		keys[k] = true
	}
	return keys
}

// note adds a path to those that name a key.
func note(m map[annex.Key]map[string]bool, k annex.Key, path string) {
	if m[k] == nil {
		m[k] = make(map[string]bool)
	}
	m[k][path] = true
}

// name takes in that a file names a key.
func (h *holders) name(k annex.Key, path string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.named[k] = append(h.named[k], path)
}

// files gives the files that name a key.
func (h *holders) files(k annex.Key) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.named[k])
}

// forgetNames takes in that no file names anything any more.
func (h *holders) forgetNames() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.named)
	h.forgetMoves()
}

// forget takes in that a file names a key no more.
func (w *contents) forget(k annex.Key, path string) {
	w.mu.Lock()
	left := slices.DeleteFunc(slices.Clone(w.named[k]), func(named string) bool { return named == path })
	if len(left) == 0 {
		delete(w.named, k)
		w.forgetMove(k)
		delete(w.hang, k)
	} else {
		w.named[k] = left
	}
	w.mu.Unlock()
	if w.missing[k] {
		w.requeued = true
		if len(left) == 0 {
			delete(w.missing, k)
			delete(w.spare, k)
			w.unneeded[k] = true
		}
	}
}

// found takes in that a content is missing no more.
func (w *contents) found(k annex.Key) {
	delete(w.missing, k)
	delete(w.urgent, k)
	delete(w.held, k)
	delete(w.dropped, k)
	delete(w.spare, k)
	w.requeued = true
}

// forgetOld forgets what the person wanted of contents that were missing in earlier runs. While the agent runs it is kept:
// a file that is moved is gone for a moment.
func (w *contents) forgetOld() {
	old := func(k annex.Key, _ bool) bool { return !w.missing[k] }
	maps.DeleteFunc(w.urgent, old)
	maps.DeleteFunc(w.held, old)
	maps.DeleteFunc(w.dropped, old)
}

// heldBack are the missing contents that are not to be transferred for now, but those that were dropped.
func (w *contents) heldBack() []annex.Key {
	var keys []annex.Key
	for k := range w.held {
		if w.missing[k] && !w.dropped[k] {
			keys = append(keys, k)
		}
	}
	return keys
}

// away counts the missing contents that were dropped.
func (w *contents) away() int {
	n := 0
	for k := range w.dropped {
		if w.missing[k] {
			n++
		}
	}
	return n
}

// spares counts the missing contents that are not wanted, and not held besides.
func (w *contents) spares() int {
	n := 0
	for k := range w.spare {
		if w.missing[k] && !w.held[k] {
			n++
		}
	}
	return n
}

// fileOf is the file by which a missing content is shown.
func (w *contents) fileOf(k annex.Key) string {
	return slices.Min(w.named[k])
}

// some returns up to n keys that are missing and wanted.
func (w *contents) some(n int) []annex.Key {
	var keys []annex.Key
	for k := range w.missing {
		if len(keys) == n {
			break
		}
		if !w.dropped[k] && !w.spare[k] {
			keys = append(keys, k)
		}
	}
	return keys
}

// openQueue makes the queue that gets what is missing.
func (c *clone) openQueue() {
	if c.annex == nil {
		return
	}
	repo, holders, copies := c.annex, c.want.holders, c.want.copies
	c.passing = new(p2p.Arrivals)
	c.names = holders.nameOf
	c.queue = transfer.New(transfer.Options{
		Repo:     repo,
		Holders:  func(keys []annex.Key) [][]transfer.Holder { return c.sources(repo, holders, keys) },
		Arrivals: c.passing,
		Open:     c.openSession,
		Remote:   c.openRemote,
		Local:    func(k annex.Key) []string { return copies.of(k, repo) },
		Files:    holders.files,
		Event:    func(e transfer.Event) { c.transferred(repo, holders, e) },
		Log:      c.log,
	})
	c.queue.SetPaused(c.state.Paused)
	c.openUploads()
}

// sources gives the queue who can be asked for each of the keys.
func (c *clone) sources(repo *annex.Repo, holders *holders, keys []annex.Key) [][]transfer.Holder {
	logged := c.loggedOf(repo, keys)
	all := make([][]transfer.Holder, len(keys))
	for i, k := range keys {
		all[i] = holders.of(k, logged[i])
	}
	return all
}

// openSession opens a session with a clone for the queue.
func (c *clone) openSession(ctx context.Context, clone string) (*p2p.Client, error) {
	var open func(context.Context) (*p2p.Client, error)
	err := c.ask(ctx, func(context.Context) {
		for _, p := range c.peers.all() {
			if p.id.clone == clone {
				open = c.opener(p)
				return
			}
		}
	})
	if err != nil {
		return nil, err
	}
	if open == nil {
		return nil, fmt.Errorf("open session with %s: %w", clone, link.ErrUnreachable)
	}
	return open(ctx)
}

// wantFrom takes in what the way from one commit to another makes wanted: here, the content of every file.
// told are contents that the peers know to be here.
func (c *clone) wantFrom(ctx context.Context, from, to gitrepo.Hash, told ...annex.Key) error {
	if c.annex == nil {
		return nil
	}
	for _, next := range c.commitsBetween(from, to) {
		if err := c.wantStep(ctx, from, next, told); err != nil {
			return err
		}
		from = next
	}
	return nil
}

// wantStep is wantFrom for one step.
func (c *clone) wantStep(ctx context.Context, from, to gitrepo.Hash, told []annex.Key) error {
	changes, err := c.git.Diff(from, to)
	if err != nil {
		return fmt.Errorf("compare commits: %w", err)
	}
	var here, missing, touched []annex.Key
	left := make(map[annex.Key]string)
	for _, ch := range changes {
		if k, ok := c.keyOf(ch.Old); ok {
			c.want.forget(k, ch.Path)
			touched = append(touched, k)
			left[k] = ch.Path
		}
		k, ok := c.keyOf(ch.New)
		if !ok {
			continue
		}
		c.want.name(k, ch.Path)
		touched = append(touched, k)
		if ch.New.Mode == gitrepo.ModeSymlink && c.watch != nil && ch.New.Hash != gitrepo.HashBlob([]byte(annex.LinkTarget(ch.Path, k))) {
			c.side.pending[ch.Path] = true // moved by a git that has no hook of git-annex
			c.agenda.in(taskRetry, retryDelay)
		}
		switch {
		case c.annex.Has(k):
			if ch.New.Mode.IsRegular() {
				note(c.want.behind, k, ch.Path)
			}
			c.want.copies.add(k)
			here = append(here, k)
		default:
			c.want.missing[k] = true
			missing = append(missing, k)
		}
	}
	if from.IsZero() {
		c.want.forgetOld()
	}
	for k, p := range left {
		c.looksOverwritten(k, p)
	}
	c.lacking(here...)
	c.consider(slices.DeleteFunc(touched, func(k annex.Key) bool { return len(c.want.named[k]) == 0 })...)
	if len(c.want.unneeded) > 0 {
		c.agenda.in(taskUnneeded, unneededDelay)
		c.agenda.in(taskSave, 0)
	}
	if err := c.recordMissing(ctx, missing); err != nil {
		return err
	}
	return c.recordHere(ctx, here, told)
}

// discardUnneeded ends the transfers of contents that no file names or wants any more, and forgets what has come of them.
func (c *clone) discardUnneeded() {
	needed := func(k annex.Key) bool { return c.want.missing[k] && !c.want.spare[k] }
	c.queue.Discard(slices.DeleteFunc(slices.Collect(maps.Keys(c.want.unneeded)), needed)...)
	clear(c.want.unneeded)
	c.agenda.in(taskSave, saveDelay)
}

// smudged takes in the pointers that the person's git has checked out.
func (c *clone) smudged(ctx context.Context) error {
	if c.annex == nil || c.git.Bare() {
		return nil
	}
	return c.annex.Smudged(ctx, func(files []annex.Smudged) error {
		for _, f := range files {
			if c.annex.Has(f.Key) {
				note(c.want.behind, f.Key, f.Path)
			}
		}
		return nil
	})
}

// contents has the queue get what is missing, gives the files what has come, and keeps the location log.
func (c *clone) contents(ctx context.Context) error {
	if c.annex == nil {
		return nil
	}
	came, put, moved := c.arrivals.take()
	if len(came) > 0 {
		c.want.redraw = true // what brought them was measured
		c.arrived(came)
	}
	for id, keys := range put {
		c.want.redraw = true
		c.remoteHas(ctx, id, keys)
	}
	c.want.requeued = c.want.requeued || moved
	if err := c.populate(ctx); err != nil {
		return err
	}
	c.dropOverwritten()
	if c.want.redraw {
		if err := c.redraw(); err != nil {
			return err
		}
	}
	if c.want.refresh || len(c.want.online) > 0 {
		c.queue.Refresh(c.want.online...)
		c.want.refresh, c.want.online = false, nil
	}
	if c.want.replan || len(c.want.toUpload) > 0 {
		c.planUploads()
	}
	c.asked.settle(&c.want)
	if c.want.requeued {
		c.want.requeued = false
		c.agenda.in(taskShowQueue, showDelay)
	}
	if c.want.recordDue && !c.burst() {
		if err := c.record(ctx); err != nil {
			return err
		}
		c.want.recordDue = false
	}
	return nil
}

// arrived takes contents that the queue has placed.
func (c *clone) arrived(came []annex.Key) {
	for _, k := range came {
		c.want.copies.add(k)
	}
	c.present(came)
	c.want.untold = append(c.want.untold, came...)
	c.side.changed = time.Now()
	c.clear("no-room")
}

// present notes that contents are here now, for the files that name them, the location log and the next vector.
func (c *clone) present(keys []annex.Key) {
	for _, k := range keys {
		if c.want.missing[k] {
			for _, p := range c.want.named[k] {
				note(c.want.behind, k, p)
			}
		}
		c.want.found(k)
		c.want.records = append(c.want.records, annex.Location{Key: k, UUID: c.id, Present: true})
	}
	if len(keys) == 0 {
		return
	}
	c.lacking(keys...)
	c.recordSoon()
	c.agenda.in(taskPublish, publishDelay)
}
