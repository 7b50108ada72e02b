package watch

import (
	"fmt"
	"time"

	"github.com/fsnotify/fsnotify"
)

// maxLooks bounds the paths looked at before events are taken again.
const maxLooks = 256

// settle looks at the paths that are due and hands on what is settled.
func (w *Watcher) settle(now time.Time) {
	for {
		paths := w.machine.due(now, maxLooks)
		if len(paths) == 0 {
			break
		}
		w.lookAt(paths)
		w.drain()
	}
	for _, p := range w.machine.sweep(now) {
		switch st, err := w.tree.look(p); {
		case err == nil:
			w.machine.observe(p, st.print, now)
		case isGone(err):
			w.machine.observe(p, fingerprint{}, now)
		}
	}
	settled, rebuilt, flooded := w.machine.take()
	if flooded {
		w.outbox.tell(Event{Kind: Rescan, Reason: "too many changes at once"})
	}
	for dir := range rebuilt {
		w.outbox.tell(Event{Kind: Rescan, Dir: dir, Reason: "directory was replaced"})
	}
	w.outbox.settle(settled)
}

// lookAt answers the machine about paths.
func (w *Watcher) lookAt(paths []string) {
	sights := make([]sight, len(paths))
	prints := make([]fingerprint, len(paths))
	absent := false
	for i, p := range paths {
		sights[i], prints[i] = w.look(p)
		absent = absent || sights[i] == gone
	}
	now := time.Now()
	// Nothing is gone because a mount or the root is: that is looked at after the paths were.
	believe := !absent || w.verify(now)
	for i, p := range paths {
		if sights[i] == gone && (!believe || w.tree.isLost(p)) {
			sights[i] = failed
		}
		w.machine.answer(p, sights[i], prints[i], now)
	}
}

// look finds out what is at p at this moment.
func (w *Watcher) look(p string) (sight, fingerprint) {
	if w.down || w.tree.isLost(p) {
		return failed, fingerprint{}
	}
	st, err := w.tree.look(p)
	switch {
	case isGone(err):
		return gone, fingerprint{}
	case err != nil:
		return failed, fingerprint{}
	case st.regular:
		return writers(w.tree.abs(p)), st.print
	case st.sight == directory && w.tree.dirs[p] == nil && !w.isIgnored(p, true):
		// Its Create event is still to come, or was lost.
		w.add(p, time.Now())
	}
	return st.sight, st.print
}

// check looks, when it is time, at what raises no events: the root, mounts, and directories that could not be seen.
func (w *Watcher) check(now time.Time) {
	if !w.reopenAt.IsZero() && !now.Before(w.reopenAt) {
		w.open(w.reopenFor, now)
	}
	if now.Before(w.checkAt) {
		return
	}
	if w.down {
		w.checkAt = now.Add(w.checks.lost)
		if _, err := w.health(); err == nil {
			w.open("root is back", now)
		}
		return
	}
	w.checkAt = now.Add(w.checks.healthy)
	if !w.verify(now) {
		return
	}
	for p, l := range w.tree.lost {
		if w.tree.isBack(p, l) {
			w.regain(p, now)
		}
	}
	if len(w.tree.lost) > 0 {
		w.checkAt = now.Add(w.checks.lost)
	}
}

// regain takes a directory that was lost for seen again, or for gone.
func (w *Watcher) regain(p string, now time.Time) {
	delete(w.tree.lost, p)
	w.add(p, now)
	if w.tree.dirs[p] == nil {
		w.machine.touch(p, vanished, now)
		return
	}
	w.outbox.tell(Event{Kind: Rescan, Dir: p, Reason: "directory is back"})
}

// health returns what the root is, or why it cannot be the work tree.
func (w *Watcher) health() (fileID, error) {
	st, err := lstat(w.options.Root)
	if err != nil {
		return fileID{}, fmt.Errorf("watch %q: %w", w.options.Root, err)
	}
	if st.sight != directory {
		return fileID{}, fmt.Errorf("watch %q: not a directory", w.options.Root)
	}
	if err := readable(w.options.Root); err != nil {
		return fileID{}, fmt.Errorf("watch: %w", err)
	}
	if w.marker != "" {
		if _, err := lstat(w.options.Root + "/" + w.marker); err != nil {
			return fileID{}, fmt.Errorf("watch %q: no %s in it any more: %w", w.options.Root, w.marker, err)
		}
	}
	return st.fileID, nil
}

// verify finds out which mounts in the root are lost, and whether the root is still what it was.
func (w *Watcher) verify(now time.Time) bool {
	if w.down {
		return false
	}
	id, err := w.health()
	if err != nil {
		w.lose(err, now)
		return false
	}
	if id != w.rootID {
		w.open("root was replaced", now)
		return false
	}
	for p, err := range w.tree.lostMounts() {
		w.tree.lose(p, err, true)
		w.checkAt = earlier(w.checkAt, now.Add(w.checks.lost))
	}
	w.tellLost()
	return true
}

// lose takes the root for lost until check finds it back.
func (w *Watcher) lose(err error, now time.Time) {
	w.tree.close()
	w.down = true
	w.checkAt = now.Add(w.checks.lost)
	w.reopenAt, w.sweepAt, w.sweepQueue = time.Time{}, time.Time{}, nil
	w.outbox.tell(Event{Kind: Lost, Err: err})
}

// tellLost tells of directories that were found lost.
func (w *Watcher) tellLost() {
	for p, l := range w.tree.lost {
		if !l.told {
			l.told = true
			w.tree.lost[p] = l
			w.outbox.tell(Event{Kind: Lost, Dir: p, Err: l.err})
		}
	}
}

// tellLimit tells when watches ran out and when there are enough again, and keeps the sweep going meanwhile.
func (w *Watcher) tellLimit(now time.Time) {
	missing := w.tree.missing()
	if (missing == 0) != (w.missingTold == 0) {
		w.tellCount(missing)
	}
	switch {
	case len(w.tree.unwatched) == 0:
		w.sweepAt, w.sweepQueue = time.Time{}, nil
	case w.sweepAt.IsZero():
		w.sweepAt = now.Add(w.checks.sweep)
	}
}

func (w *Watcher) tellCount(missing int) {
	w.missingTold = missing
	w.outbox.tell(Event{Kind: Limited, Watched: len(w.tree.dirs) - len(w.tree.unwatched), Missing: missing, Reason: w.tree.limit})
}

// sweep does the next step of comparing unwatched directories with their listing.
func (w *Watcher) sweep(now time.Time) {
	if w.sweepAt.IsZero() || now.Before(w.sweepAt) {
		return
	}
	if len(w.sweepQueue) == 0 {
		if w.tree.notifier == nil && haveInstance() {
			w.open("inotify instance is free", now)
			return
		}
		for d := range w.tree.unwatched {
			w.sweepQueue = append(w.sweepQueue, d)
		}
		w.sweepBegan, w.watchesFree = now, true
	}
	step := w.sweepQueue[:min(len(w.sweepQueue), w.checks.stepDirs)]
	w.sweepQueue = w.sweepQueue[len(step):]
	w.sweepAt = now.Add(w.checks.step)
	for _, d := range step {
		if w.tree.dirs[d.path] == d {
			w.sweepDir(d, now)
		}
	}
	if len(w.sweepQueue) > 0 {
		return
	}
	w.sweepQueue = nil
	w.sweepAt = now.Add(max(w.checks.sweep, 20*time.Since(w.sweepBegan)))
	if missing := w.tree.missing(); missing != w.missingTold {
		w.tellCount(missing)
	}
	w.tellLimit(now)
}

// haveInstance reports whether an inotify instance can be had.
func haveInstance() bool {
	n, err := fsnotify.NewWatcher()
	if err != nil {
		return false
	}
	return n.Close() == nil
}

// sweepDir handles what changed in an unwatched directory as events would have told it, and watches it when it can.
func (w *Watcher) sweepDir(d *dir, now time.Time) {
	if w.watchesFree {
		w.watchesFree = w.tree.upgrade(d)
	}
	entries, err := readDir(w.tree.abs(d.path))
	switch {
	case isGone(err):
		w.goneAway(d.path, now)
		return
	case err != nil:
		w.tree.lose(d.path, err, false)
		w.tellLost()
		return
	case w.tree.isNested(d.path, entries) != d.nested:
		w.nest(d.path, now)
		return
	case d.nested:
		return
	}
	old := d.listing
	d.listing = nil
	list := w.tree.list(d.path, entries)
	if _, ok := w.tree.unwatched[d]; ok {
		d.listing = list
	}
	changed, vanished := difference(old, list)
	for _, name := range vanished {
		w.goneAway(join(d.path, name), now)
	}
	for _, l := range changed {
		if name := join(d.path, l.name); !w.nesting || l.name != gitEntry {
			w.comeUp(name, now)
		}
	}
}
