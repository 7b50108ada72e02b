package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// poll calls done every millisecond until it is true.
func poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// listTree names the files of a work tree, without what is git's.
func listTree(root string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != root:
			return nil // gone since its folder was read
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return fs.SkipDir
		case entry.IsDir():
			return nil
		}
		name, err := filepath.Rel(root, path)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	return names, err
}

// readTree reads every file of a work tree.
func readTree(root string) (map[string][]byte, error) {
	names, err := listTree(root)
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files[name] = data
	}
	return files, nil
}

// difference says what of the machine's files is not as expected; it is empty when all is.
func (d *demo) difference(m *machine) string {
	have, err := readTree(m.clone)
	if err != nil {
		return "\n  " + err.Error()
	}
	var lines []string
	for name, want := range d.files {
		if got, ok := have[name]; !ok {
			lines = append(lines, fmt.Sprintf("\n  %q is missing", name))
		} else if !bytes.Equal(got, want) {
			lines = append(lines, fmt.Sprintf("\n  %q has other bytes (%d, not %d)", name, len(got), len(want)))
		}
	}
	for name := range have {
		if _, expected := d.files[name]; !expected {
			lines = append(lines, fmt.Sprintf("\n  %q should not be there", name))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// result is one line of the demo.
type result struct {
	Step string
	// took is how long after the close of the file each machine had the same bytes; total is the longest of them.
	took  map[string]time.Duration
	total time.Duration
}

func (r *result) add(machine string, took time.Duration) {
	if r.took == nil {
		r.took = make(map[string]time.Duration)
	}
	r.took[machine] = took
	r.total = max(r.total, took)
}

// MarshalJSON gives milliseconds.
func (r result) MarshalJSON() ([]byte, error) {
	machines := make(map[string]float64)
	for name, took := range r.took {
		machines[name] = milliseconds(took)
	}
	return json.Marshal(struct {
		Schema   int                `json:"schema"`
		Step     string             `json:"step"`
		MS       float64            `json:"ms"`
		Machines map[string]float64 `json:"machines"`
		OK       bool               `json:"ok"`
	}{1, r.Step, milliseconds(r.total), machines, true})
}

// failure is the last JSON object of a demo that went wrong.
type failure struct {
	Schema int    `json:"schema"`
	OK     bool   `json:"ok"`
	Error  string `json:"error"`
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}

func (d *demo) print(r result) error {
	if d.opts.json {
		return writeJSON(d.app.stdout, r)
	}
	var each []string
	for _, m := range d.machines {
		if took, ok := r.took[m.name]; ok {
			each = append(each, fmt.Sprintf("%s %.1f", m.name, milliseconds(took)))
		}
	}
	line := fmt.Sprintf("%9.1f ms  %s", milliseconds(r.total), r.Step)
	if len(each) > 1 {
		line += "  (" + strings.Join(each, ", ") + ")"
	}
	_, err := fmt.Fprintln(d.app.stdout, line)
	return err
}
