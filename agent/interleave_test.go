package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/sync/annex/annextest"
)

// stepsVariable and seedVariable have TestInterleaving take other steps, or more of them: make long.
const (
	stepsVariable = "ARBOR_TEST_STEPS"
	seedVariable  = "ARBOR_TEST_SEED"
)

// interleaving is people at work on four clones, in an order that the seed gives. Steps do not wait for what earlier ones have caused.
type interleaving struct {
	t    *testing.T
	rng  *rand.Rand
	all  []*machine
	desk []*machine // those with a work tree
	thin *machine
	bare *machine

	files   map[string]*owned   // by name: what is to be there in the end, for nobody but the owner changes it
	fought  map[string]string   // contents that two people gave to the same file, and the name of that
	written map[string]bool     // SHA-256 of all contents that people have saved
	without map[string]*machine // by content: who of laptop and nas, which want all, has been told to do without
	made    int                 // names that were given
	began   time.Time
	done    map[string]int // how often each kind of step was taken
}

// owned is a file as its owner left it.
type owned struct {
	by      *machine
	content string
}

// TestInterleaving has people save, move and delete, git-annex add, lock, drop and get, and agents end, all without waiting for each other.
// In the end all clones are the same, nothing is lost, and git-annex finds nothing to remark.
//
// A file belongs to one person, so that it is known what it must be in the end. Some are written by two, and both contents must survive.
// There are never to be less than two copies, so that fsck has no reason to remark on it, which is why numcopies varies above that alone,
// and why the laptop and the nas want all. git annex unused lists versions that nothing names any more, which git-annex and the agent
// keep alike, and nothing else; when they are dropped, it is empty. Two of the machines have another git-annex than the others.
func TestInterleaving(t *testing.T) {
	t.Parallel()
	number := func(variable string, otherwise uint64) uint64 {
		text := os.Getenv(variable)
		if text == "" {
			return otherwise
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", variable, err)
		}
		return n
	}
	steps, seed := number(stepsVariable, 500), number(seedVariable, 1)
	w := newInterleaving(t, seed)
	t.Logf("%d steps of seed %d", steps, seed)
	w.began = time.Now()
	for i := range steps {
		w.step(int(i))
	}
	t.Logf("steps taken in %v: %v", time.Since(w.began), w.done)
	w.rest()
	w.settle()
	for _, which := range []string{"first", "second"} {
		for _, m := range w.all {
			for _, note := range annexFsck(t, m, false, w.scope(m)...) {
				t.Errorf("%s: %s git annex fsck: %s", m.name, which, note)
			}
		}
		w.settle()
	}
	w.checkFiles()
	w.checkFought()
	w.checkCopies()
	w.checkUnused()
	w.dropUnused()
	w.checkFiles()
}

func newInterleaving(t *testing.T, seed uint64) *interleaving {
	n := newNetwork(t)
	n.user = n.account(t, "anna")
	w := &interleaving{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // the same steps for the same seed
		files: make(map[string]*owned), fought: make(map[string]string), written: make(map[string]bool),
		without: make(map[string]*machine), done: make(map[string]int),
	}
	laptop, desktop, nas, tablet := n.machine(t, "laptop"), n.machine(t, "desktop"), n.machine(t, "nas"), n.machine(t, "tablet")
	w.all, w.desk, w.bare, w.thin = []*machine{laptop, desktop, nas, tablet}, []*machine{laptop, desktop, tablet}, nas, tablet
	for i, m := range w.all {
		if m == laptop {
			m.init(agent.InitOptions{})
			m.git("config", "annex.addunlocked", "true")
		} else {
			m.join(laptop, agent.JoinOptions{Bare: m == nas})
		}
		if m == desktop {
			m.git("config", "annex.addunlocked", "false")
		}
		if m == desktop || m == tablet {
			m.env = []string{"PATH=" + annextest.SidPath(t)}
		}
		if m == tablet {
			m.git("config", "annex.addunlocked", "true")
			m.git("config", "annex.thin", "true")
		}
		m.spawn()
		m.online(i)
	}
	for _, m := range w.all {
		m.online(len(w.all) - 1)
	}
	for _, m := range w.desk { // for git-annex's own commands
		for _, other := range w.all {
			if other != m {
				m.git("remote", "add", "at-"+other.name, other.dir)
			}
		}
	}
	nas.git("remote", "add", "at-laptop", laptop.dir)
	laptop.save("laptop/first", "1\n")
	w.files["laptop/first"] = &owned{laptop, "1\n"}
	laptop.try("annex", "numcopies", "2")
	for _, m := range w.all {
		m.eventually("know numcopies", func() error {
			if out, err := m.tryGit("annex", "numcopies"); err != nil || out != "2" {
				return fmt.Errorf("numcopies is %s (%w)", out, err)
			}
			return nil
		})
	}
	w.settle()
	return w
}

// rest brings all agents back and takes back what would keep them from being in step.
func (w *interleaving) rest() {
	w.t.Helper()
	for _, m := range w.all {
		if m.pid == 0 {
			m.spawn()
		}
		if err := m.client().Resume(w.t.Context(), control.PauseRequest{Clone: m.dir}); err != nil {
			w.t.Errorf("%s: resume: %v", m.name, err)
		}
		m.online(0)
	}
	w.settle() // git-annex writes nothing where it does not know of what is to be taken back
	laptop := w.all[0]
	laptop.try("annex", "numcopies", "2")
	for _, m := range w.all {
		laptop.try("annex", "semitrust", m.git("config", "annex.uuid"))
	}
	settings := func(m *machine) (all []string) {
		for _, log := range []string{"numcopies.log", "trust.log"} {
			said, _ := m.tryGit("show", "git-annex:"+log) // there may be none
			all = append(all, slices.Sorted(strings.Lines(said+"\n"))...)
		}
		return all
	}
	for _, m := range w.all {
		m.eventually("know the settings", func() error {
			if got, want := settings(m), settings(laptop); m != laptop && !slices.Equal(got, want) {
				return fmt.Errorf("its settings are %q, want %q", got, want)
			}
			return nil
		})
	}
}

// settle waits until all clones have the same commit, a clean work tree and the same locations, and say that they are in step.
func (w *interleaving) settle() {
	w.t.Helper()
	first := w.all[0]
	first.eventually("settle, with all others", func() error { // together: one that is behind may move the others once more
		head, err := first.tryGit("rev-parse", "--verify", "HEAD")
		if err != nil {
			return err
		}
		for _, m := range w.all {
			if err := w.settled(m, first, head); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
		}
		return nil
	})
	for _, m := range w.all {
		m.eventually("know what is where", func() error {
			want, err := w.whereis(first)
			if err != nil {
				return err
			}
			got, err := w.whereis(m)
			if err != nil || maps.Equal(got, want) {
				return err
			}
			return fmt.Errorf("git annex whereis: %s", differing(m, got, first, want))
		})
		m.gitSound("--strict")
	}
}

// settled is nil when a machine is at the same commit as the first one, and nothing is left to do there.
func (w *interleaving) settled(m, first *machine, head string) error {
	c, err := m.clone()
	if err != nil {
		return err
	}
	if own, err := m.tryGit("rev-parse", "--verify", "HEAD"); err != nil || own != head || c.Head != head || c.State != status.StateInStep || c.Keys.Surplus > 0 {
		return fmt.Errorf("it is at %.8s, %s at %.8s (%w); its status is %s (%s) at %.8s, %+v",
			own, first.name, head, err, c.State, c.Detail, c.Head, c.Keys)
	}
	for _, other := range w.all { // until then git annex unused takes what others had for used
		if at, err := m.tryGit("for-each-ref", "--format=%(objectname)", "refs/remotes/"+other.name+"/main"); err != nil || at != "" && at != head {
			return fmt.Errorf("it has %s at %.8s (%w)", other.name, at, err)
		}
	}
	if m != w.bare {
		if out, err := m.tryGit("status", "--porcelain"); err != nil || out != "" {
			return fmt.Errorf("git status says %q (%w)", out, err)
		}
	}
	return nil
}

func differing(a *machine, x map[string]string, b *machine, y map[string]string) string {
	for name, at := range x {
		if y[name] != at {
			return fmt.Sprintf("%s: %s says %q, %s says %q", name, a.name, at, b.name, y[name])
		}
	}
	return fmt.Sprintf("%s names %d, %s %d", a.name, len(x), b.name, len(y))
}

// scope are the options that make git-annex look at the files of HEAD; in a bare repository it looks at all that was ever there otherwise.
func (w *interleaving) scope(m *machine) []string {
	if m != w.bare {
		return nil
	}
	return []string{"--branch=" + m.git("symbolic-ref", "--short", "HEAD")}
}

// whereis gives, for each key, where git-annex says that it is.
func (w *interleaving) whereis(m *machine) (map[string]string, error) {
	out, err := m.tryGit(append([]string{"annex", "whereis", "--json"}, w.scope(m)...)...)
	found := make(map[string]string)
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "{") {
			continue // it counts what has no copy but untrusted ones
		}
		var row struct {
			Key                string
			Whereis, Untrusted []struct{ UUID string }
		}
		if failed := json.Unmarshal([]byte(line), &row); failed != nil {
			return nil, fmt.Errorf("git annex whereis says %q: %w (%w)", line, failed, err)
		}
		var at []string
		for _, r := range append(row.Whereis, row.Untrusted...) {
			at = append(at, r.UUID)
		}
		slices.Sort(at)
		found[row.Key] = strings.Join(at, " ")
	}
	return found, nil // its status tells of contents that are nowhere
}

// checkFiles compares the files of HEAD with what their owners left, wherever a content is.
func (w *interleaving) checkFiles() {
	w.t.Helper()
	for name := range strings.SplitSeq(w.all[0].git("ls-tree", "-r", "-z", "--name-only", "HEAD"), "\x00") {
		if name != "" && w.files[name] == nil && !strings.HasPrefix(name, "shared/") {
			w.t.Errorf("%q should not be there", name)
		}
	}
	for name, f := range w.files {
		have := 0
		for _, m := range w.desk {
			switch got, err := os.ReadFile(m.path(name)); {
			case err == nil && string(got) == f.content:
				have++
			case err == nil && !strings.HasPrefix(string(got), "/annex/objects/"):
				w.t.Errorf("%s: %q holds %d bytes %.40q, want %d bytes %.40q", m.name, name, len(got), got, len(f.content), f.content)
			}
		}
		if have == 0 {
			w.t.Errorf("lost: nobody has %d bytes %.40q of %q by %s", len(f.content), f.content, name, f.by.name)
		}
	}
}

// checkFought looks for all contents that two people gave to the same file, in history and in the annexes.
func (w *interleaving) checkFought() {
	w.t.Helper()
	kept := blobs(w.t, w.all[0], "HEAD")
	for _, m := range w.all {
		for _, objects := range []string{".git/annex/objects/*/*/*/*", "annex/objects/*/*/*/*"} {
			found, err := filepath.Glob(filepath.Join(m.dir, objects))
			if err != nil {
				w.t.Fatal(err)
			}
			for _, object := range found {
				if got, err := os.ReadFile(object); err == nil {
					kept[string(got)] = true
				}
			}
		}
	}
	for content, name := range w.fought {
		if !kept[content] {
			w.t.Errorf("lost: %d bytes %.60q of %q", len(content), content, name)
		}
	}
}

// checkCopies holds what whereis says against what is there, and counts copies.
func (w *interleaving) checkCopies() {
	w.t.Helper()
	said, err := w.whereis(w.all[0])
	if err != nil {
		w.t.Fatal(err)
	}
	for key, at := range said {
		var have []string
		for _, m := range w.all {
			if out, err := m.tryGit("annex", "contentlocation", key); err == nil && out != "" {
				have = append(have, m.git("config", "annex.uuid"))
			}
		}
		slices.Sort(have)
		if got := strings.Join(have, " "); got != at || len(have) < 2 {
			w.t.Errorf("%s is at %q, and whereis says %q", key, got, at)
		}
	}
}

// forgetPromises has contents be dropped that somebody may count on who was killed in the middle of a drop: for ten minutes they are kept for that.
func (w *interleaving) forgetPromises() {
	w.t.Helper()
	for _, m := range w.all {
		m.stop()
		for _, notes := range []string{".git/annex/objects/*/*/*/*.rtm", "annex/objects/*/*/*/*.rtm"} {
			found, err := filepath.Glob(filepath.Join(m.dir, notes))
			if err != nil {
				w.t.Fatal(err)
			}
			for _, note := range found {
				if err := errors.Join(os.Chmod(filepath.Dir(note), 0o700), os.Remove(note)); err != nil {
					w.t.Error(err)
				}
			}
		}
	}
	for _, m := range w.all {
		m.spawn()
	}
	for _, m := range w.all {
		m.online(len(w.all) - 1)
	}
}

// dropUnused drops what git annex unused lists. Nothing of it comes back.
func (w *interleaving) dropUnused() {
	w.t.Helper()
	w.forgetPromises()
	said := make(map[*machine]string)
	for _, m := range w.all {
		m.eventually("drop what is unused", func() error {
			said[m] = m.git("annex", "unused")
			out, err := m.tryGit("annex", "dropunused", "--force", "all")
			if said[m] += "\n" + out; err != nil {
				return errors.New(said[m])
			}
			return nil
		})
	}
	w.settle()
	for _, m := range w.all {
		m.eventually("have nothing that is unused", func() error {
			if out := m.git("annex", "unused"); unusedLine.MatchString(out) {
				return fmt.Errorf("%s\nbefore: %s", out, said[m])
			}
			return nil
		})
	}
}

// unusedLine matches what git annex unused lists: a number and a key.
var unusedLine = regexp.MustCompile(`(?m)^\s+[0-9]+\s+[A-Z0-9]+-`)

// checkUnused: all that git annex unused lists is what a person wrote, and has replaced or deleted, or moved to where it is named otherwise.
func (w *interleaving) checkUnused() {
	w.t.Helper()
	for _, m := range w.all {
		out := m.git("annex", "unused")
		for line := range strings.Lines(out) {
			number, key, _ := strings.Cut(strings.TrimSpace(line), " ")
			_, sum, _ := strings.Cut(key, "--")
			sum, _, _ = strings.Cut(sum, ".")
			if _, err := strconv.Atoi(number); err == nil && !w.written[sum] {
				w.t.Errorf("%s: git annex unused lists %s, which nobody wrote", m.name, key)
			}
		}
		if strings.Contains(out, "partially transferred") || strings.Contains(out, "corrupted") {
			w.t.Errorf("%s: git annex unused says %s", m.name, out)
		}
	}
}
