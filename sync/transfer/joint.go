package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
)

// joint is content that other holders may bring parts of, beside the one whose worker writes it. The queue's mutex guards it.
type joint struct {
	*swarm
	a     *arrival
	asked map[string]bool // the holders that were asked to
}

// mayJoin says whether a holder may bring parts of the content: it has all of it, over a line as good as the first's, and has not
// failed.
func (s *joint) mayJoin(h Holder) bool {
	return !s.asked[h.Clone] && h.Clone != here && !h.Partial && !h.Remote && (h.Beside || h.Cost == s.a.from.Cost) && s.a.failed[h.Clone].count == 0
}

// shares says whether what is missing of a content is to be brought by several holders: when it is much, somebody else could join,
// and it is not for a limit of this clone that it does not come faster.
func (w *worker) shares(a *arrival) bool {
	size, _ := a.Key.Size()
	if a.from.Partial || size-a.offset < w.q.o.Shared || w.client.Limited() {
		return false
	}
	w.q.mu.Lock()
	defer w.q.mu.Unlock()
	return slices.ContainsFunc(a.usable, (&joint{a: a, asked: map[string]bool{w.h.clone: true}}).mayJoin)
}

// getShared gets content together with others who join. It lasts as long as somebody brings more, also when its own holder has failed.
func (w *worker) getShared(ctx context.Context, a *arrival, offer *p2p.Offer, dst io.Writer) error {
	q := w.q
	s := &joint{newSwarm(offer.List, a.offset, dst), a, map[string]bool{w.h.clone: true}}
	q.mu.Lock()
	a.swarm = s.swarm
	q.swarms = append(q.swarms, s)
	for _, h := range a.usable {
		if _, known := q.holders[h.Clone]; !known && s.mayJoin(h) {
			q.holders[h.Clone] = &holder{clone: h.Clone}
		}
	}
	q.signal()
	q.mu.Unlock()
	err := s.bring(ctx, offer, func(n int) { w.count(a.transfer, n) })
	if err != nil {
		q.mu.Lock()
		w.transfers = slices.DeleteFunc(w.transfers, func(t *transfer) bool { return t == a.transfer })
		q.mu.Unlock()
	}
	whole, unsaved := s.await(ctx)
	q.mu.Lock()
	q.swarms = slices.DeleteFunc(q.swarms, func(other *joint) bool { return other == s })
	a.swarm = nil
	a.meter.Start(s.bytes.Load(), time.Now())
	q.mu.Unlock()
	switch {
	case whole:
		return nil
	case unsaved != nil:
		a.unsaved = unsaved
		return unsaved
	}
	return err
}

// swarmFor gives the content that a holder is to bring parts of now; nil when there is none, or better to do. The queue's mutex is held.
func (q *Queue) swarmFor(h *holder) *joint {
	if len(q.swarms) == 0 || h.larges >= q.largeSlots() || h.failure.until.After(time.Now()) || h.large.first() != nil {
		return nil
	}
	s := q.swarms[0] // one at a time: it is the sooner here
	if len(s.asked) >= maxSources {
		return nil
	}
	for _, known := range s.a.usable {
		if known.Clone == h.clone && s.mayJoin(known) {
			return s
		}
	}
	return nil
}

// joinSwarm brings parts of a content that another worker writes, if there is one. It says whether the worker may look for more to do.
func (w *worker) joinSwarm(ctx context.Context) bool {
	q := w.q
	q.mu.Lock()
	s := q.swarmFor(w.h)
	if s == nil || q.paused || ctx.Err() != nil {
		q.mu.Unlock()
		return false
	}
	s.asked[w.h.clone] = true
	at := slices.IndexFunc(s.a.usable, func(h Holder) bool { return h.Clone == w.h.clone })
	t := &transfer{job: s.a.Job, from: s.a.usable[at], session: w.client, swarm: s.swarm, beside: true}
	t.meter.Start(0, time.Now())
	w.transfers = append(w.transfers, t)
	w.checked, w.pace = time.Time{}, pace{}
	w.h.larges++
	q.mu.Unlock()
	err := w.bringBeside(ctx, s, t)
	q.mu.Lock()
	w.transfers = slices.DeleteFunc(w.transfers, func(other *transfer) bool { return other == t })
	w.checked = time.Time{}
	w.h.larges--
	q.mu.Unlock()
	w.leftSwarm(ctx, s, t, err)
	return w.client.Err() == nil && ctx.Err() == nil
}

func (w *worker) bringBeside(ctx context.Context, s *joint, t *transfer) error {
	offer, err := w.client.Blocks(ctx, t.job.Key, t.job.File, 0)
	if err != nil {
		return err
	}
	if offer.List.Agree(s.list) < s.list.Blocks() {
		err = fmt.Errorf("%w: two holders have different block lists", annex.ErrBadContent)
	} else {
		err = s.bring(ctx, offer, func(n int) { w.count(t, n) })
	}
	return errors.Join(err, offer.Decline(ctx))
}

// leftSwarm draws the conclusions from how a holder brought parts of a content.
func (w *worker) leftSwarm(ctx context.Context, s *joint, t *transfer, err error) {
	q := w.q
	if err == nil || ctx.Err() != nil || errors.Is(err, errOver) || errors.Is(err, p2p.ErrUnsupported) {
		q.o.Event(t.event(Waiting))
		return
	}
	broken := w.client.Err() != nil
	if broken && !w.used { // the session was left over from before: a new one will tell
		q.mu.Lock()
		delete(s.asked, w.h.clone)
		q.mu.Unlock()
		q.o.Event(t.event(Waiting))
		return
	}
	lied := errors.Is(err, p2p.ErrLied)
	e := t.event(Failed)
	e.Err = err
	q.mu.Lock()
	failed := s.a.failed[w.h.clone].again(time.Now(), q.o.Retry)
	failed.lied = lied
	s.a.note(w.h.clone, failed)
	q.mu.Unlock()
	q.o.Log.Info("parts of a content did not come", "key", t.job.Key, "clone", w.h.clone, "err", err)
	q.o.Event(e)
	if broken && !lied && !errors.Is(err, errBelow) {
		w.holderFailed()
	}
}
