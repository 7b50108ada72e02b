package watch

import (
	"container/heap"
	"container/list"
	"path"
	"strings"
	"time"
)

// timing holds every duration of the decision when a path is settled.
type timing struct {
	edge        time.Duration // quiet after the last event of a path before it is looked at: takes in chmod and utime after a copy
	maxWait     time.Duration // a path with events without end is looked at this often all the same
	hold        time.Duration // how long a path must be absent to count as gone: git and editors delete and re-create
	backupHold  time.Duration // the same for a path that was renamed to its backup name: its new version is being written
	busyRetry   time.Duration // longest pause between looks at a file that is open for writing
	errorRetry  time.Duration // longest pause between looks at a path that could not be looked at
	quiet       time.Duration // without leases: a file is complete after standing still this long
	minInterval time.Duration // first pause between two reports of a path that changes all the time; doubles
	maxInterval time.Duration // where the doubling ends
	sweepMin    time.Duration // first pause between stat sweeps of the files reported last (writes through a mapping raise no event)
	sweepMax    time.Duration // where that pause ends
	recent      time.Duration // how long a reported file stays in that sweep
	maxRecent   int           // how many do
	maxPending  int           // paths in waiting before the whole tree is rescanned instead
}

// workTreeTiming: the edge and the hold are measured on editors, rsync, tar and git; see the tests for each.
var workTreeTiming = timing{
	edge:        5 * time.Millisecond,
	maxWait:     100 * time.Millisecond,
	hold:        25 * time.Millisecond,
	backupHold:  50 * time.Millisecond,
	busyRetry:   250 * time.Millisecond,
	errorRetry:  5 * time.Second,
	quiet:       500 * time.Millisecond,
	minInterval: 100 * time.Millisecond,
	maxInterval: 2 * time.Second,
	sweepMin:    2 * time.Second,
	sweepMax:    time.Minute,
	recent:      10 * time.Minute,
	maxRecent:   1024,
	maxPending:  100_000,
}

// cause says what an event told about a path.
type cause int

const (
	changed  cause = iota // it is there, in some state
	vanished              // it was deleted or renamed away; it may be there again
)

// sight is what a look at a path found.
type sight int

const (
	complete  sight = iota // a file nobody has open for writing, or a symbolic link
	busy                   // a file that is open for writing
	untold                 // a file, and nothing tells whether it is open for writing
	gone                   // nothing there
	directory              // a directory
	special                // neither file, link nor directory: git does not track it
	failed                 // could not be looked at; says nothing about the path
)

// fingerprint is what a stat tells about a version of a file. The zero value is an absent file.
type fingerprint struct {
	ino          uint64
	size         int64
	mtime, ctime int64 // nanoseconds
	mode         uint32
}

// entry is a path in waiting, or one reported a short while ago.
type entry struct {
	path        string
	due         time.Time // when to look at it
	index       int       // in machine.pending; -1 when not in waiting
	first, last time.Time // events since the last look; last event
	notBefore   time.Time // it is part of a rename that is not over
	goneAt      time.Time // absent until then, it is gone
	vanished    bool      // what was there before vanished
	print       fingerprint
	printed     time.Time // when print was first seen
	reported    time.Time
	interval    time.Duration // to the next report
	recent      *list.Element // in machine.recent
}

// machine decides which paths are settled. It does no I/O and has no clock: events come in by touch and pair, what due
// asks for is answered by answer, and take returns what is settled.
type machine struct {
	timing
	paths   map[string]*entry
	pending pending
	recent  *list.List // of *entry, oldest report first
	sweepAt time.Time  // next sweep of recent; zero when it is empty
	settled map[string]struct{}
	rebuilt map[string]struct{} // directories that replaced something that vanished
	flooded bool                // more paths than maxPending
}

func newMachine(t timing) *machine {
	return &machine{
		timing:  t,
		paths:   map[string]*entry{},
		recent:  list.New(),
		settled: map[string]struct{}{},
		rebuilt: map[string]struct{}{},
	}
}

// waiting reports whether path is to be looked at already.
func (m *machine) waiting(path string) bool {
	e := m.paths[path]
	return e != nil && e.index >= 0
}

// touch takes an event about path.
func (m *machine) touch(path string, c cause, now time.Time) {
	e := m.paths[path]
	switch {
	case e == nil:
		e = &entry{path: path, index: -1}
		m.paths[path] = e
	case e.recent != nil:
		m.recent.Remove(e.recent)
		e.recent = nil
	}
	if e.index < 0 {
		if len(m.pending) >= m.maxPending {
			m.flood()
			return
		}
		e.first = time.Time{}
		e.notBefore, e.goneAt, e.vanished = time.Time{}, time.Time{}, false
		heap.Push(&m.pending, e)
	}
	e.last = now
	if e.first.IsZero() {
		e.first = now
	}
	switch {
	case c == changed:
		e.goneAt = time.Time{}
	case e.goneAt.IsZero(): // else told before: a directory that moved is told of by its parent and by itself
		e.vanished = true
		e.goneAt = now.Add(m.hold)
	}
	m.wait(e, earlier(now.Add(m.edge), e.first.Add(m.maxWait)))
}

// pair takes the news that a rename made to out of from; touch was told of from, and of to or, for a directory, of what
// is in it. What was renamed away does not come back, so all go out together and soon, unless to is a file and the
// backup of from: then from is about to be written anew.
func (m *machine) pair(from, to string, dir bool, now time.Time) {
	old, renamed := m.paths[from], m.paths[to]
	if old == nil || old.index < 0 || !old.vanished {
		return
	}
	old.last = now
	if !dir && isBackup(from, to) {
		old.goneAt = now.Add(m.backupHold)
		if renamed != nil && renamed.index >= 0 {
			renamed.notBefore = old.goneAt
			m.wait(renamed, renamed.due)
		}
		return
	}
	old.goneAt = now.Add(m.edge)
	m.wait(old, old.goneAt)
}

// isBackup reports whether to looks like the backup an editor makes of from before it writes from anew: f~, f.bak, #f#.
func isBackup(from, to string) bool {
	return path.Dir(from) == path.Dir(to) && strings.Contains(path.Base(to), path.Base(from))
}

// wait moves the next look at e to t, or later when e was reported a moment ago or belongs to an unfinished rename.
func (m *machine) wait(e *entry, t time.Time) {
	e.due = later(t, later(e.notBefore, e.reported.Add(e.interval)))
	heap.Fix(&m.pending, e.index)
}

// due returns up to limit paths to look at now. Paths due within a fifth of the edge come along, for larger batches and
// fewer wake-ups. Each must be answered before due is called again.
func (m *machine) due(now time.Time, limit int) []string {
	var paths []string
	for horizon := now.Add(m.edge / 5); len(m.pending) > 0 && len(paths) < limit && !m.pending[0].due.After(horizon); {
		e := m.pending[0]
		paths = append(paths, e.path)
		m.wait(e, now.Add(m.errorRetry))
	}
	return paths
}

// answer takes what a look at path found, and the fingerprint of a complete or untold file.
func (m *machine) answer(path string, s sight, print fingerprint, now time.Time) {
	e := m.paths[path]
	if e == nil || e.index < 0 {
		return
	}
	if s != gone {
		e.goneAt = time.Time{}
	}
	e.first = time.Time{}
	switch s {
	case complete:
		e.print = print
		m.report(e, m.settled, now)
	case busy:
		m.wait(e, now.Add(clamp(now.Sub(e.last)/8, m.edge, m.busyRetry)))
	case untold:
		m.standStill(e, print, now)
	case gone:
		if e.goneAt.IsZero() {
			e.goneAt = now.Add(m.hold)
		}
		if e.goneAt.After(now.Add(m.edge / 5)) {
			m.wait(e, e.goneAt)
			return
		}
		e.print = fingerprint{}
		m.report(e, m.settled, now)
	case directory:
		if e.vanished {
			m.report(e, m.rebuilt, now)
			return
		}
		m.forget(e)
	case special:
		if e.vanished {
			m.report(e, m.settled, now)
			return
		}
		m.forget(e)
	case failed:
		m.wait(e, now.Add(clamp(now.Sub(e.last)/4, 10*m.edge, m.errorRetry)))
	}
}

// standStill settles e when neither events nor its fingerprint moved for the quiet time.
func (m *machine) standStill(e *entry, print fingerprint, now time.Time) {
	if e.printed.IsZero() || e.print != print {
		e.print, e.printed = print, now
	}
	still := later(e.last, e.printed).Add(m.quiet)
	if still.After(now) {
		m.wait(e, still)
		return
	}
	m.report(e, m.settled, now)
}

// report puts e into a set to be taken, and slows it down when it is reported all the time.
func (m *machine) report(e *entry, set map[string]struct{}, now time.Time) {
	set[e.path] = struct{}{}
	if !e.reported.IsZero() && now.Sub(e.reported) < 4*e.interval {
		e.interval = min(2*e.interval, m.maxInterval)
	} else {
		e.interval = m.minInterval
	}
	e.reported, e.printed, e.vanished = now, time.Time{}, false
	heap.Remove(&m.pending, e.index)
	e.recent = m.recent.PushBack(e)
	m.sweepAt = now.Add(m.sweepMin)
	m.expire(now)
}

// expire forgets reports that are old or too many.
func (m *machine) expire(now time.Time) {
	for front := m.recent.Front(); front != nil; front = m.recent.Front() {
		e := front.Value.(*entry)
		if m.recent.Len() <= m.maxRecent && now.Sub(e.reported) < m.timing.recent {
			return
		}
		m.forget(e)
	}
}

func (m *machine) forget(e *entry) {
	if e.index >= 0 {
		heap.Remove(&m.pending, e.index)
	}
	if e.recent != nil {
		m.recent.Remove(e.recent)
		e.recent = nil
	}
	delete(m.paths, e.path)
}

// flood gives up on single paths: the whole tree is to be rescanned.
func (m *machine) flood() {
	clear(m.paths)
	m.pending = nil
	m.recent.Init()
	m.sweepAt = time.Time{}
	m.flooded = true
}

// drop forgets the paths below dir that match, for they are none of our business any more.
func (m *machine) drop(dir string, match func(path string) bool) {
	for p, e := range m.paths {
		if within(p, dir) && p != dir && match(p) {
			m.forget(e)
		}
	}
}

// sweep returns the files reported recently when it is time to stat them; each is told by observe.
func (m *machine) sweep(now time.Time) []string {
	if m.sweepAt.IsZero() || m.sweepAt.After(now) {
		return nil
	}
	m.expire(now)
	if m.recent.Len() == 0 {
		m.sweepAt = time.Time{}
		return nil
	}
	paths := make([]string, 0, m.recent.Len())
	for el := m.recent.Front(); el != nil; el = el.Next() {
		paths = append(paths, el.Value.(*entry).path)
	}
	newest := m.recent.Back().Value.(*entry).reported
	m.sweepAt = now.Add(clamp(now.Sub(newest)/8, m.sweepMin, m.sweepMax))
	return paths
}

// observe takes the fingerprint a sweep found for path; a difference counts as an event.
func (m *machine) observe(path string, print fingerprint, now time.Time) {
	if e := m.paths[path]; e != nil && e.index < 0 && e.print != print {
		m.touch(path, changed, now)
	}
}

// next returns when due or sweep have something to do.
func (m *machine) next() (time.Time, bool) {
	if len(m.pending) == 0 {
		return m.sweepAt, !m.sweepAt.IsZero()
	}
	if m.sweepAt.IsZero() {
		return m.pending[0].due, true
	}
	return earlier(m.pending[0].due, m.sweepAt), true
}

// take returns what settled since it was called last: paths, directories to rescan, and whether everything is to be.
func (m *machine) take() (settled, rebuilt map[string]struct{}, flooded bool) {
	settled, rebuilt, flooded = m.settled, m.rebuilt, m.flooded
	if len(settled) > 0 {
		m.settled = map[string]struct{}{}
	}
	if len(rebuilt) > 0 {
		m.rebuilt = map[string]struct{}{}
	}
	m.flooded = false
	return settled, rebuilt, flooded
}

// pending is a heap of entries, the one due first on top.
type pending []*entry

func (p pending) Len() int           { return len(p) }
func (p pending) Less(i, j int) bool { return p[i].due.Before(p[j].due) }
func (p pending) Swap(i, j int) {
	p[i], p[j] = p[j], p[i]
	p[i].index, p[j].index = i, j
}

func (p *pending) Push(x any) {
	e := x.(*entry)
	e.index = len(*p)
	*p = append(*p, e)
}

func (p *pending) Pop() any {
	old := *p
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*p = old[:len(old)-1]
	e.index = -1
	return e
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func clamp(d, low, high time.Duration) time.Duration { return min(max(d, low), high) }

// within reports whether path is dir or below it; everything is below "".
func within(path, dir string) bool {
	return dir == "" || path == dir || len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}
