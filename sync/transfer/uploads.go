package transfer

import (
	"container/heap"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/remote"
)

// UploadOptions are what Uploads work with. Functions may be called by several goroutines at once; they must not call the
// Uploads.
type UploadOptions struct {
	// Open begins a session with a remote. Required.
	Open func(ctx context.Context, remote string) (remote.Session, error)

	// Event is told what happens, Event.Clone being the remote: Present says that the content is there. It must not block. May be nil.
	Event func(Event)

	Retry Retry
	Log   *slog.Logger // required
}

// Uploads put contents to remotes, which have no agent that could pull: each remote by one session at a time, small contents before
// large. A remote that fails is left alone for a while, and delays no other. Made by NewUploads; its methods may be called
// from any goroutine, before, while and after Run runs.
type Uploads struct {
	o    UploadOptions
	wake chan struct{} // 1 long

	mu      sync.Mutex
	remotes map[string]*outbound
	paused  bool
}

// outbound is what one remote is to get.
type outbound struct {
	wanted  map[annex.Key]failure // with what went wrong so far
	next    jobHeap               // those that can be put now; may have some that are wanted no more, and one twice
	later   []Job                 // those that failed, until it is time for them again
	current annex.Key             // of the one under way
	cancel  context.CancelCauseFunc
	failure failure
}

// jobHeap is a heap of jobs, small contents first.
type jobHeap []Job

func (h jobHeap) Len() int { return len(h) }
func (h jobHeap) Less(i, k int) bool {
	a, _ := h[i].Key.Size()
	b, _ := h[k].Key.Size()
	return a < b
}
func (h jobHeap) Swap(i, k int) { h[i], h[k] = h[k], h[i] }
func (h *jobHeap) Push(x any)   { *h = append(*h, x.(Job)) }
func (h *jobHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = Job{}
	*h = old[:len(old)-1]
	return last
}

// NewUploads makes uploads that have nothing to do.
func NewUploads(o UploadOptions) *Uploads {
	o.Retry = o.Retry.orDefault()
	if o.Event == nil {
		o.Event = func(Event) {}
	}
	return &Uploads{o: o, wake: make(chan struct{}, 1), remotes: make(map[string]*outbound)}
}

// Add has contents put to a remote.
func (u *Uploads) Add(remote string, jobs ...Job) {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := u.remotes[remote]
	if out == nil {
		out = &outbound{wanted: make(map[annex.Key]failure)}
		u.remotes[remote] = out
	}
	for _, j := range jobs {
		if _, ok := out.wanted[j.Key]; !ok {
			out.wanted[j.Key] = failure{}
			heap.Push(&out.next, j)
		}
	}
	u.signal()
}

// Cancel takes back what a remote was to get that drop says, also when it is under way.
func (u *Uploads) Cancel(remote string, drop func(annex.Key) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := u.remotes[remote]
	if out == nil {
		return
	}
	for key := range out.wanted {
		if drop(key) {
			delete(out.wanted, key)
		}
	}
	if _, ok := out.wanted[out.current]; !ok && out.cancel != nil {
		out.cancel(errCancelled)
	}
}

// Retry has everything that failed tried again at once.
func (u *Uploads) Retry() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, out := range u.remotes {
		out.failure = failure{}
		for key := range out.wanted {
			out.wanted[key] = failure{}
		}
	}
	u.signal()
}

// SetPaused stops everything, or lets it go on.
func (u *Uploads) SetPaused(paused bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.paused = paused
	for _, out := range u.remotes {
		if paused && out.cancel != nil {
			out.cancel(errPaused)
		}
	}
	u.signal()
}

func (u *Uploads) signal() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// Run puts contents until ctx ends, and waits for everything it started. It gives ctx's error. It must run once.
func (u *Uploads) Run(ctx context.Context) error {
	var workers errgroup.Group
	defer workers.Wait() //nolint:errcheck // workers have no error
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(u.start(ctx, &workers))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-u.wake:
		case <-timer.C:
		}
	}
}

// start begins what can begin, and gives the time until something more can.
func (u *Uploads) start(ctx context.Context, workers *errgroup.Group) time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	next := time.Hour
	for name, out := range u.remotes {
		if u.paused || out.cancel != nil || len(out.wanted) == 0 {
			continue
		}
		if wait := out.ready(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		ctx, cancel := context.WithCancelCause(ctx)
		out.cancel = cancel
		workers.Go(func() error {
			u.serve(ctx, name, out)
			return nil
		})
	}
	return next
}

// ready gives the time until something can be put; 0 when it can be now.
func (o *outbound) ready(now time.Time) time.Duration {
	var wait time.Duration
	if o.ripen(now); len(o.next) == 0 {
		wait = time.Hour
		for _, j := range o.later {
			wait = min(wait, o.wanted[j.Key].until.Sub(now))
		}
	}
	return max(wait, o.failure.until.Sub(now))
}

// ripen takes those that failed back in whose time has come.
func (o *outbound) ripen(now time.Time) {
	o.later = slices.DeleteFunc(o.later, func(j Job) bool {
		ripe := !o.wanted[j.Key].until.After(now)
		if ripe {
			heap.Push(&o.next, j)
		}
		return ripe
	})
}

// serve puts to one remote until there is nothing more that can be put, or it fails.
func (u *Uploads) serve(ctx context.Context, name string, out *outbound) {
	var session remote.Session
	defer func() {
		if session != nil {
			if err := session.Close(); err != nil {
				u.o.Log.Debug("close session with a remote", "remote", name, "err", err)
			}
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		out.cancel(nil)
		out.cancel = nil
		u.signal()
	}()
	for {
		job, ok := u.take(ctx, out)
		if !ok {
			return
		}
		if session == nil {
			var err error
			if session, err = u.o.Open(ctx, name); err != nil {
				session = nil
				u.failed(ctx, out, Event{Job: job, State: Failed, Clone: name, Size: -1, Err: err}, true)
				return
			}
		}
		t := &transfer{job: job, from: Holder{Clone: name}}
		t.meter.Start(0, time.Now())
		err := session.Put(ctx, job.Key, job.File, func(bytes int64) {
			if t.meter.Add(int(bytes-t.meter.Bytes()), time.Now()) {
				u.o.Event(t.event(Running))
			}
		})
		if err != nil {
			e := t.event(Failed)
			e.Err = err
			u.failed(ctx, out, e, false)
			return
		}
		u.mu.Lock()
		delete(out.wanted, job.Key)
		out.failure = failure{}
		u.mu.Unlock()
		u.o.Event(t.event(Present))
	}
}

// take gives what the remote gets next.
func (u *Uploads) take(ctx context.Context, out *outbound) (Job, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	out.ripen(time.Now())
	for ctx.Err() == nil && len(out.next) > 0 {
		j := heap.Pop(&out.next).(Job)
		if _, ok := out.wanted[j.Key]; ok {
			out.current = j.Key
			return j, true
		}
	}
	out.current = annex.Key{}
	return Job{}, false
}

// failed notes a failure, of the remote as a whole or with one content, and tells of it. What was stopped has not failed.
func (u *Uploads) failed(ctx context.Context, out *outbound, e Event, whole bool) {
	stopped := ctx.Err() != nil
	u.mu.Lock()
	now := time.Now()
	if !stopped {
		out.failure = out.failure.again(now, u.o.Retry)
	}
	if f, ok := out.wanted[e.Job.Key]; ok && (whole || stopped) {
		heap.Push(&out.next, e.Job)
	} else if ok {
		out.wanted[e.Job.Key] = f.again(now, u.o.Retry)
		out.later = append(out.later, e.Job)
	}
	u.mu.Unlock()
	if stopped {
		e.State, e.Err = Waiting, nil
		u.o.Event(e)
		return
	}
	if p2p.IsDiskFull(e.Err) {
		e.State = NoRoom
	}
	u.o.Log.Info("content was not put", "key", e.Job.Key, "remote", e.Clone, "err", e.Err)
	u.o.Event(e)
}
