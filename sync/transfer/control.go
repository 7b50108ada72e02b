package transfer

import (
	"container/heap"
	"os"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
)

// Cancel takes jobs out of the queue. What came of their content is kept. Of small content that was asked for already, nobody can
// stop the rest: it may still become Present.
func (q *Queue) Cancel(keys ...annex.Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.cancel(keys, false)
}

// Discard is Cancel, and forgets what came of the content, also of keys that are in the queue no more.
func (q *Queue) Discard(keys ...annex.Key) {
	q.mu.Lock()
	keys = q.cancel(keys, true)
	q.mu.Unlock()
	for _, key := range keys {
		q.forget(key)
	}
}

// cancel takes jobs out of the queue; those that run are ended, and what came is forgotten afterwards or not. It gives the
// keys that no job runs for. The queue's mutex is held.
func (q *Queue) cancel(keys []annex.Key, discard bool) (idle []annex.Key) {
	for _, key := range keys {
		j, ok := q.jobs[key]
		if !ok || !j.running {
			idle = append(idle, key)
		}
		if !ok {
			continue
		}
		delete(q.jobs, key)
		j.gone, j.discard = true, discard
		if j.cancel != nil {
			j.cancel(errCancelled)
		}
	}
	return idle
}

// forget removes what is here of content on its way. Who else receives it keeps it.
func (q *Queue) forget(key annex.Key) {
	if _, err := os.Lstat(q.o.Repo.TmpPath(key)); err != nil {
		return
	}
	p, err := p2p.OpenPartial(q.o.Repo, key, "")
	if err == nil {
		err = p.Discard()
		p.Close()
	}
	if err != nil {
		q.o.Log.Info("partial content is kept", "key", key, "err", err)
	}
}

// Prioritise has these jobs, of those in the queue, done before all others, also those that were prioritised before. What
// failed is tried again at once. Where they would have to wait for large content that nobody asked for, that is put back.
func (q *Queue) Prioritise(keys ...annex.Key) {
	q.mu.Lock()
	q.seq++
	rank := q.seq
	for _, h := range q.holders {
		h.failure = failure{}
	}
	offered := q.offered()
	for _, key := range keys {
		j, ok := q.jobs[key]
		if !ok {
			continue
		}
		j.Urgent, j.rank = true, rank
		for clone, f := range j.failed {
			f.until = time.Time{}
			j.failed[clone] = f
		}
		j.notBefore = time.Time{}
		if !offered[j] {
			q.reconsider(j)
		}
	}
	q.mu.Unlock()
	q.decide() // so that it is known which of them have to wait, and for whom
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, h := range q.holders {
		heap.Init(&h.small)
		heap.Init(&h.large)
		q.yield(h)
	}
	q.signal()
}

// offered gives the jobs that some holder is to be asked for. The queue's mutex is held.
func (q *Queue) offered() map[*job]bool {
	offered := make(map[*job]bool)
	for _, h := range q.holders {
		for _, o := range slices.Concat(h.small, h.large) {
			if !o.void() {
				offered[o.job] = true
			}
		}
	}
	return offered
}

// yield ends transfers of large content that nobody asked for, as many as keep the holder's slots from those that somebody
// did ask for. The queue's mutex is held.
func (q *Queue) yield(h *holder) {
	waiting := make(map[*job]bool) // a job may be offered twice
	for _, o := range h.large {
		if o.rank > 0 && !o.void() {
			waiting[o.job] = true
		}
	}
	free := q.largeSlots() - h.larges
	for w := range q.workers {
		if len(waiting) <= free {
			return
		}
		if w.h != h || len(w.transfers) != 1 {
			continue
		}
		j, ok := q.jobs[w.transfers[0].job.Key]
		switch {
		case !ok || j.Urgent:
		case w.transfers[0].beside:
			w.cancel(errCancelled)
			free++
		case j.cancel != nil:
			j.cancel(errCancelled) // it is still wanted, so it goes back into the queue
			free++
		}
	}
}

// Release ends the sessions with these clones, keeping what came, and asks anew who holds what.
func (q *Queue) Release(clones ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for w := range q.workers {
		if slices.Contains(clones, w.h.clone) {
			w.cancel(errPaused)
		}
	}
	for _, clone := range clones {
		if h, ok := q.holders[clone]; ok {
			for _, s := range h.idle {
				_ = s.client.Close()
			}
			h.idle = nil
		}
	}
	q.stale = true
	q.signal()
}

// Next gives up to n, at least one, of the jobs that wait, in the order in which they are to be done.
func (q *Queue) Next(n int) []Job {
	q.mu.Lock()
	defer q.mu.Unlock()
	var next []*job
	for _, j := range q.jobs {
		if j.running {
			continue
		}
		at, _ := slices.BinarySearchFunc(next, j, (*job).compare)
		if at < n {
			next = slices.Insert(next[:min(len(next), n-1)], at, j)
		}
	}
	jobs := make([]Job, 0, len(next))
	for _, j := range next {
		jobs = append(jobs, j.Job)
	}
	return jobs
}

// Position gives which of the jobs that wait a key's is, 1 for the next; 0 when it is not among them.
func (q *Queue) Position(key annex.Key) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	j := q.jobs[key]
	if j == nil || j.running {
		return 0
	}
	at := 1
	for _, other := range q.jobs {
		if !other.running && other.compare(j) < 0 {
			at++
		}
	}
	return at
}
