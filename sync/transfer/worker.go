package transfer

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
)

// worker gets content from one holder, through one session at a time, until there is no more for it.
type worker struct {
	q      *Queue
	h      *holder
	cancel context.CancelCauseFunc // ends the context of run
	client *p2p.Client
	used   bool // the session has brought something, or was begun by this worker
	begun  bool // it has looked for work

	transfers []*transfer // under way; guarded by the queue's mutex, as are the next three
	checked   time.Time
	then      int64 // bytes at that time
	pace      pace
	bytes     atomic.Int64 // that came
}

// arrival is a job that a worker has taken, with what is here of its content.
type arrival struct {
	*job
	*transfer
	partial *p2p.Partial // nil: it comes into memory
	offset  int64        // bytes that were here before
	unsaved error        // why bytes that came could not be stored
}

// newWorker makes a worker, and the context to run it in. The queue's mutex is held.
func (q *Queue) newWorker(ctx context.Context, h *holder) (*worker, context.Context) {
	w := &worker{q: q, h: h}
	ctx, w.cancel = context.WithCancelCause(ctx)
	h.sessions++
	h.starting++
	q.workers[w] = struct{}{}
	return w, ctx
}

func (w *worker) run(ctx context.Context) {
	defer w.leave()
	if w.h.clone == here {
		w.copyAll(ctx)
		return
	}
	if w.h.remote {
		w.getFromRemote(ctx)
	} else if w.open(ctx) {
		w.getAll(ctx)
	}
}

// leave gives the session back.
func (w *worker) leave() {
	q := w.q
	q.mu.Lock()
	defer q.mu.Unlock()
	w.started()
	delete(q.workers, w)
	w.h.sessions--
	if w.client != nil && w.client.Err() == nil {
		w.h.idle = append(w.h.idle, idleSession{w.client, time.Now()})
	}
	w.cancel(nil)
	q.signal()
}

// started notes that the worker is no longer on its way to work.
func (w *worker) started() {
	if !w.begun {
		w.begun = true
		w.h.starting--
	}
}

// open gets a session: one that is left over, or a new one.
func (w *worker) open(ctx context.Context) bool {
	q := w.q
	q.mu.Lock()
	if n := len(w.h.idle); n > 0 {
		w.client, w.used = w.h.idle[n-1].client, false
		w.h.idle = w.h.idle[:n-1]
		q.mu.Unlock()
		return true
	}
	backedOff := w.h.failure.until.After(time.Now())
	q.mu.Unlock()
	if backedOff {
		return false
	}
	client, err := q.o.Open(ctx, w.h.clone)
	if err != nil {
		if ctx.Err() == nil {
			q.o.Log.Info("no session with a holder", "clone", w.h.clone, "err", err)
			w.holderFailed()
		}
		return false
	}
	w.client, w.used = client, true
	q.mu.Lock()
	if !w.h.proven {
		w.h.proven = true
		q.signal() // the other slots may be used now
	}
	q.mu.Unlock()
	return true
}

// holderFailed leaves the holder alone for a while, and has its jobs offered to others.
func (w *worker) holderFailed() {
	q := w.q
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	// Sessions that break together are one failure.
	if !w.h.failure.until.After(now) {
		w.h.failure = w.h.failure.again(now, q.o.Retry)
	}
	w.h.proven, w.h.failedBy = false, q.seq
	for _, s := range w.h.idle {
		_ = s.client.Close()
	}
	w.h.idle = nil
	q.stale = true
	q.signal()
}

// getAll works through the holder's offers: small content is asked for ahead. It returns when nothing is left for this
// worker, or the session has ended.
func (w *worker) getAll(ctx context.Context) {
	var asked []*arrival
	defer func() {
		for _, a := range asked {
			w.putBack(a)
		}
	}()
	for w.client.Err() == nil {
		for len(asked) < p2p.MaxAsked {
			a := w.next(ctx, len(asked) > 0)
			if a == nil {
				break
			}
			if !a.isSmall() {
				w.finish(ctx, a, w.getLarge(ctx, a))
				if w.client.Err() != nil {
					return
				}
				continue
			}
			if err := w.client.Ask(ctx, a.request()); err != nil {
				w.finish(ctx, a, err)
				return
			}
			asked = append(asked, a)
		}
		if len(asked) == 0 {
			if !w.joinSwarm(ctx) {
				return
			}
			continue
		}
		a := asked[0]
		asked = asked[1:]
		if a.partial == nil {
			w.getSmall(ctx, a)
			continue
		}
		w.finish(ctx, a, a.partial.Fill(ctx, func(dst io.Writer) error {
			_, err := w.client.Next(ctx, w.meter(a, dst))
			return err
		}))
	}
}

// next takes a job and prepares it; nil when there is none.
func (w *worker) next(ctx context.Context, onlySmall bool) *arrival {
	for ctx.Err() == nil {
		a := w.nextJob(onlySmall)
		if a == nil {
			return nil
		}
		if err := w.prepare(a); err != nil {
			w.finish(ctx, a, err)
			continue
		}
		if a.partial != nil && a.partial.Complete() { // killed between the last byte and the placing
			w.finish(ctx, a, a.partial.Fill(ctx, func(io.Writer) error { return nil }))
			continue
		}
		return a
	}
	return nil
}

// nextJob takes a job; nil when there is none.
func (w *worker) nextJob(onlySmall bool) *arrival {
	j, from := w.q.take(w.h, onlySmall)
	w.q.mu.Lock()
	defer w.q.mu.Unlock()
	w.started()
	if j == nil {
		return nil
	}
	return &arrival{job: j, transfer: &transfer{job: j.Job, from: from}}
}

// prepare opens the temporary file, where one is needed, and sees that there is room for the rest.
func (w *worker) prepare(a *arrival) error {
	if w.h.clone == here || !w.q.inMemory(a.job) {
		var err error
		if a.partial, err = p2p.OpenPartial(w.q.o.Repo, a.Key, w.h.clone); err != nil {
			a.unsaved = err
			return err
		}
		a.partial.Show(a.File)
		a.offset = a.partial.Size()
	}
	a.meter.Start(a.offset, time.Now())
	size, sized := a.Key.Size()
	if sized {
		if err := w.room(size - a.offset); err != nil {
			return err
		}
	}
	if w.h.clone != here && a.Key.Huge() && w.q.o.Files != nil && w.room(2*size-a.offset) == nil {
		a.partial.Draft(w.q.o.Files(a.Key))
	}
	w.begin(a)
	return nil
}

// begin shows a job among the transfers.
func (w *worker) begin(a *arrival) {
	w.q.mu.Lock()
	defer w.q.mu.Unlock()
	w.transfers = append(w.transfers, a.transfer)
	w.checked, w.pace = time.Time{}, pace{}
}

// room checks that the disk has room for this many bytes beside those that are on their way.
func (w *worker) room(bytes int64) error {
	w.q.mu.Lock()
	for other := range w.q.workers {
		for _, t := range other.transfers {
			if size, ok := t.job.Key.Size(); ok && !t.beside {
				bytes += size - t.here()
			}
		}
	}
	w.q.mu.Unlock()
	return w.q.o.Repo.Room(bytes)
}

// release ends what the worker has of a job: its file, its place among the transfers.
func (w *worker) release(a *arrival) {
	if a.partial != nil {
		a.partial.Close()
	}
	w.q.mu.Lock()
	w.drop(a.transfer)
	delete(w.q.placing, a.transfer)
	a.cancel = nil
	a.running = false
	if !a.isSmall() {
		w.h.larges--
	}
	discard := a.discard
	w.q.mu.Unlock()
	if discard {
		w.q.forget(a.Key)
	}
}

// drop takes a transfer from those under way. The queue's mutex is held.
func (w *worker) drop(t *transfer) {
	w.transfers = slices.DeleteFunc(w.transfers, func(other *transfer) bool { return other == t })
	w.checked = time.Time{}
}

// putBack returns a job that was not done, nobody being to blame.
func (w *worker) putBack(a *arrival) {
	w.release(a)
	w.q.mu.Lock()
	w.q.reconsider(a.job)
	w.q.mu.Unlock()
	w.q.o.Event(a.event(Waiting))
}

// finish draws the conclusions from how getting content went.
func (w *worker) finish(ctx context.Context, a *arrival, err error) {
	q := w.q
	broken := w.client != nil && w.client.Err() != nil
	switch {
	case err == nil:
		w.used = true
		w.arrived(a)
		return
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errSlow), errors.Is(err, errCancelled):
		w.putBack(a)
		return
	case broken && !w.used:
		// The session was left over from before, and the holder has closed it since: a new one will tell.
		w.putBack(a)
		return
	case errors.Is(err, annex.ErrBadContent) && a.offset > 0:
		// Some of it came from elsewhere, so this holder may have told the truth. Nothing of what is wrong is left.
		q.o.Log.Info("content that was continued is wrong: it is got anew", "key", a.Key, "clone", w.h.clone)
		w.putBack(a)
		return
	}
	if w.failed(a, err) && broken {
		w.holderFailed()
	}
}

// arrived ends a job whose content is in place.
func (w *worker) arrived(a *arrival) {
	w.release(a)
	w.q.mu.Lock()
	w.h.failure = failure{}
	w.q.mu.Unlock()
	w.q.present(a.job, w.h.clone)
}

// failed has a job tried again, after a while or by another. It says whether the holder is to blame.
func (w *worker) failed(a *arrival, err error) (blame bool) {
	q := w.q
	state := Failed
	if p2p.IsDiskFull(err) {
		state = NoRoom
	}
	e := a.event(state)
	e.Err = err
	if errors.Is(err, p2p.ErrChanged) && a.partial != nil {
		err = errors.Join(err, a.partial.Discard())
	}
	w.release(a)
	lied := errors.Is(err, p2p.ErrLied)
	now := time.Now()
	q.mu.Lock()
	switch {
	case errors.Is(err, p2p.ErrBusy):
		a.notBefore = now.Add(busyPause)
	case errors.Is(err, annex.ErrNoRoom):
		a.notBefore = now.Add(fullPause) // something smaller may fit
	case state == NoRoom:
		q.full = now.Add(fullPause)
	case a.unsaved != nil:
		a.notBefore = now.Add(fullPause)
	default:
		failed := a.failed[w.h.clone].again(now, q.o.Retry)
		if lied {
			failed.lied, failed.partial = true, a.from.Partial
		}
		a.note(w.h.clone, failed)
	}
	blame = a.unsaved == nil && state == Failed && !lied && !errors.Is(err, errBelow)
	q.reconsider(a.job)
	q.mu.Unlock()
	q.o.Log.Info("content did not come", "key", a.Key, "clone", w.h.clone, "err", err)
	if !errors.Is(err, p2p.ErrBusy) {
		q.o.Event(e)
	}
	return blame
}
