package watch

import (
	"errors"
	"log/slog"
	"strconv"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// notifier is an fsnotify.Watcher whose errors are read by a goroutine of their own: fsnotify sends some while it holds
// the lock that Add, Remove and Close take (a directory that was moved and then deleted), so that who calls them must not
// be the one who reads the errors.
type notifier struct {
	*fsnotify.Watcher
	overflow chan struct{} // the kernel's event queue was full; events are missing
	drained  chan struct{}
}

func newNotifier(log *slog.Logger) (*notifier, error) {
	// The buffer keeps fsnotify's reader ahead of the kernel's queue while a directory is being listed.
	w, err := fsnotify.NewBufferedWatcher(1024)
	if err != nil {
		return nil, err
	}
	n := &notifier{Watcher: w, overflow: make(chan struct{}, 1), drained: make(chan struct{})}
	go func() {
		defer close(n.drained)
		for err := range w.Errors {
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				// Mostly about a watch that went with its directory before fsnotify could remove it.
				log.Debug("fsnotify", "err", err)
				continue
			}
			select {
			case n.overflow <- struct{}{}:
			default:
			}
		}
	}()
	return n, nil
}

// close drops all watches and waits for the goroutines.
func (n *notifier) close() error {
	err := n.Close()
	<-n.drained
	return err
}

// renamedFrom returns the absolute path that a Create event was renamed from, when that is watched too. fsnotify knows it
// but tells it in String alone; where it does not, a rename is a deletion and a creation.
func renamedFrom(e fsnotify.Event) (string, bool) {
	known := fsnotify.Event{Name: e.Name, Op: e.Op}.String()
	quoted, ok := strings.CutPrefix(e.String(), known+" ← ")
	if !ok {
		return "", false
	}
	from, err := strconv.Unquote(quoted)
	return from, err == nil
}
