package transfer

import (
	"context"
	"time"

	"github.com/git-arbor/arbor/sync/remote"
)

// getFromRemote works through the offers of a remote, one content after the other. It returns when nothing is left for this worker, or the
// remote has failed.
func (w *worker) getFromRemote(ctx context.Context) {
	var session remote.Session
	defer func() {
		if session != nil {
			if err := session.Close(); err != nil {
				w.q.o.Log.Debug("close session with a remote", "remote", w.h.clone, "err", err)
			}
		}
	}()
	for ctx.Err() == nil {
		a := w.nextJob(false)
		if a == nil {
			return
		}
		if session == nil {
			var err error
			if session, err = w.q.o.Remote(ctx, w.h.clone); err != nil {
				session = nil
				w.remoteFailed(ctx, a, err)
				return
			}
		}
		w.begin(a)
		if err := w.getOne(ctx, session, a); err != nil {
			w.remoteFailed(ctx, a, err)
			return
		}
		w.finish(ctx, a, nil)
	}
}

// getOne gets one content, so that it can be cancelled.
func (w *worker) getOne(ctx context.Context, session remote.Session, a *arrival) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.q.mu.Lock()
	a.cancel = cancel
	gone := a.gone
	w.q.mu.Unlock()
	if gone {
		return errCancelled
	}
	err := session.Get(ctx, a.Key, a.File, func(bytes int64) {
		came := int(bytes - a.meter.Bytes())
		w.bytes.Add(int64(came))
		if a.meter.Add(came, time.Now()) {
			w.q.o.Event(a.event(Running))
		}
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// remoteFailed puts a job back, and leaves the remote alone for a while, unless the transfer was stopped.
func (w *worker) remoteFailed(ctx context.Context, a *arrival, err error) {
	w.finish(ctx, a, err)
	if ctx.Err() == nil {
		w.holderFailed()
	}
}
