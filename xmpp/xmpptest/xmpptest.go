// Package xmpptest runs a real ejabberd for tests, with the configuration in
// testdata/ejabberd.
//
// It takes the service of docker-compose.yml where a container engine answers,
// else the ejabberd of the system's packages, and fails the test with what to
// install where there is neither. ARBOR_TEST_XMPP=compose or =system forces one.
//
// A package whose tests call [Start] has a TestMain that calls [Main].
package xmpptest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// domain is what the servers serve. No DNS knows it.
const domain = "arbor.test"

// Server is a running ejabberd. Its addresses stay the same when it restarts.
type Server struct {
	Domain     string         // the XMPP domain; no DNS knows it
	Addr       string         // host:port, STARTTLS
	TLSAddr    string         // host:port, TLS from the first byte
	ShapedAddr string         // host:port, STARTTLS, read at 3000 B/s after 20 kB, as Debian ships it
	CA         *x509.CertPool // the authority of the server's certificate
	CAFile     string         // the same, PEM

	api  string // URL of the HTTP API
	host host
	dir  string
}

// host is where an ejabberd runs: in a container or as a child.
type host interface {
	start(ctx context.Context) error
	stop(ctx context.Context) error  // the friendly way; accounts are kept
	crash(ctx context.Context) error // without a goodbye; accounts are kept
	remove(ctx context.Context) error
	authority(ctx context.Context) ([]byte, error)
}

// shared is the one server of the test process, since starting one takes seconds.
var shared struct {
	sync.Mutex
	server *Server
	err    error
}

// Main runs the tests and then stops the server that they shared. It returns the
// code to exit with.
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		if err := shared.server.remove(); err != nil {
			fmt.Fprintln(os.Stderr, "xmpptest:", err)
		}
	}
	return code
}

// Start returns the server that all tests of the process share. Nobody may stop it.
func Start(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = launch(t.Logf)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// StartOwn starts a server for this test only, which may stop and restart it.
func StartOwn(t testing.TB) *Server {
	t.Helper()
	s, err := launch(t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.remove(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func launch(logf func(string, ...any)) (*Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute) // the first one may have to build the image
	defer cancel()
	source, err := sourceDir()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "xmpptest")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{
		Domain:     domain,
		Addr:       ports.address("STARTTLS_PORT"),
		TLSAddr:    ports.address("TLS_PORT"),
		ShapedAddr: ports.address("SHAPED_PORT"),
		CAFile:     filepath.Join(dir, "ca.pem"),
		api:        "http://" + ports.address("HTTP_PORT") + "/api/",
		dir:        dir,
	}
	if s.host, err = chooseHost(ctx, source, dir, ports, logf); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	if err := s.up(ctx); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

// up starts the server and waits until it serves.
func (s *Server) up(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.host.start(ctx); err != nil {
		return fmt.Errorf("start ejabberd: %w", err)
	}
	err := poll(ctx, func() error {
		status, err := s.call(ctx, "status", nil)
		if err == nil && !strings.Contains(status, "is running") {
			return fmt.Errorf("status %q", status)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for ejabberd: %w", err)
	}
	pem, err := s.host.authority(ctx)
	if err != nil {
		return fmt.Errorf("read the server's authority: %w", err)
	}
	s.CA = x509.NewCertPool()
	if !s.CA.AppendCertsFromPEM(pem) {
		return fmt.Errorf("the server's authority is no certificate")
	}
	return os.WriteFile(s.CAFile, pem, 0o600)
}

func (s *Server) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := s.host.remove(ctx)
	os.RemoveAll(s.dir)
	return err
}

// Register makes an account and returns its bare JID.
func (s *Server) Register(t testing.TB, user, password string) string {
	t.Helper()
	s.Call(t, "register", map[string]any{"user": user, "host": s.Domain, "password": password})
	return user + "@" + s.Domain
}

// Account makes an account with a name and a password that nobody else uses.
func (s *Server) Account(t testing.TB) (jid, password string) {
	t.Helper()
	password = rand.Text()
	return s.Register(t, "u"+strings.ToLower(rand.Text()[:12]), password), password
}

// Befriend puts the accounts (bare JIDs) on each other's rosters, subscribed in
// both directions.
func (s *Server) Befriend(t testing.TB, jids ...string) {
	t.Helper()
	for _, a := range jids {
		for _, b := range jids {
			if a == b {
				continue
			}
			local, _, _ := strings.Cut(a, "@")
			user, _, _ := strings.Cut(b, "@")
			s.Call(t, "add_rosteritem", map[string]any{
				"localuser": local, "localhost": s.Domain, "user": user, "host": s.Domain,
				"nick": "", "group": "", "subs": "both",
			})
		}
	}
}

// Kick ends all sessions of an account (bare JID), as an administrator does.
func (s *Server) Kick(t testing.TB, jid string) {
	t.Helper()
	user, _, _ := strings.Cut(jid, "@")
	s.Call(t, "kick_user", map[string]any{"user": user, "host": s.Domain})
}

// Call calls a command of ejabberd's HTTP API and returns the answer.
func (s *Server) Call(t testing.TB, command string, args map[string]any) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	answer, err := s.call(ctx, command, args)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func (s *Server) call(ctx context.Context, command string, args map[string]any) (string, error) {
	if args == nil {
		args = map[string]any{}
	}
	body, err := json.Marshal(args)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.api+command, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("call ejabberd's %s: %w", command, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("call ejabberd's %s: %w", command, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("call ejabberd's %s: %s: %s", command, resp.Status, answer)
	}
	return string(answer), nil
}

// Stop shuts the server down the friendly way.
func (s *Server) Stop(t testing.TB) { t.Helper(); s.must(t, s.host.stop) }

// Crash ends the server without a goodbye to anybody.
func (s *Server) Crash(t testing.TB) { t.Helper(); s.must(t, s.host.crash) }

// Resume starts the server after Stop or Crash.
func (s *Server) Resume(t testing.TB) { t.Helper(); s.must(t, s.up) }

// Restart is Stop and Resume.
func (s *Server) Restart(t testing.TB) { t.Helper(); s.Stop(t); s.Resume(t) }

func (s *Server) must(t testing.TB, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := f(ctx); err != nil {
		t.Fatal(err)
	}
}

// poll calls f every few milliseconds until it returns nil or ctx ends, and
// returns the last error.
func poll(ctx context.Context, f func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// ports maps the variables that testdata/ejabberd/run reads to port numbers.
type ports map[string]int

// Ports of servers are in this range, from which systems give none to whoever asks for any: while a server is away for a restart, a connection could
// get its port.
const firstPort, pastPorts = 20_000, 32_000

// freePorts finds ports that nobody listens on now. The server is told them,
// because clients must find it at the same address after a restart.
func freePorts(ctx context.Context) (ports, error) {
	p := ports{}
	for _, name := range []string{"STARTTLS_PORT", "TLS_PORT", "SHAPED_PORT", "HTTP_PORT", "PROXY65_PORT", "STUN_PORT"} {
		l, err := listenFixed(ctx)
		if err != nil {
			return nil, err
		}
		defer l.Close()
		p[name] = l.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}

// listenFixed takes a port of the range.
func listenFixed(ctx context.Context) (l net.Listener, err error) {
	for range 100 {
		port := firstPort + mathrand.IntN(pastPorts-firstPort)
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("find a free port: %w", err)
}

func (p ports) address(name string) string { return fmt.Sprintf("127.0.0.1:%d", p[name]) }

// sourceDir is the root of the module, where docker-compose.yml and testdata are.
func sourceDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "docker-compose.yml")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no docker-compose.yml above the test's folder")
		}
		dir = parent
	}
}
