package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/remote"
)

// Job is content that is wanted here.
type Job struct {
	Key    annex.Key
	File   string // a file that has this content, to show; may be empty
	Urgent bool   // a person waits for it
}

// Holder is a clone from which content can be got.
type Holder struct {
	Clone   string
	Cost    int     // the order of preference, the parent in the plan first: lower is better; equal ones share the work
	Rate    float64 // bytes a second that are promised; 0: nobody knows
	Partial bool    // it is still receiving the content, or about to, and passes on what it has
	Remote  bool    // it is a place without an agent
	Beside  bool    // its line is as good as that of the cheapest, though its cost is not: it too may bring parts of large content
}

// Options are what a Queue works with. Functions may be called by several goroutines at once; they must not call the queue.
type Options struct {
	Repo *annex.Repo // required

	// Holders gives, for each of the keys, the clones that hold the content, or will, and can be reached. Required. It is asked when
	// jobs are added and after every change (Refresh), of many keys at once.
	Holders func(keys []annex.Key) [][]Holder

	// Arrivals is what the clone's p2p.Server passes on of content that still comes. Nil: nobody is sent any of it.
	Arrivals *p2p.Arrivals

	// Open begins a session with a clone. Required. Rate limits are a matter of the session (p2p.ClientOptions.Limits).
	Open func(ctx context.Context, clone string) (*p2p.Client, error)

	// Remote begins a session with a remote. Required where one is among the holders.
	Remote func(ctx context.Context, remote string) (remote.Session, error)

	// Local gives paths of files on this machine that should have the content: they are tried before any holder. May be nil.
	Local func(key annex.Key) []string

	// Files gives the files of the work tree that are to have the content: huge content is copied for them as it comes. May be nil.
	Files func(key annex.Key) []string

	// Event is told what happens to jobs. It must not block, nor call the queue. May be nil.
	Event func(Event)

	Slots    int           // sessions with one clone at once; 0 is DefaultSlots
	Linger   time.Duration // how long an unused session is kept; 0 is DefaultLinger
	Shared   int64         // missing bytes from which several holders are asked for one content at once; 0 is DefaultShared
	Patience time.Duration // how long a session may bring next to nothing while another holder has the same; 0 is DefaultPatience
	Retry    Retry
	Log      *slog.Logger // required
}

// Retry says how long a failed holder, or failed content of one, is left alone: First after the first failure, twice as
// long after each further one, at most Longest. Zero values are one second and five minutes.
type Retry struct {
	First, Longest time.Duration
}

func (r Retry) orDefault() Retry {
	if r.First <= 0 {
		r.First = time.Second
	}
	if r.Longest <= 0 {
		r.Longest = 5 * time.Minute
	}
	return r
}

// Defaults of Options.
const (
	DefaultSlots    = 4
	DefaultShared   = 32 << 20
	DefaultLinger   = 30 * time.Second
	DefaultPatience = 30 * time.Second
)

const (
	small        = 1 << 20          // bytes; smaller content is asked for ahead, several at once in one session
	fullPause    = 30 * time.Second // before the disk is tried again when it was full
	decideAtOnce = 1000             // jobs that are offered in one go
	busyPause    = 2 * time.Second  // before content is tried again that somebody else is receiving
	slowest      = 4 << 10          // bytes that a session must bring within Options.Patience
	checksIn     = 6                // how often within that time sessions are looked at
	beginWait    = 3 * time.Second  // what a holder that is to receive the content itself is given to begin
)

// Queue is made by New. Its methods may be called from any goroutine, before, while and after Run runs.
type Queue struct {
	o    Options
	wake chan struct{} // 1 long: something changed, Run must look

	deciding sync.Mutex // taken before mu: after decide every job is offered, also those that another was deciding

	mu        sync.Mutex
	jobs      map[annex.Key]*job
	holders   map[string]*holder
	undecided []*job    // not yet offered to holders
	stale     bool      // all offers must be made again
	seq       uint64    // of the last job added
	retry     time.Time // the earliest at which a job or a holder may be tried again; zero: none
	full      time.Time // nothing begins before: the disk was full
	paused    bool
	workers   map[*worker]struct{}
	running   sync.WaitGroup // workers, and the placer
	placer    placer
	placing   map[*transfer]struct{} // whose content has come, and is about to be in place
	swarms    []*joint               // of the contents that several holders may bring, the oldest first
}

// New makes an empty queue.
func New(o Options) *Queue {
	if o.Slots <= 0 {
		o.Slots = DefaultSlots
	}
	if o.Linger <= 0 {
		o.Linger = DefaultLinger
	}
	if o.Shared <= 0 {
		o.Shared = DefaultShared
	}
	if o.Patience <= 0 {
		o.Patience = DefaultPatience
	}
	o.Retry = o.Retry.orDefault()
	if o.Event == nil {
		o.Event = func(Event) {}
	}
	if o.Arrivals == nil {
		o.Arrivals = new(p2p.Arrivals)
	}
	return &Queue{
		o:       o,
		wake:    make(chan struct{}, 1),
		jobs:    map[annex.Key]*job{},
		holders: map[string]*holder{},
		workers: map[*worker]struct{}{},
		placing: map[*transfer]struct{}{},
	}
}

// Add puts jobs into the queue. Content that is wanted already is not wanted twice, but may become urgent. Content that is
// here already is Present at once.
func (q *Queue) Add(jobs ...Job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, wanted := range jobs {
		if j, ok := q.jobs[wanted.Key]; ok {
			if wanted.Urgent && !j.Urgent {
				j.Urgent = true
				q.reconsider(j)
			}
			continue
		}
		q.seq++
		j := &job{Job: wanted, seq: q.seq}
		q.jobs[wanted.Key] = j
		q.undecided = append(q.undecided, j)
	}
	q.signal()
}

// Refresh asks anew who holds what, and whether there is room on the disk. Clones that are named, because they came online,
// and content they failed to give, are tried again at once, but not who lied about it.
func (q *Queue) Refresh(clones ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, clone := range clones {
		if h, ok := q.holders[clone]; ok {
			h.failure = failure{}
		}
	}
	for _, j := range q.jobs {
		for _, clone := range clones {
			if f, ok := j.failed[clone]; ok {
				j.failed[clone] = failure{lied: f.lied, partial: f.partial}
			}
		}
		j.notBefore = time.Time{}
	}
	q.full = time.Time{}
	q.stale = true
	q.signal()
}

// SetPaused stops all transfers, keeping what came, or lets them go on.
func (q *Queue) SetPaused(paused bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.paused = paused
	if paused {
		for w := range q.workers {
			w.cancel(errPaused)
		}
	}
	q.signal()
}

// Pending gives how many jobs are not done, and how many bytes these have as far as their keys tell.
func (q *Queue) Pending() (jobs int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key := range q.jobs {
		size, _ := key.Size()
		bytes += size
	}
	return len(q.jobs), bytes
}

// Running gives the transfers under way, as the last Event of each.
func (q *Queue) Running() []Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	var running []Event
	for w := range q.workers {
		for _, t := range w.transfers {
			running = append(running, t.event(Running))
		}
	}
	for t := range q.placing {
		running = append(running, t.event(Running))
	}
	return running
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

var (
	errCancelled = errors.New("the transfer was cancelled")
	errPaused    = errors.New("transfers are paused")
	errSlow      = errors.New("the holder is too slow")
	errBelow     = fmt.Errorf("%w: it brings less than half of what was promised", errSlow)
)

// Run works the queue off until ctx ends, and waits for everything it started. It gives ctx's error. It must run once.
func (q *Queue) Run(ctx context.Context) error {
	defer q.closeSessions()
	defer q.running.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		q.decide()
		next := q.start(ctx)
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.wake:
		case <-timer.C:
		}
	}
}
