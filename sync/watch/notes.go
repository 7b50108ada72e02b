package watch

import (
	"path"
	"time"

	"github.com/fsnotify/fsnotify"
)

// maxDrain bounds the events taken in one go, so that settled paths do not wait for a busy disk.
const maxDrain = 4096

// drain handles the events that are there already.
func (w *Watcher) drain() {
	notes, _ := w.tree.channels()
	for range maxDrain {
		select {
		case e, ok := <-notes:
			w.handle(e, ok, time.Now())
			if !ok {
				return
			}
		default:
			return
		}
	}
}

// reopen has everything watched anew, for directories may have come and gone unseen. It does not spend more than half of
// the time on that while a storm lasts.
func (w *Watcher) reopen(reason string, now time.Time) {
	if w.reopenAt.IsZero() && !w.down {
		w.reopenAt, w.reopenFor = now.Add(w.openTook), reason
	}
}

// handle takes one event. A stale one does no harm: what it names is looked at before it is believed.
func (w *Watcher) handle(e fsnotify.Event, open bool, now time.Time) {
	if !open {
		w.tree.close()
		w.reopen("watcher ended", now)
		return
	}
	p, ok := w.tree.rel(e.Name)
	if !ok {
		return
	}
	up, ok := parent(p)
	if !ok {
		w.checkAt = now // the root itself
		return
	}
	away := e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)
	if w.nesting && path.Base(p) == gitEntry {
		if away || e.Has(fsnotify.Create) {
			w.nest(up, now)
		}
		return
	}
	if d := w.tree.dirs[up]; d != nil && d.nested {
		return
	}
	switch {
	case away:
		w.goneAway(p, now)
	case e.Has(fsnotify.Create):
		dir := w.comeUp(p, now)
		if from, ok := renamedFrom(e); ok {
			if from, ok = w.tree.rel(from); ok {
				w.machine.pair(from, p, dir, now)
			}
		}
	default:
		w.stirred(p, now)
	}
}

// nest takes the coming or going of the git directory in dir.
func (w *Watcher) nest(dir string, now time.Time) {
	if dir == "" {
		w.checkAt = now
		return
	}
	w.tree.forget(dir)
	w.add(dir, now)
	if d := w.tree.dirs[dir]; d != nil && d.nested {
		w.machine.drop(dir, func(string) bool { return true })
	}
}

// goneAway takes the news that what was at p was deleted or renamed.
func (w *Watcher) goneAway(p string, now time.Time) {
	_, known := w.tree.lost[p]
	known = known || w.tree.dirs[p] != nil
	w.tree.forget(p)
	if known || w.machine.waiting(p) || !w.isIgnored(p, false) {
		w.machine.touch(p, vanished, now)
	}
}

// comeUp takes the news that something was created at p or renamed to it, and reports whether it is a directory.
func (w *Watcher) comeUp(p string, now time.Time) (dir bool) {
	st, err := w.tree.look(p)
	if err == nil && st.sight == directory {
		if d := w.tree.dirs[p]; d != nil {
			if d.id == st.fileID && d.id != (fileID{}) {
				return true // found when its parent was listed
			}
			w.goneAway(p, now)
		}
		if !w.isIgnored(p, true) {
			w.add(p, now)
		}
		return true
	}
	if w.tree.dirs[p] != nil {
		w.goneAway(p, now)
	}
	w.touchUnlessIgnored(now, p)
	return false
}

// stirred takes the news that p was written to, or that its attributes changed.
func (w *Watcher) stirred(p string, now time.Time) {
	if _, ok := w.tree.lost[p]; ok {
		w.checkAt = now
		return
	}
	if w.tree.dirs[p] == nil {
		w.touchUnlessIgnored(now, p)
		return
	}
	if err := readable(w.tree.abs(p)); err != nil && !isGone(err) {
		w.tree.lose(p, err, false)
		w.tellLost()
	}
}

// add watches the directory p and everything below it; what is in it counts as changed.
func (w *Watcher) add(p string, now time.Time) {
	w.touchUnlessIgnored(now, w.tree.add(p)...)
	w.tellLost()
	w.tellLimit(now)
}

func (w *Watcher) touchUnlessIgnored(now time.Time, paths ...string) {
	var asked []string
	for _, p := range paths {
		if w.machine.waiting(p) || w.options.Ignored == nil {
			w.machine.touch(p, changed, now)
		} else {
			asked = append(asked, p)
		}
	}
	if len(asked) == 0 {
		return
	}
	for i, ignored := range w.options.Ignored(asked...) {
		if !ignored {
			w.machine.touch(asked[i], changed, now)
		}
	}
}
