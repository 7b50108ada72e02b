package transfer

import "github.com/git-arbor/arbor/sync/p2p"

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

// transfer is one job on its way from one holder.
type transfer struct {
	job     Job
	from    Holder
	session *p2p.Client // since content that is not small comes; the queue's mutex guards it, and the next
	swarm   *swarm      // that brings the content; nil: this holder alone
	beside  bool        // another's worker writes the content
	meter   p2p.Meter   // of what this holder brings
}

// here gives the bytes that are here by now, whoever brought them.
func (t *transfer) here() int64 {
	if t.swarm != nil {
		return t.swarm.bytes.Load()
	}
	return t.meter.Bytes()
}

func (t *transfer) event(s State) Event {
	size, ok := t.job.Key.Size()
	if !ok {
		size = -1
	}
	return Event{Job: t.job, State: s, Clone: t.from.Clone, Bytes: t.here(), Size: size, Rate: t.meter.Rate()}
}
