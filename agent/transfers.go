package agent

import (
	"fmt"

	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
)

// shownJobs is how many of those that wait are shown.
const shownJobs = 10

// rowOf shows what happens to a transfer.
func (c *clone) rowOf(e transfer.Event, d status.Direction) status.Transfer {
	return status.Transfer{
		Key: e.Job.Key.String(), File: e.Job.File, Clone: c.conf.Path, Peer: c.names(e.Clone), Direction: d,
		Bytes: e.Bytes, Size: e.Size, Rate: int64(e.Rate), State: status.TransferRunning, Asked: e.Job.Urgent,
	}
}

// transferred is told by the queue's goroutines what happens to a job.
func (c *clone) transferred(repo *annex.Repo, holders *holders, e transfer.Event) {
	row := c.rowOf(e, status.Down)
	c.asked.told(e)
	switch e.State {
	case transfer.Running:
		if e.Bytes >= fairSample && e.Clone != "" {
			holders.came(e.Clone, e.Rate)
		}
		row.Why = holders.why(e.Job.Key, c.logged(repo, e.Job.Key), e.Clone)
		c.agent.store.SetTransfer(row)
	case transfer.Waiting:
		c.agent.store.RemoveTransfer(row)
		c.arrivals.putBack()
	case transfer.Present:
		c.agent.store.RemoveTransfer(row)
		c.arrivals.add(e.Job.Key)
	case transfer.NoRoom:
		c.agent.store.RemoveTransfer(row)
		c.warnText("no-room", fmt.Sprintf("no room for %s: %v", e.Job.File, e.Err), "make room on the disk; the transfer goes on by itself")
	case transfer.Failed:
		c.agent.store.RemoveTransfer(row)
		c.log.Debug("transfer failed", "key", e.Job.Key, "from", e.Clone, "err", e.Err)
	}
}

// sent is told by the goroutines that serve a peer how far a content is that it gets from here.
func (c *clone) sent(peer string, s p2p.Sent) {
	row := status.Transfer{
		Key: s.Key.String(), File: s.File, Clone: c.conf.Path, Peer: peer, Direction: status.Up,
		Bytes: s.Bytes, Size: s.Size, Rate: int64(s.Rate), State: status.TransferRunning,
	}
	if s.Done {
		c.agent.store.RemoveTransfer(row)
	} else {
		c.agent.store.SetTransfer(row)
	}
}

// showQueue shows people what the queue will do next, and what is held.
func (c *clone) showQueue() {
	if c.queue == nil {
		return
	}
	rows := c.heldRows()
	for i, j := range c.queue.Next(shownJobs) {
		row := c.waitingRow(j.Key, j.File, status.TransferQueued)
		row.Position, row.Asked = i+1, j.Urgent
		rows = append(rows, row)
	}
	c.agent.store.SetQueue(c.conf.Path, rows)
}

// waitingRow shows a missing content that does not come at this moment.
func (c *clone) waitingRow(k annex.Key, file string, state status.TransferState) status.Transfer {
	size, ok := k.Size()
	if !ok {
		size = -1
	}
	return status.Transfer{Key: k.String(), File: file, Clone: c.conf.Path, Direction: status.Down, Size: size, State: state}
}
