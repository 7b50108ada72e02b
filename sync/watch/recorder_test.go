package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// deadline bounds every wait of the tests; nothing depends on how much of it is used.
const deadline = 30 * time.Second

// recorder runs a Watcher and keeps what it told.
type recorder struct {
	t    *testing.T
	w    *Watcher
	root string
	got  []Event

	flushes int
}

// record starts a watcher of root, waits for its first event and checks that it is the rescan that ends the start.
func record(t *testing.T, o Options) *recorder {
	t.Helper()
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return recordWatcher(t, w)
}

func recordWatcher(t *testing.T, w *Watcher) *recorder {
	t.Helper()
	r := run(t, w)
	if e := r.next(); e.Kind != Rescan || e.Dir != "" || e.Reason != "start" {
		t.Fatalf("the first event is %+v", e)
	}
	return r
}

func run(t *testing.T, w *Watcher) *recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
		if _, ok := <-w.Events(); ok {
			t.Error("Events is not closed after Run")
		}
	})
	return &recorder{t: t, w: w, root: w.options.Root}
}

// next waits for one event.
func (r *recorder) next() Event {
	r.t.Helper()
	timeout := time.NewTimer(deadline)
	defer timeout.Stop()
	select {
	case e := <-r.w.Events():
		r.got = append(r.got, e)
		return e
	case <-timeout.C:
		r.t.Fatalf("no event in %v; before: %+v", deadline, tail(r.got))
		panic("unreachable")
	}
}

func tail(events []Event) []Event { return events[max(0, len(events)-20):] }

// await takes events until one fits, and returns it.
func (r *recorder) await(what string, fits func(Event) bool) Event {
	r.t.Helper()
	end := time.Now().Add(deadline)
	for time.Now().Before(end) {
		if e := r.next(); fits(e) {
			return e
		}
	}
	r.t.Fatalf("no %s; before: %+v", what, tail(r.got))
	panic("unreachable")
}

func (r *recorder) awaitKind(k Kind) Event {
	r.t.Helper()
	return r.await(k.String(), func(e Event) bool { return e.Kind == k })
}

// settled takes events until all paths were reported, and returns how often each path was, of all that were.
func (r *recorder) settled(paths ...string) map[string]int {
	r.t.Helper()
	missing := map[string]bool{}
	for _, p := range paths {
		missing[p] = true
	}
	counts := map[string]int{}
	for len(missing) > 0 {
		e := r.await("settled "+strings.Join(paths[:min(len(paths), 10)], " "), func(e Event) bool { return e.Kind == Settled || e.Kind == Refs })
		if !slices.IsSorted(e.Paths) || len(slices.Compact(slices.Clone(e.Paths))) != len(e.Paths) {
			r.t.Errorf("paths not sorted or not unique: %q", e.Paths)
		}
		for _, p := range e.Paths {
			counts[p]++
			delete(missing, p)
		}
	}
	return counts
}

// flush returns the counts of all that was reported before everything that happened until now was: a file that is
// deleted now is held longer than anything that happened before.
func (r *recorder) flush() map[string]int {
	r.t.Helper()
	r.flushes++
	sentinel := fmt.Sprintf("zz-sentinel-%d", r.flushes)
	write(r.t, r.root, sentinel, "")
	counts := r.settled(sentinel)
	if err := os.Remove(filepath.Join(r.root, sentinel)); err != nil {
		r.t.Fatal(err)
	}
	for p, n := range r.settled(sentinel) {
		counts[p] += n
	}
	delete(counts, sentinel)
	return counts
}

// nothing fails when one of the paths was or is about to be reported.
func (r *recorder) nothing(match func(path string) bool) {
	r.t.Helper()
	r.flush()
	for _, e := range r.got {
		for _, p := range e.Paths {
			if match(p) {
				r.t.Errorf("%q was reported: %+v", p, e)
			}
		}
	}
}

func write(t *testing.T, root, path, content string) {
	t.Helper()
	abs := filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(abs), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(abs, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// patient has a watcher that gives programs so much time between their steps that a busy machine makes no difference.
func patient(t *testing.T, root string) *Watcher {
	t.Helper()
	w, err := New(Options{Root: root})
	must(t, err)
	m := &w.machine.timing
	m.edge, m.maxWait, m.hold, m.backupHold = 100*ms, time.Second, 400*ms, 400*ms
	return w
}

// impatient has a watcher check and sweep often.
func impatient(t *testing.T, root string) *Watcher {
	t.Helper()
	w, err := New(Options{Root: root})
	must(t, err)
	w.checks = checks{healthy: 20 * ms, lost: 20 * ms, sweep: 20 * ms, step: ms, stepDirs: 16}
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pause lets a program of a test idle, as programs do; no test waits for something this way.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
