package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// BenchmarkSave measures from the close of a saved file to its Settled event, beside what fsnotify takes, in the same
// run, from the last write to the raw event.
func BenchmarkSave(b *testing.B) {
	root := b.TempDir()
	raw, err := fsnotify.NewBufferedWatcher(64)
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	for i := range 100 {
		if err := os.Mkdir(filepath.Join(root, fmt.Sprint(i)), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	if err := raw.Add(filepath.Join(root, "0")); err != nil {
		b.Fatal(err)
	}
	w, err := New(Options{Root: root})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	<-w.Events()
	content := make([]byte, 1024)
	var settled, events []time.Duration
	for i := 0; b.Loop(); i++ {
		p := fmt.Sprintf("0/%d", i)
		f, err := os.Create(filepath.Join(root, p))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.Write(content); err != nil {
			b.Fatal(err)
		}
		wrote := time.Now()
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
		closed := time.Now()
		for e := range raw.Events {
			if e.Has(fsnotify.Write) {
				break
			}
		}
		events = append(events, time.Since(wrote))
		for e := range w.Events() {
			if slices.Contains(e.Paths, p) {
				break
			}
		}
		settled = append(settled, time.Since(closed))
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		b.Fatal(err)
	}
	slices.Sort(settled)
	slices.Sort(events)
	median, event := settled[len(settled)/2], events[len(events)/2]
	b.ReportMetric(float64(median.Microseconds()), "µs-median")
	b.ReportMetric(float64(settled[len(settled)*99/100].Microseconds()), "µs-p99")
	b.ReportMetric(float64(event.Nanoseconds())/1000, "µs-fsnotify")
	b.ReportMetric(float64(median)/float64(event), "x-fsnotify")
}

// BenchmarkStart measures how long it takes until 10,000 directories are watched, and what they occupy.
func BenchmarkStart(b *testing.B) {
	const dirs = 10_000
	root := b.TempDir()
	for i := range dirs {
		d := filepath.Join(root, fmt.Sprint(i%10), fmt.Sprint(i%1000), fmt.Sprint(i))
		if err := os.MkdirAll(d, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "f"), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	var used int64
	for b.Loop() {
		before := heap()
		w, err := New(Options{Root: root})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		if e := <-w.Events(); e.Kind != Rescan {
			b.Fatalf("%+v", e)
		}
		used = heap() - before
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(used)/dirs, "B/dir")
}

// BenchmarkMachine measures the decision alone, for many files at once.
func BenchmarkMachine(b *testing.B) {
	const files = 10_000
	paths := make([]string, files)
	for i := range paths {
		paths[i] = fmt.Sprintf("d%d/f%d", i%100, i)
	}
	for b.Loop() {
		m := newMachine(workTreeTiming)
		now := epoch
		for _, p := range paths {
			m.touch(p, changed, now)
			m.touch(p, changed, now)
		}
		now = now.Add(m.edge)
		for due := m.due(now, maxLooks); len(due) > 0; due = m.due(now, maxLooks) {
			for _, p := range due {
				m.answer(p, complete, fingerprint{size: 1}, now)
			}
		}
		if settled, _, _ := m.take(); len(settled) != files {
			b.Fatal(len(settled))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/files, "ns/file")
}
