package agent_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/xmpp/xmpptest"
)

// session waits until the XMPP session is in this state.
func (m *machine) session(want status.Session) {
	m.t.Helper()
	m.eventually(fmt.Sprintf("be %s", want), func() error {
		s, err := m.client().Status(m.t.Context(), 0)
		if err == nil && s.Agent.XMPP != want {
			err = fmt.Errorf("it is %s: %v", s.Agent.XMPP, s.Warnings)
		}
		return err
	})
}

// account changes the configured account and has the agent take it.
func (m *machine) account(change func(*config.Account)) {
	m.t.Helper()
	conf, err := config.Load(m.paths.Config)
	if err != nil {
		m.t.Fatal(err)
	}
	change(&conf.Account)
	if err := config.SetAccount(m.paths.Config, conf.Account); err != nil {
		m.t.Fatal(err)
	}
	if m.stop == nil {
		return
	}
	if err := m.client().Reload(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
}

func TestAccountFaultsAreToldAndMended(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("not it\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, fault := range []struct {
		name string
		make func(*config.Account)
		text string
		hint string
	}{
		{"wrong password", func(a *config.Account) { a.PasswordFile = wrong }, "not-authorized", "git arbor account"},
		{"stranger's certificate", func(a *config.Account) { a.CAFile = "" }, "certificate", "ca_file"},
		{"nobody listens", func(a *config.Account) { a.Server = "127.0.0.1:1" }, "network", ""},
		{"unknown host", func(a *config.Account) { a.Server = "xmpp.invalid:5223" }, "network", ""}, // RFC 6761, section 6.4
		{"password file is gone", func(a *config.Account) { a.PasswordFile = wrong + ".none" }, "password", "password_file"},
	} {
		t.Run(fault.name, func(t *testing.T) {
			m := n.machine(t, "laptop")
			m.init(agent.InitOptions{Plain: true})
			var right config.Account
			m.account(func(a *config.Account) { right = *a; fault.make(a) })
			m.start()
			w := m.warned("xmpp")
			if !strings.Contains(w.Text, fault.text) || !strings.Contains(w.Hint, fault.hint) {
				t.Errorf("warning is %+v, want %q and the hint %q", w, fault.text, fault.hint)
			}
			m.save("file", "committed all the same")
			m.commits("1")
			m.account(func(a *config.Account) { *a = right })
			m.session(status.SessionOnline)
			s, err := m.client().Status(t.Context(), 0)
			if err != nil || len(s.Warnings) > 0 {
				t.Errorf("warnings are left: %v, %v", s.Warnings, err)
			}
		})
	}
}

func TestServerIsAway(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	ms := n.grove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.save("file", "1")
	b.has("file", "1")
	settled(t, a, b)
	n.stop()
	a.session(status.SessionOffline)
	b.session(status.SessionOffline)
	a.save("of the laptop", "x")
	b.save("of the desktop", "y")
	a.commits("2")
	b.commits("2")
	n.start(t)
	a.has("of the desktop", "y")
	b.has("of the laptop", "x")
	settled(t, a, b)
}

func TestOneAgentForAClone(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.machine(t, "laptop"), n.machine(t, "intruder")
	a.init(agent.InitOptions{Plain: true})
	a.start()
	a.save("file", "1")
	a.commits("1") // it has the clone
	err := agent.Run(t.Context(), agent.Options{Paths: a.paths, Log: a.log()})
	if err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("a second agent on the same state: %v", err)
	}
	if err := config.AddClone(b.paths.Config, config.Clone{Path: a.dir, Mode: "auto"}); err != nil {
		t.Fatal(err)
	}
	b.start()
	if w := b.warned("clone-unusable"); !strings.Contains(w.Text, "another agent") {
		t.Errorf("a second agent on the same clone: %+v", w)
	}
	a.save("file", "2")
	a.commits("2")
}

func TestOtherClonesGoOn(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := n.machine(t, "laptop")
	a.init(agent.InitOptions{Plain: true})
	nothing := filepath.Join(a.home, "nothing")
	if err := os.Mkdir(nothing, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := config.AddClone(a.paths.Config, config.Clone{Path: nothing, Mode: "auto"}); err != nil {
		t.Fatal(err)
	}
	a.start()
	w := a.warned("clone-unusable")
	if w.Clone != nothing || !strings.Contains(w.Text, "not a git repository") || w.Hint == "" {
		t.Errorf("warning is %+v", w)
	}
	a.save("file", "1")
	a.commits("1")
}

func TestFolderVanishesAndComesBack(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.save("file", "1")
	a.save("other", "1")
	b.has("file", "1")
	b.has("other", "1")
	settled(t, a, b)
	away := b.dir + ".away"
	if err := os.Rename(b.dir, away); err != nil {
		t.Fatal(err)
	}
	b.eventually("notice", func() error {
		c, err := b.clone()
		if err == nil && c.State != status.StateHalted {
			err = fmt.Errorf("it is %s", c.State)
		}
		return err
	})
	a.save("file", "2")
	a.commits("2")
	if _, err := os.Stat(b.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was made where the clone was: %v", err)
	}
	if err := os.Rename(away, b.dir); err != nil {
		t.Fatal(err)
	}
	b.has("file", "2")
	settled(t, a, b)
	for _, m := range ms {
		if got := m.files(); len(got) != 2 {
			t.Errorf("%s has %q", m.name, got)
		}
	}
}

func TestDamagedObject(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.save("file", "1")
	b.has("file", "1")
	settled(t, a, b)
	b.stop()
	tree := b.git("rev-parse", "HEAD^{tree}")
	object := filepath.Join(b.dir, ".git", "objects", tree[:2], tree[2:])
	sound, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(object, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(object, sound[:len(sound)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	a.save("file", "2")
	a.commits("2")
	b.start()
	b.warned("cycle")
	if err := os.WriteFile(object, sound, 0o644); err != nil {
		t.Fatal(err)
	}
	b.has("file", "2")
	settled(t, a, b)
}

func TestBadConfigurationKeepsTheOld(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := n.machine(t, "laptop")
	a.init(agent.InitOptions{Plain: true})
	a.start()
	good, err := os.ReadFile(a.paths.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.paths.Config, append(good, "\n[link]\nlisen = 1\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.client().Reload(context.Background()); err == nil || !strings.Contains(err.Error(), "lisen") {
		t.Errorf("reload: %v", err)
	}
	a.warned("config")
	a.save("file", "1")
	a.commits("1")
	if err := os.WriteFile(a.paths.Config, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.client().Reload(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.machine(t, "laptop"), n.machine(t, "desktop")
	a.init(agent.InitOptions{Plain: true})
	a.start()
	a.online(0)
	b.join(a, agent.JoinOptions{})
	b.spawn(smallDisk(16 << 20))
	b.online(1)
	a.save("small", "1")
	b.has("small", "1")
	filler := b.path(".git/filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(block)
	}
	f.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	b.save("after", "") // the person cannot write either
	big := make([]byte, 2<<20)
	rand.Read(big)
	a.save("big", string(big))
	b.warned("")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	b.has("big", string(big))
	settled(t, a, b)
}

func TestUnreadableFile(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.machine(t, "laptop"), n.machine(t, "desktop")
	a.init(agent.InitOptions{Plain: true})
	a.spawn(asNobody(a))
	a.online(0)
	b.join(a, agent.JoinOptions{})
	b.start()
	a.save("locked.txt", "secret")
	b.has("locked.txt", "secret")
	if err := os.Chmod(a.path("locked.txt"), 0); err != nil {
		t.Fatal(err)
	}
	a.save("other", "1")
	b.has("other", "1")
	b.save("locked.txt", "from the desktop")
	a.save("locked too", "never seen")
	if err := os.Chmod(a.path("locked too"), 0); err != nil {
		t.Fatal(err)
	}
	a.warned("unreadable")
	if err := os.Chmod(a.path("locked too"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.has("locked too", "never seen")
	if err := os.Chmod(a.path("locked.txt"), 0o644); err != nil {
		t.Fatal(err)
	}
	a.has("locked.txt", "from the desktop")
}

func TestKickedFromEjabberd(t *testing.T) {
	t.Parallel() // it is mostly the pause after a kick
	ms := ejabberd(t).grove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	s, err := a.client().Status(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	xmpptest.Start(t).Kick(t, s.Agent.JID)
	a.session(status.SessionOffline)
	a.save("meanwhile", "1")
	b.has("meanwhile", "1")
	a.session(status.SessionOnline)
	settled(t, a, b)
}
