package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/grove"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
	"github.com/git-arbor/arbor/sync/watch"
	"github.com/git-arbor/arbor/xmpp/signal"
)

// reopenAfter is how long a clone that cannot be opened (a folder that is not mounted, say) is left alone.
const reopenAfter = 10 * time.Second

// clone is the actor of one clone. Run keeps it open; while it is open, the goroutine of loop alone touches git and the
// fields below "open". Everybody else posts functions for that goroutine to call.
type clone struct {
	// Fixed by newClone.
	conf  config.Clone
	agent *agent
	log   *slog.Logger
	inbox chan func(context.Context)
	kick  chan struct{} // open again now

	arrivals arrivals                  // contents that the queue has placed
	asked    requests                  // contents that a person waits for
	unusable atomic.Bool               // it could not be opened, or failed as a whole
	names    func(clone string) string // what people call a peer, for any goroutine
	serving  atomic.Pointer[serving]   // nil while it is not open

	// What is open.
	unlock  func() // lets another agent have the clone
	git     *gitrepo.Repo
	annex   *annex.Repo // nil in a plain git repository
	grove   *grove.Grove
	id      string
	state   *cloneState
	replay  signal.Replay
	counter *signal.Counter
	watch   *watch.Watcher // of the work tree; nil where nothing is committed unasked
	refs    *watch.Watcher
	queue   *transfer.Queue   // nil without annex
	uploads *transfer.Uploads // likewise
	places  map[string]*place // the remotes, by id
	passing *p2p.Arrivals     // contents that peers get from here while they still come
	jobs    *errgroup.Group   // work that reports back by posting
	running context.Context   //nolint:containedctx // of the jobs, which outlive the cycle that starts them
	agenda  *agenda

	side  person   // what the person does here
	peers peers    // what the others have
	want  contents // annexed contents that are missing here

	condition condition // what people are shown
}

func newClone(conf config.Clone, a *agent) *clone {
	return &clone{
		conf: conf, agent: a, log: a.log.With("clone", conf.Name),
		inbox: make(chan func(context.Context), 256),
		kick:  make(chan struct{}, 1), arrivals: arrivals{wake: make(chan struct{}, 1)},
	}
}

// Run keeps the clone open until ctx ends. A clone that cannot be opened, or that fails as a whole, says so in status
// and is tried again; the others go on.
func (c *clone) Run(ctx context.Context) error {
	for {
		err := c.live(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errNowAnnex) {
			c.log.Info("open clone anew", "because", err)
			continue
		}
		c.log.Error("clone stopped", "err", err)
		c.unusable.Store(true)
		c.agent.store.SetClone(status.Clone{
			Name: c.conf.Name, Path: c.conf.Path, Mode: c.conf.Mode, State: status.StateHalted, Detail: err.Error(),
		})
		c.warn("clone-unusable", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.kick:
		case <-time.After(reopenAfter):
		}
	}
}

// errNowAnnex ends a clone that is to be opened anew: a person has made it one of git-annex's.
var errNowAnnex = errors.New("it is a git-annex repository now")

// live opens the clone and works on it until ctx ends or something it cannot do without fails.
func (c *clone) live(ctx context.Context) error {
	if err := c.open(ctx); err != nil {
		return err
	}
	defer c.close()
	c.unusable.Store(false)
	c.clear("clone-unusable")
	g, ctx := errgroup.WithContext(ctx)
	c.jobs, c.running = g, ctx
	for _, w := range []*watch.Watcher{c.watch, c.refs} {
		if w == nil {
			continue
		}
		g.Go(func() error { return w.Run(ctx) })
		g.Go(func() error {
			for e := range w.Events() {
				c.post(ctx, func(ctx context.Context) { c.watched(ctx, e) })
			}
			return nil
		})
	}
	if c.queue != nil {
		g.Go(func() error { return c.queue.Run(ctx) })
		g.Go(func() error { return c.uploads.Run(ctx) })
	}
	g.Go(func() error { return c.loop(ctx) })
	return g.Wait()
}

func (c *clone) open(ctx context.Context) (err error) {
	c.agent.store.SetClone(status.Clone{Name: c.conf.Name, Path: c.conf.Path, Mode: c.conf.Mode, State: status.StateStarting})
	if c.git, err = gitrepo.Open(ctx, c.conf.Path); err != nil {
		return fmt.Errorf("open %s: %w", c.conf.Path, err)
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	c.unlock, err = lockFile(filepath.Join(c.git.GitDir(), "arbor.lock"), hinted(
		fmt.Errorf("another agent keeps %s", c.conf.Path), "stop it, or take the clone out of one of the configurations"))
	if err != nil {
		return err
	}
	if c.annex, err = annex.Open(ctx, c.git); errors.Is(err, annex.ErrNotAnnex) {
		c.annex, err = nil, nil
	}
	if err == nil && c.annex != nil {
		c.clear("no-annex")
		err = c.annex.ConfigureFilter(ctx)
	}
	if err != nil {
		return fmt.Errorf("open annex: %w", err)
	}
	id, err := grove.ParseID(c.git.Config(configGrove))
	if c.id = cloneID(c.git); c.id == "" || err != nil {
		return hinted(fmt.Errorf("%s belongs to no grove", c.conf.Path), "git arbor init "+c.conf.Path)
	}
	if c.grove, err = grove.Open(grovesDir(c.agent.opt.Paths), id, c.agent.device); err != nil {
		return fmt.Errorf("open grove: %w", err)
	}
	if err := c.restore(); err != nil {
		return err
	}
	if c.refs, err = watch.NewRefs(c.git.GitDir(), c.log); err != nil {
		return fmt.Errorf("watch references: %w", err)
	}
	c.watch = nil
	if c.conf.Mode == config.ModeAuto && !c.git.Bare() {
		c.watch, err = watch.New(watch.Options{Root: c.git.Dir(), Ignored: c.git.Ignored, Log: c.log})
		if err != nil {
			return fmt.Errorf("watch work tree: %w", err)
		}
	}
	c.agenda = newAgenda()
	c.side, c.peers, c.condition = newPerson(), newPeers(), condition{}
	c.openQueue()
	c.serving.Store(c.newServing())
	c.agent.enroll(c)
	return nil
}

func (c *clone) close() {
	c.agent.retire(c)
	c.serving.Store(nil)
	if c.state != nil {
		c.save()
		c.state = nil
	}
	if c.annex != nil {
		c.annex.Close()
	}
	if c.git != nil {
		c.git.Close()
	}
	if c.unlock != nil {
		c.unlock()
	}
	c.git, c.annex, c.grove, c.queue, c.uploads, c.places, c.unlock = nil, nil, nil, nil, nil, nil, nil
}

// post hands f to the actor. It gives up when ctx ends: then nobody waits for the result any more.
func (c *clone) post(ctx context.Context, f func(context.Context)) {
	select {
	case c.inbox <- f:
	case <-ctx.Done():
	}
}

// aside runs f beside the actor; it reports by posting.
func (c *clone) aside(f func(context.Context)) {
	ctx := c.running
	c.jobs.Go(func() error {
		f(ctx)
		return nil
	})
}

// ask posts f and waits until it was called.
func (c *clone) ask(ctx context.Context, f func(context.Context)) error {
	done := make(chan struct{})
	c.post(ctx, func(ctx context.Context) {
		defer close(done)
		f(ctx)
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// askWhole is ask for what must not be called any more, nor be under way, when it returns, also when ctx has ended.
func (c *clone) askWhole(ctx context.Context, f func(context.Context)) error {
	var taken atomic.Bool
	done := make(chan struct{})
	c.post(ctx, func(ctx context.Context) {
		defer close(done)
		if taken.CompareAndSwap(false, true) {
			f(ctx)
		}
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	if taken.CompareAndSwap(false, true) {
		return context.Cause(ctx)
	}
	<-done
	return nil
}

// loop is the actor: it takes what happened, all of it that is there, and then runs one cycle.
func (c *clone) loop(ctx context.Context) error {
	c.begin()
	for {
		c.cycle(ctx)
		select {
		case <-ctx.Done():
			c.leave(ctx)
			return ctx.Err()
		case f := <-c.inbox:
			f(ctx)
		case <-c.arrivals.wake:
		case <-c.agenda.C():
			for _, t := range c.agenda.due() {
				c.task(ctx, t)
			}
		}
		for more := true; more && ctx.Err() == nil; {
			select {
			case f := <-c.inbox:
				f(ctx)
			default:
				more = false
			}
		}
	}
}

// cycle is the one cycle of DESIGN §2. It is level-triggered: it looks at what is, not at what was said, and ends in the
// same state from wherever it starts.
//
// A cycle that has begun is finished also when the agent is told to stop: what it writes belongs together.
func (c *clone) cycle(ctx context.Context) {
	c.settle(c.step(context.WithoutCancel(ctx)))
	c.fetch() // what is not here yet
	c.report()
}

func (c *clone) step(ctx context.Context) error {
	if err := c.git.Vanished(); err != nil {
		return fmt.Errorf("clone vanished: %w", err)
	}
	if err := c.look(ctx); err != nil { // has the person moved a reference?
		return err
	}
	if c.side.unfinished == "" && c.condition.halt == nil {
		if wait, err := c.goOn(ctx); wait || err != nil { // what was begun
			return err
		}
		if err := c.refreshEntries(ctx, nil); err != nil { // what an earlier cycle could not
			return err
		}
		if err := c.commit(ctx); err != nil { // what was saved
			return err
		}
		if err := c.integrate(ctx); err != nil { // what the others have
			return err
		}
	}
	return c.contents(ctx) // annexed contents that are wanted
}

func (c *clone) task(ctx context.Context, t task) {
	switch t {
	case taskRetry: // the cycle that follows is the retry
	case taskUnread:
		for p := range c.side.unread {
			c.side.pending[p] = true
		}
	case taskStaged:
		c.lookAtStaged()
	case taskPublish:
		c.publish(ctx)
		c.agenda.in(taskPeerRefs, peerRefsDelay)
	case taskPeerRefs:
		c.movePeerRefs(ctx)
	case taskRecord:
		c.want.recordDue = true
	case taskShowQueue:
		c.showQueue()
	case taskProbe:
		c.probe()
	case taskRemotes:
		c.talkToRemotes()
	case taskSurplus:
		c.dropSurplus()
	case taskUnneeded:
		c.discardUnneeded()
	case taskWeigh:
		c.weighAgain()
	case taskSync:
		c.syncAll(ctx)
		c.agenda.in(taskSync, c.agent.interval())
	case taskLagging:
		for _, p := range c.peers.all() {
			if h := gitrepo.Hash(p.vector.Annex); !h.IsZero() && !c.git.Has(h) {
				p.due = true
			}
		}
	case taskSave:
		c.save()
	}
}

func (c *clone) statePath() string {
	return filepath.Join(c.agent.opt.Paths.State, "clones", c.id+".json")
}
