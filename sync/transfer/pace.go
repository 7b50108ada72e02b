package transfer

import (
	"time"

	"github.com/git-arbor/arbor/sync/annex"
)

const (
	slowFor     = 2 * time.Second // how long a holder may bring less than half of what was promised
	paceChecks  = 8               // how often within that time it is looked at
	relayBlocks = 4               // who passes content on does so in blocks: it is given the time of so many at least
)

// sample is what a session had brought when it had waited so long for its holder.
type sample struct {
	bytes  int64
	waited time.Duration
}

// pace is what a session brings. Time counts only while it waits for the holder: neither a limit here nor a slow disk is the
// holder's fault.
type pace []sample

// note adds a sample, and gives the bytes a second over the window that ends with it; false when there is not so much yet.
func (p *pace) note(now sample, window time.Duration) (rate float64, ok bool) {
	if n := len(*p); n == 0 || now.waited-(*p)[n-1].waited >= window/(2*paceChecks) {
		*p = append(*p, now)
	}
	for len(*p) > 1 && now.waited-(*p)[1].waited >= window {
		*p = (*p)[1:]
	}
	first := (*p)[0]
	waited := now.waited - first.waited
	if waited < window {
		return 0, false
	}
	return float64(now.bytes-first.bytes) / waited.Seconds(), true
}

// checkProgress ends sessions that bring next to nothing, or less than half of what was promised for a while, when somebody
// else could bring the same. It gives the time after which it is to be called again. The queue's mutex is held.
func (q *Queue) checkProgress(now time.Time) time.Duration {
	next := q.o.Patience / checksIn
	active := 0
	for w := range q.workers {
		if len(w.transfers) > 0 {
			active++
		}
	}
	for w := range q.workers {
		if len(w.transfers) == 0 {
			continue
		}
		t := w.transfers[0]
		if t.swarm != nil && t.swarm.count.Load() > 1 { // they judge each other
			w.checked, w.pace = time.Time{}, pace{}
			continue
		}
		j, ok := q.jobs[t.job.Key]
		bytes := w.bytes.Load()
		switch {
		case w.checked.IsZero() || bytes-w.then >= slowest:
			w.checked, w.then = now, bytes
		case now.Sub(w.checked) >= q.o.Patience && ok && (t.from.Partial || j.others(w.h.clone, 0)):
			w.cancel(errSlow)
			continue
		}
		if t.session == nil || t.from.Rate <= 0 {
			continue
		}
		next = min(next, slowFor/paceChecks)
		// Transfers share the lines: nobody can promise each of them everything.
		share := t.from.Rate / float64(active)
		window := slowFor
		if t.from.Partial {
			window = max(window, time.Duration(relayBlocks*annex.BlockSize/share*float64(time.Second)))
		}
		rate, judged := w.pace.note(sample{bytes, t.session.Waited()}, window)
		if judged && rate < share/2 && ok && j.others(w.h.clone, rate) {
			w.cancel(errBelow)
		}
	}
	return next
}
