package transfer

import (
	"sync/atomic"
	"time"

	"github.com/git-arbor/arbor/sync/p2p"
)

// State is what an Event tells of a job.
type State string

// The states.
const (
	Running State = "running" // bytes come; told at most ten times a second
	Present State = "present" // the content is in place: the job is done
	Waiting State = "waiting" // it was stopped, nobody being to blame: paused, cancelled, or put back for another
	Failed  State = "failed"  // this holder failed; the job stays in the queue
	NoRoom  State = "no-room" // the disk has not enough room; the job stays in the queue
)

// Event tells what happened to a job.
type Event struct {
	Job   Job
	State State
	Clone string  // the holder; empty when the content was on this machine
	Bytes int64   // here by now, of
	Size  int64   // -1 when the key does not say
	Rate  float64 // bytes a second, smoothed
	Err   error   // of Failed and NoRoom
}

// eventsApart is the least time between two Running events of one transfer.
const eventsApart = 100 * time.Millisecond

// transfer is one job on its way from one holder.
type transfer struct {
	job     Job
	from    Holder
	session *p2p.Client // since content that is not small comes; the queue's mutex guards it
	bytes   atomic.Int64
	rate    atomic.Int64 // bytes a second

	told      time.Time // the last Running event
	toldBytes int64
}

func (t *transfer) event(s State) Event {
	size, ok := t.job.Key.Size()
	if !ok {
		size = -1
	}
	return Event{Job: t.job, State: s, Clone: t.from.Clone, Bytes: t.bytes.Load(), Size: size, Rate: float64(t.rate.Load())}
}

// came counts bytes, and says whether it is time to tell.
func (t *transfer) came(n int, now time.Time) bool {
	bytes := t.bytes.Add(int64(n))
	since := now.Sub(t.told)
	if since < eventsApart {
		return false
	}
	rate := float64(bytes-t.toldBytes) / since.Seconds()
	if before := t.rate.Load(); before > 0 {
		rate = 0.7*float64(before) + 0.3*rate
	}
	t.rate.Store(int64(rate))
	t.told, t.toldBytes = now, bytes
	return true
}
