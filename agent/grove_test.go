package agent_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/xmpp/xmppserver"
	"github.com/git-arbor/arbor/xmpp/xmpptest"
)

// patience bounds every wait of the tests. It is long, because machines that test are slow; nothing waits for it to pass.
const patience = 60 * time.Second

// network is an XMPP server for a test's machines.
type network struct {
	domain, addr, ca string // direct TLS
	register         func(user, password string) error

	dir  string // of the embedded server
	stop func() // the embedded server

	user string                          // whose account the machines share; "" when each has its own
	log  func(slog.Handler) slog.Handler // what the agents' logs pass; may be nil
	path string                          // the PATH of what runs on the machines; "" is the test's own
}

// ejabberd makes the network one of the reference server.
func ejabberd(t testing.TB) *network {
	t.Helper()
	s := xmpptest.Start(t)
	return &network{domain: s.Domain, addr: s.TLSAddr, ca: s.CAFile, register: func(user, password string) error {
		s.Register(t, user, password)
		return nil
	}}
}

func newNetwork(t testing.TB) *network {
	t.Helper()
	dir := t.TempDir()
	n := &network{domain: "arbor.test", addr: "127.0.0.1:0", ca: filepath.Join(dir, "ca.pem"), dir: dir}
	n.start(t)
	return n
}

// start starts the embedded server, the second time at the same address.
func (n *network) start(t testing.TB) {
	t.Helper()
	cert, _, err := xmppserver.SelfSigned(n.dir, []string{n.domain, "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	server, err := xmppserver.New(xmppserver.Options{
		Domain: n.domain, Dir: filepath.Join(n.dir, "state"), TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, ListenTLS: n.addr,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.addr, n.register, n.stop = server.TLSAddr(), server.AddAccount, background(t, server.Run)
}

// background runs f until the test ends, and fails the test if it ends with an error before.
func background(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("ended by itself: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// account registers an account.
func (n *network) account(t testing.TB, name string) (user string) {
	t.Helper()
	user = name + "-" + strings.ToLower(rand.Text()[:8]) // the server may be shared
	if err := n.register(user, "secret of "+user); err != nil {
		t.Fatal(err)
	}
	return user
}

// machine is one person's computer: its own home, account and clone.
type machine struct {
	t     testing.TB
	n     *network
	name  string
	home  string
	paths config.Paths
	dir   string           // of the clone
	stop  func()           // the agent
	kill  func()           // the agent that was spawned
	pid   int              // likewise
	now   func() time.Time // the agent's clock; may be nil
	env   []string         // above the test's own, for what runs there; may be nil: then start runs the agent in this process

	probeAfter time.Duration

	control *control.Client
}

func (n *network) machine(t testing.TB, name string) *machine {
	t.Helper()
	home := t.TempDir()
	m := &machine{t: t, n: n, name: name, home: home, dir: filepath.Join(home, "clone"), paths: pathsIn(home)}
	if n.path != "" {
		m.env = []string{"PATH=" + n.path}
	}
	m.control = control.NewClient(m.paths.Socket)
	t.Cleanup(m.control.Close)
	user := n.user
	if user == "" {
		user = n.account(t, name)
	}
	password := filepath.Join(home, "password")
	if err := os.WriteFile(password, []byte("secret of "+user+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := config.SetAccount(m.paths.Config, config.Account{
		JID: user + "@" + n.domain, Name: name, PasswordFile: password, Server: n.addr, DirectTLS: true, CAFile: n.ca,
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// start runs the agent, in this process if it can have its environment.
func (m *machine) start() {
	m.t.Helper()
	if m.env != nil {
		m.spawn()
		return
	}
	ready := make(chan struct{})
	m.stop = background(m.t, func(ctx context.Context) error {
		return agent.Run(ctx, agent.Options{
			Paths: m.paths, Version: "test", Log: m.log(), Ready: func() { close(ready) }, ProbeAfter: m.probeAfter, Now: m.now,
		})
	})
	select {
	case <-ready:
	case <-time.After(patience):
		m.t.Fatal("agent does not get ready")
	}
}

func (m *machine) log() *slog.Logger {
	var handler slog.Handler = slog.NewTextHandler(logWriter{m.t, m.name}, &slog.HandlerOptions{Level: slog.LevelDebug})
	if m.n.log != nil {
		handler = m.n.log(handler)
	}
	return slog.New(handler)
}

// logWriter shows the log of an agent when its test fails.
type logWriter struct {
	t    testing.TB
	name string
}

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s: %s", w.name, bytes.TrimSpace(p))
	return len(p), nil
}

// init makes the machine's clone the first of a grove.
func (m *machine) init(opt agent.InitOptions) {
	m.t.Helper()
	opt.Dir, opt.Name, opt.Paths = m.dir, m.name, m.paths
	if _, err := agent.Init(m.t.Context(), opt); err != nil {
		m.t.Fatal(err)
	}
	m.identify()
}

// join makes the machine's clone by an invitation of another's.
func (m *machine) join(inviter *machine, opt agent.JoinOptions) {
	m.t.Helper()
	inv, err := inviter.client().Invite(m.t.Context(), control.InviteRequest{Clone: inviter.dir})
	if err != nil {
		m.t.Fatal(err)
	}
	opt.URI, opt.Dir, opt.Name, opt.Paths, opt.Log = inv.URI, m.dir, m.name, m.paths, m.log()
	if _, err := agent.Join(m.t.Context(), opt); err != nil {
		m.t.Fatal(err)
	}
	m.identify()
}

func (m *machine) identify() {
	m.git("config", "user.name", m.name)
	m.git("config", "user.email", m.name+"@arbor.test")
}

func (m *machine) client() *control.Client { return m.control }

// tryGit runs git in the clone.
func (m *machine) tryGit(args ...string) (string, error) {
	cmd := exec.CommandContext(m.t.Context(), "git", args...)
	cmd.Dir = m.view()
	cmd.Env = append(m.environ(), "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), err
}

func (m *machine) environ() []string {
	return append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), m.env...) // else the race detector lets every program sleep for a second when it ends
}

// git runs git in the clone and returns what it prints.
func (m *machine) git(args ...string) string {
	m.t.Helper()
	out, err := m.tryGit(args...)
	if err != nil {
		m.t.Fatalf("%s: %v", m.name, err)
	}
	return out
}

// path is where the tests find a file of the clone: in the mounts of the agent, if they are its own.
func (m *machine) path(name string) string {
	return filepath.Join(m.view(), filepath.FromSlash(name))
}

func (m *machine) view() string {
	if m.pid == 0 {
		return m.dir
	}
	return filepath.Join(fmt.Sprintf("/proc/%d/root", m.pid), m.dir)
}

// save writes a file as a person's program does: in place.
func (m *machine) save(name, content string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.path(name), []byte(content), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// eventually waits until check returns nil. It asks less often the longer it waits, for many a check takes more of the machine than what it waits for.
func (m *machine) eventually(what string, check func() error) {
	m.t.Helper()
	began := time.Now()
	for {
		err := check()
		if err == nil {
			return
		}
		waited := time.Since(began)
		if waited > patience {
			s, _ := m.client().Status(context.Background(), 0)
			m.t.Fatalf("%s: %s: %v\nstatus: %+v", m.name, what, err, s)
		}
		<-time.After(min(max(waited/8, 2*time.Millisecond), 250*time.Millisecond))
	}
}

// has waits until the file has this content.
func (m *machine) has(name, content string) {
	m.t.Helper()
	m.eventually(fmt.Sprintf("wait for %q", name), func() error {
		b, err := os.ReadFile(m.path(name))
		if err == nil && string(b) != content {
			err = fmt.Errorf("it holds %.60q", b)
		}
		return err
	})
}

// lacks waits until there is no file of this name.
func (m *machine) lacks(name string) {
	m.t.Helper()
	m.eventually(fmt.Sprintf("wait for %q to go", name), func() error {
		_, err := os.Lstat(m.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("it is there (%w)", err)
	})
}

// clone is the machine's clone as the agent's status shows it.
func (m *machine) clone() (status.Clone, error) {
	s, err := m.client().Status(m.t.Context(), 0)
	if err != nil {
		return status.Clone{}, err
	}
	for _, c := range s.Clones {
		if c.Path == m.dir {
			return c, nil
		}
	}
	return status.Clone{}, errors.New("not in the status")
}

// warned waits for a warning whose code begins with this.
func (m *machine) warned(code string) status.Warning {
	m.t.Helper()
	var found status.Warning
	m.eventually("wait for warning "+code, func() error {
		s, err := m.client().Status(m.t.Context(), 0)
		if err != nil {
			return err
		}
		for _, w := range s.Warnings {
			if strings.HasPrefix(w.Code, code) {
				found = w
				return nil
			}
		}
		return fmt.Errorf("warnings are %v", s.Warnings)
	})
	return found
}

// settled waits until all machines have the same commit and a clean work tree, and say so. Their repositories must be
// sound then.
func settled(t testing.TB, machines ...*machine) {
	t.Helper()
	first := machines[0]
	for _, m := range machines {
		m.eventually("have the same as "+first.name, func() error {
			head, err := first.tryGit("rev-parse", "--verify", "HEAD")
			if err != nil {
				return err
			}
			if own, err := m.tryGit("rev-parse", "--verify", "HEAD"); err != nil || own != head {
				return fmt.Errorf("it is at %.8s, %s at %.8s (%w)", own, first.name, head, err)
			}
			if out, err := m.tryGit("status", "--porcelain"); err != nil || out != "" {
				return fmt.Errorf("git status says %q (%w)", out, err)
			}
			c, err := m.clone()
			if err == nil && (c.Head != head || c.State != status.StateInStep && len(machines) > 1) {
				err = fmt.Errorf("its status is %s (%s) at %.8s", c.State, c.Detail, c.Head)
			}
			return err
		})
	}
	for _, m := range machines {
		m.gitSound("--strict")
	}
}

// gitSound lets git judge the clone, more than once if need be: what arrives while git fsck reads, it takes for missing.
func (m *machine) gitSound(args ...string) {
	m.t.Helper()
	m.eventually("be sound", func() error {
		_, err := m.tryGit(append([]string{"fsck"}, args...)...)
		return err
	})
}

// newGrove makes machines whose clones are in step: the first has made the repository, the others have joined it.
func newGrove(t testing.TB, opt agent.InitOptions, names ...string) []*machine {
	t.Helper()
	return newNetwork(t).grove(t, opt, names...)
}

func (n *network) grove(t testing.TB, opt agent.InitOptions, names ...string) []*machine {
	t.Helper()
	var machines []*machine
	for i, name := range names {
		m := n.machine(t, name)
		if i == 0 {
			m.init(opt)
			m.start()
			m.online(0)
		} else {
			m.join(machines[0], agent.JoinOptions{})
			m.start()
		}
		machines = append(machines, m)
	}
	for _, m := range machines {
		m.online(len(names) - 1)
	}
	return machines
}

// eachAnnex runs the test with the git-annex of the system, and with the newer one, on all machines.
func eachAnnex(t *testing.T, test func(t *testing.T, n *network)) {
	t.Helper()
	for name, path := range map[string]string{"system": "", "sid": annextest.SidPath(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			n.path = path
			test(t, n)
		})
	}
}

// online waits until the machine is logged in and sees this many peers.
func (m *machine) online(peers int) {
	m.t.Helper()
	m.eventually("see the others", func() error {
		s, err := m.client().Status(m.t.Context(), 0)
		if err != nil {
			return err
		}
		if s.Agent.XMPP != status.SessionOnline {
			return fmt.Errorf("session is %s", s.Agent.XMPP)
		}
		online := 0
		for _, c := range s.Clones {
			for _, p := range c.Peers {
				if p.Online {
					online++
				}
			}
		}
		if online < peers {
			return fmt.Errorf("%d peers are online", online)
		}
		return nil
	})
}
