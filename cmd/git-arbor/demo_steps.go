package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/git-arbor/arbor/agent/status"
)

// demoStep is one line of the demo.
type demoStep struct {
	name string
	// do makes the change and brings demo.files up to date.
	do func(context.Context) (change, error)
	// arrived tells whether a machine has the change. Nil means: of the files changed it has what demo.files says.
	arrived func(*machine) (bool, error)
}

// change is what a step did.
type change struct {
	closed time.Time  // when the last file was closed
	others []*machine // that are to get it
	files  []string   // written or removed
}

// bigFile is the size of the demo's large file, in bytes.
const bigFile = 20_000_000

// steps lists what the demo does.
func (d *demo) steps() []demoStep {
	laptop, desktop, nas := d.machines[0], d.machines[1], d.machines[2]
	note := "# Shopping\n\n" + strings.Repeat("- one thing\n", 20) + "\nthe end\n"
	top := strings.Replace(note, "Shopping", "Shopping for Saturday", 1)
	bottom := strings.Replace(note, "the end", "that is all", 1)
	both := strings.Replace(top, "the end", "that is all", 1)
	mine := strings.Replace(both, "Saturday", "Sunday", 1)
	theirs := strings.Replace(both, "Saturday", "Monday", 1)
	big := make([]byte, bigFile)
	_, _ = rand.Read(big) // never fails

	return []demoStep{
		{name: "save a note on the laptop", do: func(context.Context) (change, error) {
			closed, err := d.save(laptop, "notes.md", []byte(note))
			return change{closed, []*machine{desktop, nas}, []string{"notes.md"}}, err
		}},
		{name: "save a 20 MB file on the desktop", do: func(context.Context) (change, error) {
			closed, err := d.save(desktop, "film.bin", big)
			return change{closed, []*machine{laptop, nas}, []string{"film.bin"}}, err
		}},
		{name: "edit two places of one file on two machines at once", do: func(context.Context) (change, error) {
			closed, err := saveAtOnce("notes.md", map[*machine]string{laptop: top, desktop: bottom})
			d.files["notes.md"] = []byte(both)
			return change{closed, d.machines, []string{"notes.md"}}, err
		}},
		{name: "edit the same line on two machines at once: both are kept", do: func(context.Context) (change, error) {
			closed, err := saveAtOnce("notes.md", map[*machine]string{laptop: mine, desktop: theirs})
			delete(d.files, "notes.md")
			return change{closed, d.machines, nil}, err
		}, arrived: func(m *machine) (bool, error) {
			return d.keptAll(m, mine, theirs)
		}},
		{name: "rename the 20 MB file into a new folder on the laptop", do: func(context.Context) (change, error) {
			err := os.Mkdir(filepath.Join(laptop.clone, "films"), 0o755)
			if err == nil {
				err = os.Rename(filepath.Join(laptop.clone, "film.bin"), filepath.Join(laptop.clone, "films", "one.bin"))
			}
			closed := time.Now()
			delete(d.files, "film.bin")
			d.files["films/one.bin"] = big
			return change{closed, []*machine{desktop, nas}, []string{"film.bin", "films/one.bin"}}, err
		}},
		{name: "delete it on the nas", do: func(context.Context) (change, error) {
			err := os.RemoveAll(filepath.Join(nas.clone, "films"))
			closed := time.Now()
			delete(d.files, "films/one.bin")
			return change{closed, []*machine{laptop, desktop}, []string{"films/one.bin"}}, err
		}},
		{name: "save a file on the laptop while the nas is off", do: func(context.Context) (change, error) {
			if err := nas.stop(); err != nil {
				return change{}, err
			}
			closed, err := d.save(laptop, "todo.txt", []byte("wake the nas\n"))
			return change{closed, []*machine{desktop}, []string{"todo.txt"}}, err
		}},
		{name: "switch the nas on, where another file was saved meanwhile", do: func(ctx context.Context) (change, error) {
			_, err := d.save(nas, "from-nas.txt", []byte("written while off\n"))
			started := time.Now()
			if err == nil {
				err = nas.start(ctx)
			}
			return change{started, d.machines, []string{"todo.txt", "from-nas.txt"}}, err
		}},
	}
}

// save writes a file on one machine, and expects it on all.
func (d *demo) save(m *machine, name string, content []byte) (closed time.Time, err error) {
	d.files[name] = content
	err = os.WriteFile(filepath.Join(m.clone, name), content, 0o644)
	return time.Now(), err
}

// saveAtOnce writes the file on several machines at the same time.
func saveAtOnce(name string, contents map[*machine]string) (closed time.Time, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	ready := make(chan struct{})
	for m, content := range contents {
		wg.Go(func() {
			<-ready
			saveErr := os.WriteFile(filepath.Join(m.clone, name), []byte(content), 0o644)
			mu.Lock()
			defer mu.Unlock()
			closed, err = time.Now(), errors.Join(err, saveErr)
		})
	}
	close(ready)
	wg.Wait()
	return closed, err
}

// keptAll tells whether the files of the machine that demo.files does not know are the versions, under whatever names.
func (d *demo) keptAll(m *machine, versions ...string) (bool, error) {
	names, err := listTree(m.clone)
	if err != nil {
		return false, err
	}
	missing := slices.Clone(versions)
	for _, name := range names {
		if _, known := d.files[name]; known {
			continue
		}
		content, err := os.ReadFile(filepath.Join(m.clone, name))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		i := slices.Index(missing, string(content))
		if i < 0 {
			return false, nil
		}
		missing = slices.Delete(missing, i, i+1)
	}
	return len(missing) == 0, nil
}

// hasFiles tells whether the machine has of the named files what demo.files says.
func (d *demo) hasFiles(m *machine, names []string) (bool, error) {
	for _, name := range names {
		path := filepath.Join(m.clone, name)
		want, expected := d.files[name]
		info, err := os.Stat(path)
		if !expected && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if !expected || err != nil || info.Size() != int64(len(want)) {
			return false, nil
		}
		// A file that vanished since is one that has not arrived.
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			return false, nil
		}
	}
	return true, nil
}

// run does one step, waits until it arrived on every machine concerned, checks every byte and prints the line.
func (d *demo) run(ctx context.Context, step demoStep) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not there after %v", patience))
	defer cancel()
	did, err := step.do(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", step.name, err)
	}
	arrived := step.arrived
	if arrived == nil {
		arrived = func(m *machine) (bool, error) { return d.hasFiles(m, did.files) }
	}
	r := result{Step: step.name}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, m := range did.others {
		wg.Go(func() {
			waitErr := poll(ctx, func() (bool, error) { return arrived(m) })
			took := time.Since(did.closed)
			mu.Lock()
			defer mu.Unlock()
			if waitErr != nil {
				err = errors.Join(err, fmt.Errorf("%s: on %s: %w%s", step.name, m.name, waitErr, d.difference(m)))
				return
			}
			r.add(m.name, took)
		})
	}
	wg.Wait()
	if err != nil {
		return err
	}
	if step.arrived != nil {
		// The names that were given on one machine are those that all must have.
		if d.files, err = readTree(did.others[0].clone); err != nil {
			return err
		}
	}
	for _, m := range did.others {
		if diff := d.difference(m); diff != "" {
			return fmt.Errorf("%s: the files on %s are not those expected%s", step.name, m.name, diff)
		}
	}
	return d.print(r)
}

// allInStep waits until every agent says that it and all the others have the same.
func (d *demo) allInStep(ctx context.Context) error {
	for _, m := range d.machines {
		err := m.await(ctx, "in step with the others", func(s status.Snapshot) bool {
			return len(s.Clones) == 1 && s.Clones[0].State == status.StateInStep && inStep(s.Clones[0].Peers) == len(d.machines)-1
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func inStep(peers []status.Peer) int {
	n := 0
	for _, p := range peers {
		if p.Online && p.InStep {
			n++
		}
	}
	return n
}

// audit lets git judge the clones: the same commit, nothing left over, nothing broken.
func (d *demo) audit(ctx context.Context) error {
	started := time.Now()
	if err := d.allInStep(ctx); err != nil {
		return err
	}
	var first string
	for _, m := range d.machines {
		head, err := m.git(ctx, "rev-parse", "HEAD")
		if err != nil {
			return err
		}
		if first == "" {
			first = head
		}
		if head != first {
			return fmt.Errorf("%s is at commit %s, %s at %s", d.machines[0].name, first, m.name, head)
		}
		left, err := m.git(ctx, "status", "--porcelain")
		if err != nil {
			return err
		}
		if left != "" {
			return fmt.Errorf("git status on %s:\n%s", m.name, left)
		}
		if _, err := m.git(ctx, "fsck", "--strict"); err != nil {
			return err
		}
		if diff := d.difference(m); diff != "" {
			return fmt.Errorf("the files on %s are not those expected%s", m.name, diff)
		}
	}
	return d.print(result{Step: "all in step: the same commit, git status empty, git fsck clean", total: time.Since(started)})
}
