package watch

import (
	"context"
	"fmt"
	"log/slog"
	"path"
	"path/filepath"
	"sync"
	"time"
)

// Options say what to watch.
type Options struct {
	// Root is the absolute path of the work tree. Symbolic links in it are resolved once, by New.
	Root string
	// Ignored reports which paths (relative, with slashes; that of a directory ends with one) are none of our business; an
	// ignored directory is not watched and so must not contain tracked files. It is called from Run's goroutine only, must
	// not block for long, and may be nil. After its rules changed, call Reconsider.
	Ignored func(paths ...string) []bool
	// Log receives what an engineer wants to know; nil discards it.
	Log *slog.Logger
}

// Watcher watches one work tree. All methods but Run may be called from any goroutine at any time.
type Watcher struct {
	options Options
	log     *slog.Logger
	marker  string // exists in the root whenever the root is what it was; "" when there was none
	nesting bool
	checks  checks
	events  chan Event
	wake    chan struct{} // a wish is waiting
	mu      sync.Mutex
	wishes  []wish // guarded by mu

	// Owned by Run's goroutine.
	machine     *machine
	outbox      outbox
	tree        *tree
	rootID      fileID
	down        bool // the root is lost
	missingTold int  // directories without a watch
	checkAt     time.Time
	reopenAt    time.Time // after an overflow; else zero
	reopenFor   string
	openTook    time.Duration
	sweepAt     time.Time // next step of the sweep of unwatched directories; zero when there are none
	sweepQueue  []*dir
	sweepBegan  time.Time
	watchesFree bool // as far as this round knows
}

// checks holds how often the rim looks at what raises no events.
type checks struct {
	healthy  time.Duration // between checks of the root and the mounts
	lost     time.Duration // the same while something is lost
	sweep    time.Duration // least time of a round over the unwatched directories
	step     time.Duration // between steps of such a round
	stepDirs int           // directories of a step
}

var defaultChecks = checks{healthy: 5 * time.Second, lost: time.Second, sweep: 10 * time.Second, step: 50 * time.Millisecond, stepDirs: 64}

// wish is what another goroutine asks of Run's.
type wish struct {
	settle     []string
	reconsider bool
	dir        string // to reconsider
}

// New prepares a Watcher; nothing is watched before Run. The error is about Root: not absolute, missing, not a directory.
func New(o Options) (*Watcher, error) {
	return newWatcher(o, Settled, gitEntry, true, workTreeTiming)
}

func newWatcher(o Options, kind Kind, marker string, nesting bool, t timing) (*Watcher, error) {
	if !filepath.IsAbs(o.Root) {
		return nil, fmt.Errorf("watch %q: not an absolute path", o.Root)
	}
	root, err := filepath.EvalSymlinks(o.Root)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	if st, err := lstat(root); err != nil || st.sight != directory {
		return nil, fmt.Errorf("watch %q: not a directory", o.Root)
	}
	o.Root = root
	if _, err := lstat(filepath.Join(root, marker)); err != nil {
		marker = ""
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Watcher{
		options: o,
		log:     log.With("root", root),
		marker:  marker,
		nesting: nesting,
		checks:  defaultChecks,
		events:  make(chan Event),
		wake:    make(chan struct{}, 1),
		machine: newMachine(t),
		outbox:  outbox{kind: kind},
	}, nil
}

// Events is where Run sends to; it is closed when Run returns. A slow reader loses nothing: batches grow meanwhile.
func (w *Watcher) Events() <-chan Event { return w.events }

// Writing reports whether somebody has the file open for writing or mapped writable at this moment. It is false where the
// file system cannot tell, and for what is not a regular file.
func (w *Watcher) Writing(path string) bool {
	abs := w.options.Root + "/" + path
	st, err := lstat(abs)
	return err == nil && st.regular && writers(abs) == busy
}

// Settle asks for paths to be reported as Settled when nobody writes to them, as if they had just changed: for what a
// rescan found to differ, and for what changed while it was being read. Ignored is not asked about them. A directory that
// is not watched is, and what is in it is reported instead, unless it is ignored.
func (w *Watcher) Settle(paths ...string) {
	if len(paths) > 0 {
		w.ask(wish{settle: paths})
	}
}

// Reconsider asks Options.Ignored again about everything below dir ("" for all): directories that are no longer ignored
// are watched, those that now are ignored no longer, and a Rescan of dir follows.
func (w *Watcher) Reconsider(dir string) { w.ask(wish{reconsider: true, dir: dir}) }

func (w *Watcher) ask(s wish) {
	w.mu.Lock()
	w.wishes = append(w.wishes, s)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run watches until ctx is done and returns its error. It must be called once. The first event is a Rescan of "" (reason
// "start"), sent when everything is watched: what changed before is found by that rescan, what changes later is an event.
// When the root cannot be seen the first event is Lost.
func (w *Watcher) Run(ctx context.Context) error {
	defer close(w.events)
	w.open("start", time.Now())
	defer func() { w.tree.close() }()
	timer := time.NewTimer(0)
	defer timer.Stop()

	var next Event // being sent
	var sending chan Event
	for {
		if sending == nil {
			var ok bool
			if next, ok = w.outbox.next(); ok {
				sending = w.events
			}
		}
		timer.Reset(time.Until(w.wakeAt()))
		notes, overflow := w.tree.channels()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case sending <- next:
			sending = nil
			continue
		case e, ok := <-notes:
			w.handle(e, ok, time.Now())
			w.drain()
		case <-overflow:
			w.reopen("event queue overflow", time.Now())
		case <-w.wake:
			w.grant(time.Now())
		case <-timer.C:
		}
		now := time.Now()
		w.check(now)
		w.settle(now)
		w.sweep(now)
	}
}

// wakeAt is when something is to be done even if nothing happens.
func (w *Watcher) wakeAt() time.Time {
	at := w.checkAt
	if t, ok := w.machine.next(); ok {
		at = earlier(at, t)
	}
	if !w.sweepAt.IsZero() {
		at = earlier(at, w.sweepAt)
	}
	if !w.reopenAt.IsZero() {
		at = earlier(at, w.reopenAt)
	}
	return at
}

// open watches the whole tree anew and asks for a rescan, or finds the root lost.
func (w *Watcher) open(reason string, now time.Time) {
	if w.tree != nil {
		w.tree.close()
	}
	w.reopenAt, w.sweepAt, w.sweepQueue = time.Time{}, time.Time{}, nil
	w.checkAt = now.Add(w.checks.healthy)
	t, err := newTree(w.options, w.nesting, w.log)
	w.tree, w.down = t, false
	if err != nil {
		w.log.Warn("no inotify instance, sweeping instead", "err", err)
	}
	if w.rootID, err = w.health(); err != nil {
		w.lose(err, now)
		return
	}
	t.add("")
	w.openTook = time.Since(now)
	if l, ok := t.lost[""]; ok {
		w.lose(l.err, now)
		return
	}
	w.log.Debug("watching", "dirs", len(t.dirs), "unwatched", len(t.unwatched), "took", w.openTook)
	w.tellLost()
	w.outbox.tell(Event{Kind: Rescan, Reason: reason})
	w.tellLimit(now)
}

// grant does what other goroutines asked for.
func (w *Watcher) grant(now time.Time) {
	w.mu.Lock()
	wishes := w.wishes
	w.wishes = nil
	w.mu.Unlock()
	for _, s := range wishes {
		if s.reconsider {
			w.reconsider(s.dir, now)
		}
		for _, p := range s.settle {
			if p != "" && path.Clean("/"+p) == "/"+p {
				w.machine.touch(p, changed, now)
			}
		}
	}
}

// reconsider watches dir anew by the rules of now.
func (w *Watcher) reconsider(dir string, now time.Time) {
	if w.down {
		return
	}
	// An ignored directory above dir decides about dir as well.
	for p := dir; p != ""; p, _ = parent(p) {
		if d := w.tree.dirs[p]; d != nil && d.nested {
			return
		}
		if w.isIgnored(p, true) {
			dir = p
		}
	}
	w.machine.drop(dir, func(p string) bool { return w.isIgnored(p, false) || w.isBelowIgnored(p) })
	w.tree.forget(dir)
	if !w.isIgnored(dir, true) {
		w.tree.add(dir)
	}
	w.tellLost()
	w.outbox.tell(Event{Kind: Rescan, Dir: dir, Reason: "ignore rules changed"})
	w.tellLimit(now)
}

func (w *Watcher) isIgnored(p string, dir bool) bool {
	if p == "" || w.options.Ignored == nil {
		return false
	}
	if dir {
		p += "/"
	}
	return w.options.Ignored(p)[0]
}

func (w *Watcher) isBelowIgnored(p string) bool {
	for up, ok := parent(p); ok && up != ""; up, ok = parent(up) {
		if w.isIgnored(up, true) {
			return true
		}
	}
	return false
}
