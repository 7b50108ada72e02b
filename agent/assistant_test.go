package agent_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/git-arbor/arbor/agent"
)

// daemonLog is what the assistant says.
const daemonLog = ".git/annex/daemon.log"

// TestAssistant runs git-annex's own agent in a clone, beside Arbor's in others. Each reaches the other by a path. Whatever else runs git in its clone, and
// so also what Arbor puts there, can make the assistant lose what it was about to commit: that, and nothing that is Arbor's to do, is saved again.
func TestAssistant(t *testing.T) {
	t.Parallel()
	eachAnnex(t, testAssistant)
}

func testAssistant(t *testing.T, n *network) {
	ms := n.grove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	want := map[string]string{"first.bin": noise(200_000), "first.txt": "1\n"}
	a.saveAll(want)
	only(t, want, a, b)
	stock := a.stock(a.dir)
	stock.try(syncContent...)
	for _, m := range ms { // an older assistant may take an unlocked file that gets its content for deleted
		m.git("config", "annex.addunlocked", "false")
	}
	stop := stock.assistant()
	a.git("remote", "add", "stock", stock.dir) // now, for an assistant that finds git at work when it starts waits for a minute

	all := []*machine{a, b, stock}
	saves := make(map[string]string) // by the stock clone
	again := 0
	redo := func() {
		if said, err := os.ReadFile(stock.path(daemonLog)); err == nil && bytes.Contains(said, []byte("crashed:")) {
			stop() // a part of it has ended, for the index was locked
			stop = stock.assistant()
		}
		again++
		want["again.txt"] = fmt.Sprintln(again)
		a.save("again.txt", want["again.txt"])
		stock.saveAll(saves)
	}
	everywhere := func(files map[string]string) { // those without content are gone
		t.Helper()
		maps.Copy(want, files)
		for name, content := range files {
			for _, m := range all {
				stock.insists(fmt.Sprintf("%s of %s", name, m.name), func() error {
					if got, err := os.ReadFile(m.path(name)); string(got) != content {
						return fmt.Errorf("it holds %.40q (%w)", got, err)
					}
					return nil
				}, func() error { return missed(stock, a) }, redo)
			}
		}
	}
	made := make(map[string]string)
	for i, m := range all {
		saves = map[string]string{m.name + "/large.bin": noise(150_000 + i), m.name + "/text.txt": m.name + "\n"}
		m.saveAll(saves)
		maps.Copy(made, saves)
	}
	everywhere(made)

	edited := map[string]string{"laptop/text.txt": "edited on the desktop\n"}
	b.saveAll(edited)
	saves = map[string]string{"desktop/text.txt": "edited in the stock clone\n", "stock/large.bin": noise(160_000)}
	stock.saveAll(saves)
	if err := errors.Join(os.Remove(b.path("stock/text.txt")), os.Remove(stock.path("first.txt"))); err != nil {
		t.Fatal(err)
	}
	maps.Copy(edited, saves)
	edited["stock/text.txt"] = ""
	everywhere(edited)
	exchanged(t, stock, a, b)
	stop()
	alike(t, stock, a, b) // which takes in what the assistant has missed
	delete(want, "stock/text.txt")
	delete(want, "first.txt")
	for _, m := range all {
		if err := sameFiles(m.files(), want); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		m.gitSound()
	}
	soundTwice(t, all...)
}

// insists waits as a person does who has an assistant: when that has missed something, they do it again.
func (m *machine) insists(what string, check, missed func() error, again func()) {
	m.t.Helper()
	next := time.Now().Add(patience / 6)
	m.eventually("wait for "+what, func() error {
		err := check()
		if err == nil || time.Now().Before(next) {
			return err
		}
		if miss := missed(); miss != nil {
			m.t.Logf("%s: %v: the assistant %v", what, err, miss)
			again()
		}
		next = time.Now().Add(patience / 6)
		return err
	})
}

// missed says what the assistant has not done. While it is nil, the rest is Arbor's to do.
func missed(stock, origin *machine) error {
	head, err := stock.tryGit("rev-parse", "HEAD")
	if err != nil {
		return err
	}
	if out, err := stock.tryGit("--no-optional-locks", "status", "--porcelain"); out != "" || err != nil {
		return fmt.Errorf("has not committed %q (%w)", out, err)
	}
	if _, err := stock.tryGit("merge-base", "--is-ancestor", "refs/heads/synced/main", head); err != nil {
		return fmt.Errorf("has not merged what was pushed: %w", err)
	}
	if _, err := origin.tryGit("cat-file", "-e", head); err != nil {
		return fmt.Errorf("has not pushed: %w", err)
	}
	return nil
}

// exchanged waits until the machines have all that the assistant has pushed, and its clone was pushed all that they have.
func exchanged(t *testing.T, stock *machine, machines ...*machine) {
	t.Helper()
	settled(t, machines...)
	for _, m := range machines {
		m.eventually("have what the assistant has pushed", func() error {
			for _, branch := range []string{"main", "git-annex"} {
				out, err := m.tryGit("for-each-ref", "--no-merged="+branch, "refs/heads/synced/"+branch, "refs/synced/*/"+branch)
				if out != "" || err != nil {
					return fmt.Errorf("%s lacks %s (%w)", branch, out, err)
				}
			}
			return nil
		})
		stock.eventually("be pushed what "+m.name+" has", func() error {
			for _, branch := range []string{"main", "git-annex"} {
				out, err := stock.tryGit("for-each-ref", "--contains="+m.git("rev-parse", branch), "refs/heads/"+branch, "refs/heads/synced/"+branch)
				if out == "" || err != nil {
					return fmt.Errorf("its %s lacks what %s has (%w)", branch, m.name, err)
				}
			}
			return nil
		})
	}
}

// assistant starts git annex assistant in the clone, and waits until it watches the files: what is saved before that, it may take in never. It
// ends with the test, if not before.
func (m *machine) assistant() (stop func()) {
	m.t.Helper()
	cmd := exec.Command("git", "annex", "assistant", "--foreground", "--startdelay=0")
	cmd.Dir, cmd.Env, cmd.SysProcAttr = m.dir, m.environ(), &syscall.SysProcAttr{Setpgid: true}
	journal := m.path(daemonLog)
	if err := os.Remove(journal); err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.t.Fatal(err)
	}
	outlived := m.startOf(cmd)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	m.t.Cleanup(func() {
		end := exec.Command("git", "annex", "assistant", "--stop") // it has a process group of its own
		end.Dir, end.Env = m.dir, m.environ()
		_ = end.Run()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // and what it has started
		<-ended
		outlived()
		said, _ := os.ReadFile(journal)
		m.t.Logf("%s: %s", m.name, said)
	})
	m.eventually("watch the files", func() error {
		said, err := os.ReadFile(journal)
		if err == nil && !strings.Contains(string(said), "(started...)") {
			err = fmt.Errorf("it says %s", said)
		}
		return err
	})
	return func() {
		m.t.Helper()
		m.git("annex", "assistant", "--stop")
		<-ended
	}
}
