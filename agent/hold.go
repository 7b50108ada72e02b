package agent

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/transfer"
)

// Contents that a person has paused, cancelled or dropped are held: they stay missing, also after a restart, until the person resumes
// or asks for them. Pausing keeps what has come, cancelling does not; what was dropped has to be asked for.

// pauseFiles holds the contents of files, and keeps what has come of them.
func (a *agent) pauseFiles(ctx context.Context, r control.FilesRequest) (control.FilesReply, error) {
	return a.withMissing(ctx, r, func(c *clone, keys []annex.Key) []annex.Key {
		keys = slices.DeleteFunc(keys, func(k annex.Key) bool { return c.want.held[k] })
		c.queue.Cancel(keys...)
		c.hold(keys)
		return keys
	})
}

// cancel holds the contents of files, and forgets what has come of them.
func (a *agent) cancel(ctx context.Context, r control.FilesRequest) (control.FilesReply, error) {
	return a.withMissing(ctx, r, func(c *clone, keys []annex.Key) []annex.Key {
		keys = slices.DeleteFunc(keys, func(k annex.Key) bool { return c.want.held[k] && c.partial(k) == 0 })
		c.queue.Discard(keys...)
		c.hold(keys)
		return keys
	})
}

// resumeFiles has the contents of files that are held transferred when it is their turn.
func (a *agent) resumeFiles(ctx context.Context, r control.FilesRequest) (control.FilesReply, error) {
	return a.withMissing(ctx, r, func(c *clone, keys []annex.Key) []annex.Key {
		keys = slices.DeleteFunc(keys, func(k annex.Key) bool { return !c.want.held[k] || c.want.dropped[k] })
		for _, k := range keys {
			c.release(k)
		}
		return keys
	})
}

// withMissing has something done with what is missing of some files, and counts for what of it that changed anything.
func (a *agent) withMissing(
	ctx context.Context, r control.FilesRequest, do func(*clone, []annex.Key) []annex.Key,
) (reply control.FilesReply, err error) {
	err = a.tell(ctx, r.Clone, func(_ context.Context, c *clone) error {
		keys, err := c.missingOf(r.Files)
		if err != nil {
			return err
		}
		reply.Contents = len(do(c, slices.DeleteFunc(keys, func(k annex.Key) bool { return !c.want.missing[k] })))
		c.showQueue()
		return c.write()
	})
	return reply, err
}

// hold notes that missing contents are not to be transferred for now.
func (c *clone) hold(keys []annex.Key) {
	for _, k := range keys {
		c.want.held[k] = true
		delete(c.want.urgent, k)
	}
	c.asked.hold(keys)
}

// release ends hold.
func (c *clone) release(k annex.Key) {
	delete(c.want.held, k)
	delete(c.want.dropped, k)
	c.queue.Add(transfer.Job{Key: k, File: c.want.fileOf(k)})
}

// partial gives how many bytes of a missing content are here.
func (c *clone) partial(k annex.Key) int64 {
	fi, err := os.Stat(c.annex.TmpPath(k))
	if err != nil {
		return 0
	}
	return fi.Size()
}

// heldRows show people the first of the contents that are held.
func (c *clone) heldRows() []status.Transfer {
	rows := []status.Transfer{}
	for _, k := range c.want.heldBack() {
		rows = append(rows, c.waitingRow(k, c.want.fileOf(k), status.TransferPaused))
	}
	slices.SortFunc(rows, func(a, b status.Transfer) int { return strings.Compare(a.File, b.File) })
	rows = rows[:min(len(rows), shownJobs)]
	for i, row := range rows {
		if k, err := annex.ParseKey(row.Key); err == nil {
			rows[i].Bytes = c.partial(k)
		}
	}
	return rows
}
