//go:build long

package agent_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/sync/annex/annextest"
)

// TestAssistant runs git-annex's own agent in a clone, beside Arbor's in others. Each reaches the other by a path.
func TestAssistant(t *testing.T) { annextest.Each(t, testAssistant) }

func testAssistant(t *testing.T) {
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	want := map[string]string{"first.bin": noise(200_000), "first.txt": "1\n"}
	a.saveAll(want)
	only(t, want, a, b)
	stock := a.stock(a.dir)
	for _, m := range ms { // git-annex does not always fill an unlocked file whose content is put there before it has merged
		m.git("config", "annex.addunlocked", "false")
	}
	a.git("remote", "add", "stock", stock.dir)
	if err := os.Mkdir(stock.path("stock"), 0o755); err != nil { // it misses files that are saved just after their folder
		t.Fatal(err)
	}
	stop := stock.assistant()
	stock.has("first.bin", want["first.bin"])

	all := append(ms, stock)
	everywhere := func(files map[string]string) {
		t.Helper()
		for name, content := range files {
			for _, m := range all {
				m.has(name, content)
			}
		}
	}
	made := make(map[string]string)
	for i, m := range all {
		for name, content := range map[string]string{m.name + "/large.bin": noise(150_000 + i), m.name + "/text.txt": m.name + "\n"} {
			m.save(name, content)
			made[name] = content
		}
	}
	everywhere(made)
	edited := map[string]string{"laptop/text.txt": "edited on the desktop\n", "desktop/text.txt": "edited in the stock clone\n", "stock/large.bin": noise(160_000)}
	b.save("laptop/text.txt", edited["laptop/text.txt"])
	stock.save("desktop/text.txt", edited["desktop/text.txt"])
	stock.save("stock/large.bin", edited["stock/large.bin"])
	if err := errors.Join(os.Remove(b.path("stock/text.txt")), os.Remove(stock.path("first.txt"))); err != nil {
		t.Fatal(err)
	}
	everywhere(edited)
	for _, m := range all {
		m.lacks("stock/text.txt")
		m.lacks("first.txt")
	}
	stop()
	alike(t, stock, a, b)
	soundTwice(t, all...)
}

// assistant starts git annex assistant in the clone, and waits until it watches the files: what is saved before that, it may take in never. It
// ends with the test, if not before.
func (m *machine) assistant() (stop func()) {
	m.t.Helper()
	cmd := exec.Command("git", "annex", "assistant", "--foreground", "--startdelay=0")
	cmd.Dir, cmd.Env, cmd.SysProcAttr = m.dir, m.environ(), &syscall.SysProcAttr{Setpgid: true}
	journal := m.path(".git/annex/daemon.log")
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	m.t.Cleanup(func() {
		end := exec.Command("git", "annex", "assistant", "--stop") // it has a process group of its own
		end.Dir, end.Env = m.dir, m.environ()
		_ = end.Run()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // and what it has started
		<-ended
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
