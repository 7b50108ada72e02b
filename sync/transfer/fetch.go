package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/git-arbor/arbor/sync/p2p"
)

func (a *arrival) request() p2p.GetRequest {
	return p2p.GetRequest{Key: a.Key, File: a.File, Offset: a.offset}
}

// getLarge gets content alone in the session.
func (w *worker) getLarge(ctx context.Context, a *arrival) error {
	return w.getAlone(ctx, a, func(ctx context.Context) error {
		err := w.getBlocks(ctx, a)
		if errors.Is(err, p2p.ErrUnsupported) {
			err = w.getWhole(ctx, a)
		}
		return err
	})
}

// getAlone has content got so that it can be cancelled.
func (w *worker) getAlone(ctx context.Context, a *arrival, get func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.q.mu.Lock()
	a.cancel = cancel
	gone := a.gone
	w.q.mu.Unlock()
	if gone {
		return errCancelled
	}
	err := get(ctx)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// getBlocks gets content in blocks, each of which is passed on as soon as it is checked.
func (w *worker) getBlocks(ctx context.Context, a *arrival) error {
	var wait time.Duration
	if a.from.Partial {
		wait = beginWait
	}
	offer, err := w.client.Blocks(ctx, a.Key, a.File, wait)
	if err != nil {
		return err
	}
	err = a.partial.FillBlocks(ctx, w.q.o.Arrivals, offer.List, offer.Via, func(ctx context.Context, offset int64, dst io.Writer) error {
		a.offset = offset
		w.expect(a)
		if w.shares(a) {
			return w.getShared(ctx, a, offer, dst)
		}
		_, err := offer.Get(ctx, offset, w.meter(a, dst))
		return err
	})
	return errors.Join(err, offer.Decline(ctx))
}

// getWhole gets content that can be checked only when all of it is here, or from who cannot do better.
func (w *worker) getWhole(ctx context.Context, a *arrival) error {
	r := a.request()
	if _, sized := r.Key.Size(); !sized {
		r.Room = w.room
	}
	return a.partial.Fill(ctx, func(dst io.Writer) error {
		w.expect(a)
		_, err := w.client.Get(ctx, r, w.meter(a, dst))
		return err
	})
}

// expect notes that from now on the holder has to bring what it promised.
func (w *worker) expect(a *arrival) {
	a.meter.Start(a.offset, time.Now())
	w.q.mu.Lock()
	defer w.q.mu.Unlock()
	a.session = w.client
	w.q.signal()
}

// meter counts what goes to dst.
func (w *worker) meter(a *arrival, dst io.Writer) io.Writer { return &meter{w, a, dst} }

type meter struct {
	w   *worker
	a   *arrival
	dst io.Writer
}

func (m *meter) Write(b []byte) (int, error) {
	n, err := m.dst.Write(b)
	if err != nil {
		m.a.unsaved = err
	}
	m.w.count(m.a.transfer, n)
	return n, err
}

// count counts bytes that came.
func (w *worker) count(t *transfer, n int) {
	w.bytes.Add(int64(n))
	w.used = true
	if t.meter.Add(n, time.Now()) {
		w.q.o.Event(t.event(Running))
	}
}
