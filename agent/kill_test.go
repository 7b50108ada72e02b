package agent_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/agent"
)

// TestEditsSurviveKills has two people edit the same file at the same time, over and over, while either agent is killed
// at any moment. Every edit must be in history, and all must end with the same.
func TestEditsSurviveKills(t *testing.T) {
	t.Parallel()
	const rounds = 200
	n := newNetwork(t)
	a, b := n.machine(t, "laptop"), n.machine(t, "desktop")
	a.init(agent.InitOptions{})
	a.spawn()
	a.online(0)
	b.join(a, agent.JoinOptions{})
	b.spawn()
	a.online(1)
	rng := rand.New(rand.NewPCG(1, 2))
	var edits []string
	for round := range rounds {
		victim := []*machine{a, b}[rng.IntN(2)]
		strike := time.NewTimer(time.Duration(rng.Int64N(int64(60 * time.Millisecond))))
		var people sync.WaitGroup
		for _, m := range []*machine{a, b} {
			edit := fmt.Sprintf("round %d on the %s\n", round, m.name)
			edits = append(edits, edit)
			people.Go(func() { m.save("shared.txt", edit) })
		}
		people.Wait()
		<-strike.C // the moment of the kill is what the test varies
		victim.kill()
		victim.spawn()
		a.eventually(fmt.Sprintf("round %d: have the same", round), func() error { return sameHead(a, b, edits[len(edits)-2:]) })
	}
	settled(t, a, b)
	history := blobs(t, a)
	for _, edit := range edits {
		if !history[edit] {
			t.Errorf("lost: %q", edit)
		}
	}
	for _, m := range []*machine{a, b} {
		for _, note := range annexFsck(t, m, true) {
			t.Logf("%s: first git annex fsck: %s", m.name, note)
		}
		for _, note := range annexFsck(t, m, false) {
			t.Errorf("%s: second git annex fsck: %s", m.name, note)
		}
	}
}

// TestKilledBeforeTheBranchMoves kills an agent whose commit a peer has already, before the branch is there too. What the person does then is
// done to that commit: there is no conflict of the person with themselves.
func TestKilledBeforeTheBranchMoves(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.machine(t, "laptop"), n.machine(t, "desktop")
	a.init(agent.InitOptions{})
	a.spawn()
	a.online(0)
	b.join(a, agent.JoinOptions{})
	b.start()
	large, larger := noise(150_000), noise(150_001)
	all := make(map[string]string)
	for _, c := range []struct {
		name    string
		content string // of the file, which held "0" before
		act     func(file string)
		want    string // "" when it is gone
		moved   string // likewise
	}{
		{name: "left alone", content: "1", act: func(string) {}, want: "1"},
		{name: "edited", content: "1", act: func(file string) { a.save(file, "2") }, want: "2"},
		{name: "edited, annexed", content: large, act: func(file string) { a.save(file, larger) }, want: larger},
		{name: "moved", content: "1", act: func(file string) { a.rename(file, file+" away") }, moved: "1"},
		{name: "moved, annexed", content: large, act: func(file string) { a.rename(file, file+" away") }, moved: large},
		{name: "deleted", content: "1", act: func(file string) { a.remove(file) }},
		{name: "taken back", content: "1", act: func(file string) { a.git("checkout", "-q", "HEAD", file) }, want: "0"},
		{name: "committed", content: "1", act: func(file string) { a.git("commit", "-q", "-m", "by hand", file) }, want: "1"},
		{name: "edited and committed", content: large, act: func(file string) { a.save(file, "2"); a.git("commit", "-q", "-a", "-m", "by hand") }, want: "2"},
		{name: "reset", content: "1", act: func(string) { a.git("reset", "-q", "--hard", "HEAD^") }, want: "1"}, // peers have it
	} {
		all[c.name] = "0"
		a.save(c.name, "0")
		a.online(1)
		only(t, all, a, b)
		old := a.git("rev-parse", "HEAD")
		kill := a.killMoving()
		a.save(c.name, c.content)
		b.eventually("have the commit", func() error {
			if head := b.git("rev-parse", "HEAD"); head == old {
				return fmt.Errorf("it is at %.8s", head)
			}
			return nil
		})
		kill()
		if head := a.git("rev-parse", "HEAD"); head != old {
			t.Fatalf("%s: the branch has moved from %.8s to %.8s", c.name, old, head)
		}
		a.remove(".git/index.lock") // as git advises; the agent would know it for its own
		c.act(c.name)
		a.spawn()
		delete(all, c.name)
		for name, content := range map[string]string{c.name: c.want, c.name + " away": c.moved} {
			if content != "" {
				all[name] = content
			}
		}
		t.Logf("the file was %s", c.name)
		only(t, all, a, b)
	}
}

// TestKilledWhileFilesAreWritten leaves a clone with some of the files of a commit that its agent was checking out when it was killed. They are
// not the person's: what others have done with them meanwhile stands.
func TestKilledWhileFilesAreWritten(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	want := map[string]string{"moved": "0", "edited": "0", "deleted": "0", "other": "0"}
	a.saveAll(want)
	only(t, want, a, b)
	b.stop()
	branch, old := a.git("symbolic-ref", "HEAD"), a.git("rev-parse", "HEAD")
	for name := range want {
		a.save(name, "1")
	}
	a.clean()
	next := a.git("rev-parse", "HEAD")
	b.git("fetch", "-q", a.dir, next)
	b.git("update-ref", "-d", "FETCH_HEAD")
	for _, name := range []string{"moved", "edited", "deleted"} { // not the other
		b.save(name, "1")
	}
	b.save(".git/arbor/intent", fmt.Sprintf("false %s %s %s\n", old, next, branch))
	a.rename("moved", "moved away")
	a.save("edited", "2")
	a.remove("deleted")
	a.clean()
	b.start()
	only(t, map[string]string{"moved away": "1", "edited": "2", "other": "1"}, a, b)
}

// killMoving has the branch of the clone not move until kill is called, which kills the agent while it waits for that.
func (m *machine) killMoving() (kill func()) {
	m.t.Helper()
	branch, gate, hook := m.git("symbolic-ref", "HEAD"), filepath.Join(m.home, "gate"), filepath.Join(m.dir, ".git/hooks/reference-transaction")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		m.t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\ntest $1 != prepared || ! grep -q ' %s$' || cat %s\n", branch, gate)
	if err := os.WriteFile(hook, []byte(script), 0o755); err != nil {
		m.t.Fatal(err)
	}
	return func() {
		m.t.Helper()
		var f *os.File
		m.eventually("be about to move "+branch, func() (err error) {
			f, err = os.OpenFile(gate, os.O_WRONLY|unix.O_NONBLOCK, 0)
			return err
		})
		m.kill()
		if err := errors.Join(f.Close(), os.Remove(hook), os.Remove(gate)); err != nil {
			m.t.Fatal(err)
		}
		m.eventually("let "+branch+" go", func() error {
			if _, err := os.Lstat(filepath.Join(m.dir, ".git", branch+".lock")); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("it is locked (%w)", err)
			}
			return nil
		})
	}
}

// sameHead checks that both clones are at the same commit, which has these edits in its history.
func sameHead(a, b *machine, edits []string) error {
	x, err := a.clone()
	if err != nil {
		return err
	}
	y, err := b.clone()
	if err != nil {
		return err
	}
	if x.Head != y.Head || x.State != y.State || x.State != "in-step" {
		return fmt.Errorf("%s is %s (%s) at %.8s, %s is %s (%s) at %.8s", a.name, x.State, x.Detail, x.Head, b.name, y.State, y.Detail, y.Head)
	}
	recent := blobs(a.t, a, "HEAD", "--not", "HEAD~8^@")
	for _, edit := range edits {
		if !recent[edit] {
			return fmt.Errorf("%q is not in recent history", edit)
		}
	}
	return nil
}

// blobs returns the contents of all blobs in the history of HEAD, or in the revisions named.
func blobs(t testing.TB, m *machine, revs ...string) map[string]bool {
	t.Helper()
	if len(revs) == 0 || exec.Command("git", append([]string{"-C", m.dir, "rev-parse", "-q", "--verify"}, "HEAD~8")...).Run() != nil {
		revs = []string{"HEAD"}
	}
	list := exec.CommandContext(t.Context(), "git", append([]string{"-C", m.dir, "rev-list", "--objects", "--no-object-names"}, revs...)...)
	names, err := list.Output()
	if err != nil {
		t.Fatalf("rev-list: %v", err)
	}
	cat := exec.CommandContext(t.Context(), "git", "-C", m.dir, "cat-file", "--batch")
	cat.Stdin = bytes.NewReader(names)
	out, err := cat.Output()
	if err != nil {
		t.Fatalf("cat-file: %v", err)
	}
	found := make(map[string]bool)
	r := bufio.NewReader(bytes.NewReader(out))
	for {
		var name, kind string
		var size int
		if _, err := fmt.Fscanf(r, "%s %s %d\n", &name, &kind, &size); err != nil {
			return found
		}
		content := make([]byte, size+1)
		for n := 0; n < len(content); {
			k, err := r.Read(content[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += k
		}
		if kind == "blob" {
			found[string(content[:size])] = true
		}
	}
}

// annexFsck runs git annex fsck, on what scope says if not on all, and returns what it has to say beyond success.
func annexFsck(t testing.TB, m *machine, mayRepair bool, scope ...string) (notes []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"annex", "fsck", "--json", "--json-error-messages"}, scope...)...)
	cmd.Dir, cmd.Env = m.dir, m.environ()
	out, err := cmd.Output()
	if err != nil && !mayRepair {
		notes = append(notes, err.Error())
	}
	for line := range bytes.Lines(out) {
		var row struct {
			File    string
			Note    string
			Success bool
			Errors  []string `json:"error-messages"`
		}
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatalf("git annex fsck says %q: %v", line, err)
		}
		if strings.Trim(strings.ReplaceAll(row.Note, "checksum...", ""), "\n") != "" || !row.Success {
			notes = append(notes, string(line))
		}
	}
	return notes
}
