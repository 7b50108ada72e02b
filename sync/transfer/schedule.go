package transfer

import (
	"cmp"
	"container/heap"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
)

// job is a Job in the queue. The queue's mutex guards it.
type job struct {
	Job
	seq       uint64
	rank      uint64 // when it was prioritised last; 0: never
	offer     uint64 // the offers that are good; older ones in a holder's heap are void
	running   bool
	gone      bool               // out of the queue: done or cancelled
	told      bool               // that it is Present
	discard   bool               // it was cancelled, and what came is to be forgotten
	cancel    func(cause error)  // ends it while it runs alone in a session; else nil
	notBefore time.Time          // busy elsewhere until about then
	failed    map[string]failure // by holder; nil: none has
	usable    []Holder           // that could be asked when it was last offered
}

// note remembers how a holder has failed.
func (j *job) note(clone string, f failure) {
	if j.failed == nil {
		j.failed = make(map[string]failure)
	}
	j.failed[clone] = f
}

// others says whether somebody else could be asked, who may bring more than this many bytes a second.
func (j *job) others(than string, rate float64) bool {
	return slices.ContainsFunc(j.usable, func(h Holder) bool {
		return h.Clone != than && (h.Rate == 0 || h.Rate > rate)
	})
}

// excludes says whether a holder must not be asked any more: it lied, unless it did so in good faith, as who passes on what
// it has not proven can, and has proven it since.
func (j *job) excludes(h Holder) bool {
	f := j.failed[h.Clone]
	return f.lied && (!f.partial || h.Partial) || h.Partial && j.Key.Blocks() < 2
}

// size orders jobs; content of unknown size comes with the first that is not small.
func (j *job) size() int64 {
	if size, ok := j.Key.Size(); ok {
		return size
	}
	return small
}

func (j *job) isSmall() bool { return j.size() < small }

// compare gives the order in which jobs are done.
func (j *job) compare(k *job) int {
	if j.Urgent != k.Urgent {
		if j.Urgent {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(k.rank, j.rank), cmp.Compare(j.size(), k.size()), cmp.Compare(j.seq, k.seq))
}

// failure counts what went wrong in a row, and says when to try again.
type failure struct {
	count   int
	until   time.Time
	lied    bool
	partial bool // it had not all of the content when it lied
}

// again is the failure after one more.
func (f failure) again(now time.Time, r Retry) failure {
	wait := r.Longest
	if f.count < 30 {
		wait = min(r.First<<f.count, r.Longest)
	}
	// Spread, so that many who lost one holder do not come back as one.
	wait += time.Duration(rand.Int64N(int64(wait)/4 + 1))
	f.count++
	f.until = now.Add(wait)
	return f
}

// here names, where a clone's id is expected, files on this machine.
const here = ""

// holder is a clone that jobs are offered to, and its sessions. The queue's mutex guards it.
type holder struct {
	clone    string
	remote   bool
	small    offers
	large    offers
	sessions int // that workers have
	starting int // workers that have not looked for work yet
	larges   int // of the sessions, with content that is not small
	idle     []idleSession
	proven   bool // a session was begun after the last failure
	failure  failure
	failedBy uint64 // Queue.seq at the last failure
}

// idleSession waits for the next worker.
type idleSession struct {
	client *p2p.Client
	since  time.Time
}

// offer is a job offered to a holder.
type offer struct {
	*job
	number uint64
	to     Holder
}

func (o offer) void() bool { return o.number != o.offer || o.running || o.gone }

// offers is a heap, the next one first.
type offers []offer

func (o offers) Len() int           { return len(o) }
func (o offers) Less(i, k int) bool { return o[i].compare(o[k].job) < 0 }
func (o offers) Swap(i, k int)      { o[i], o[k] = o[k], o[i] }
func (o *offers) Push(x any)        { *o = append(*o, x.(offer)) }
func (o *offers) Pop() any {
	old := *o
	last := old[len(old)-1]
	old[len(old)-1] = offer{}
	*o = old[:len(old)-1]
	return last
}

// first gives the best offer that is good; nil when there is none.
func (o *offers) first() *offer {
	for o.Len() > 0 {
		if !(*o)[0].void() {
			return &(*o)[0]
		}
		heap.Pop(o)
	}
	return nil
}

// good gives how many offers are good, counting no further than most.
func (o *offers) good(most int) int {
	if o.first() == nil {
		return 0
	}
	n := 0
	for _, offer := range *o {
		if n >= most {
			break
		}
		if !offer.void() {
			n++
		}
	}
	return n
}

func (o *offers) empty() {
	clear(*o)
	*o = (*o)[:0]
}

// reconsider has a job offered anew.
func (q *Queue) reconsider(j *job) {
	if j.running || j.gone {
		return
	}
	q.seq++
	j.offer = q.seq
	q.undecided = append(q.undecided, j)
	q.signal()
}

// decide offers the jobs that need it to holders. It calls Options' functions, so it must not hold the mutex meanwhile.
func (q *Queue) decide() {
	q.deciding.Lock()
	defer q.deciding.Unlock()
	q.mu.Lock()
	now := time.Now()
	if q.stale || !q.retry.IsZero() && !now.Before(q.retry) {
		q.renew(now)
	}
	undecided := q.undecided
	q.undecided = nil
	q.mu.Unlock()

	undecided = slices.DeleteFunc(undecided, func(j *job) bool {
		has := q.o.Repo.Has(j.Key)
		if has {
			q.present(j, here)
		}
		return has
	})
	for part := range slices.Chunk(undecided, decideAtOnce) {
		q.decideSome(part, now)
	}
}

// decideSome offers jobs whose contents are not here.
func (q *Queue) decideSome(jobs []*job, now time.Time) {
	keys := make([]annex.Key, len(jobs))
	local := make([]bool, len(jobs))
	for i, j := range jobs {
		keys[i] = j.Key
		local[i] = q.o.Local != nil && len(q.o.Local(j.Key)) > 0
	}
	holders := q.o.Holders(keys)
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, j := range jobs {
		if !j.running && !j.gone {
			q.offer(j, local[i], holders[i], now)
		}
	}
}

// renew makes all offers void, and has those jobs decided that may have a chance.
func (q *Queue) renew(now time.Time) {
	for _, h := range q.holders {
		h.small.empty()
		h.large.empty()
	}
	q.undecided = q.undecided[:0]
	for _, j := range q.jobs {
		if !j.running {
			q.seq++
			j.offer = q.seq
			q.undecided = append(q.undecided, j)
		}
	}
	q.stale, q.retry = false, time.Time{}
	for _, h := range q.holders {
		if h.failure.until.After(now) {
			q.retryAt(h.failure.until)
		}
	}
}

// retryAt has everything looked at again at a time.
func (q *Queue) retryAt(t time.Time) {
	if q.retry.IsZero() || t.Before(q.retry) {
		q.retry = t
	}
}

// failures gives how often a clone has failed, in a row, to give a job's content, or as a holder while the job was there. Who failed
// less goes first: else two cheap ones that fail in turns, each ready again when the other has failed, would keep a job for ever.
func (q *Queue) failures(j *job, clone string) int {
	count := j.failed[clone].count
	if h, known := q.holders[clone]; known && j.seq <= h.failedBy {
		count += h.failure.count
	}
	return count
}

// offer offers a job to those holders that may be asked now that failed least, and of these to the cheapest; or notes when one may
// be asked.
func (q *Queue) offer(j *job, local bool, holders []Holder, now time.Time) {
	if j.notBefore.After(now) {
		q.retryAt(j.notBefore)
		return
	}
	if local {
		holders = append([]Holder{{Clone: here, Cost: -1}}, holders...)
	}
	var usable, best []Holder
	least := 0
	for _, h := range holders {
		if j.excludes(h) {
			continue
		}
		until := j.failed[h.Clone].until
		if known, ok := q.holders[h.Clone]; ok && known.failure.until.After(until) {
			until = known.failure.until
		}
		if until.After(now) {
			q.retryAt(until)
			continue
		}
		usable = append(usable, h)
		failures := q.failures(j, h.Clone)
		switch {
		case len(best) == 0, failures < least, failures == least && h.Cost < best[0].Cost:
			best, least = []Holder{h}, failures
		case failures == least && h.Cost == best[0].Cost:
			best = append(best, h)
		}
	}
	j.usable = usable
	for _, h := range best {
		known, ok := q.holders[h.Clone]
		if !ok {
			known = &holder{clone: h.Clone, remote: h.Remote}
			q.holders[h.Clone] = known
		}
		if j.isSmall() {
			heap.Push(&known.small, offer{j, j.offer, h})
		} else {
			heap.Push(&known.large, offer{j, j.offer, h})
		}
	}
}

// start begins as many workers as holders, jobs and slots allow. It gives the time until something must be looked at again.
func (q *Queue) start(ctx context.Context) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	next := time.Hour
	sooner := func(t time.Time) { next = min(next, max(t.Sub(now), 0)) }
	for _, h := range q.holders {
		q.expire(h, now, sooner)
		if q.paused || q.full.After(now) || ctx.Err() != nil {
			continue
		}
		for range q.missing(h) {
			w, ctx := q.newWorker(ctx, h)
			q.running.Go(func() { w.run(ctx) })
		}
	}
	if q.full.After(now) {
		sooner(q.full)
	}
	if !q.retry.IsZero() {
		sooner(q.retry)
	}
	if len(q.workers) > 0 {
		sooner(now.Add(q.checkProgress(now)))
	}
	return next
}

// missing gives how many workers more the holder's offers are worth: one for each content, and for small ones one for as
// many as a session takes ahead. Of a holder that is new or has failed, one finds out first.
func (q *Queue) missing(h *holder) int {
	slots := q.o.Slots
	if !h.proven && h.clone != here {
		slots = 1
	}
	sessions := (h.small.good(slots*p2p.MaxAsked) + p2p.MaxAsked - 1) / p2p.MaxAsked
	wanted := sessions + h.large.good(q.largeSlots()-h.larges)
	if q.swarmFor(h) != nil {
		wanted++
	}
	return max(min(wanted-h.starting, slots-h.sessions), 0)
}

// largeSlots leaves a session of each holder for small content.
func (q *Queue) largeSlots() int { return max(q.o.Slots-1, 1) }

// expire closes sessions that were not used for long.
func (q *Queue) expire(h *holder, now time.Time, sooner func(time.Time)) {
	kept := h.idle[:0]
	for _, s := range h.idle {
		end := s.since.Add(q.o.Linger)
		if end.After(now) && s.client.Err() == nil {
			kept = append(kept, s)
			sooner(end)
			continue
		}
		_ = s.client.Close()
	}
	clear(h.idle[len(kept):])
	h.idle = kept
}

func (q *Queue) closeSessions() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, h := range q.holders {
		for _, s := range h.idle {
			_ = s.client.Close()
		}
		h.idle = nil
	}
}

// take gives the holder's next job, which is the caller's from then on, and the holder as the job was offered to it: nil when
// there is none, or none that it may have beside the others. onlySmall is for who has asked for small ones already.
func (q *Queue) take(h *holder, onlySmall bool) (*job, Holder) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.paused || q.full.After(time.Now()) || h.failure.until.After(time.Now()) {
		return nil, Holder{}
	}
	from, best := &h.small, h.small.first()
	if l := h.large.first(); l != nil && h.larges < q.largeSlots() && (best == nil || l.compare(best.job) < 0) {
		if onlySmall { // it goes before small ones that nobody waits for: its turn is when those asked for have come
			return nil, Holder{}
		}
		from, best = &h.large, l
		h.larges++
	}
	if best == nil {
		return nil, Holder{}
	}
	taken := heap.Pop(from).(offer)
	taken.running = true
	return taken.job, taken.to
}

// present ends a job whose content is here, from a clone or because it was.
func (q *Queue) present(j *job, clone string) {
	q.mu.Lock()
	told := j.told
	j.gone, j.told = true, true
	if q.jobs[j.Key] == j {
		delete(q.jobs, j.Key)
	}
	q.mu.Unlock()
	if !told {
		size, _ := j.Key.Size()
		q.o.Event(Event{Job: j.Job, State: Present, Clone: clone, Bytes: size, Size: size})
	}
}
