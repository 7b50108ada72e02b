package transfer

import (
	"context"

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

// getOne gets one content.
func (w *worker) getOne(ctx context.Context, session remote.Session, a *arrival) error {
	return w.getAlone(ctx, a, func(ctx context.Context) error {
		return session.Get(ctx, a.Key, a.File, func(bytes int64) { w.count(a.transfer, int(bytes-a.meter.Bytes())) })
	})
}

// remoteFailed puts a job back, and leaves the remote alone for a while, unless the transfer was stopped.
func (w *worker) remoteFailed(ctx context.Context, a *arrival, err error) {
	w.finish(ctx, a, err)
	if ctx.Err() == nil {
		w.holderFailed()
	}
}
