package xmppserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"mellium.im/xmpp/jid"
)

// ErrAccountExists is returned when an account is to be made that is there.
var ErrAccountExists = errors.New("account exists already")

// ErrBadUser is returned for a user name that is not 1 to 64 characters of
// a-z, 0-9, '.', '_' and '-', beginning with a letter or digit.
var ErrBadUser = errors.New("user name must be 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit")

// Options say what a Server serves.
type Options struct {
	Domain    string      // the part after the @ of every account
	Dir       string      // state directory, made 0700 if missing; one Server at a time
	TLS       *tls.Config // with a certificate for Domain; required
	Listen    string      // host:port for STARTTLS connections; "" = none
	ListenTLS string      // host:port for direct TLS connections; "" = none

	// RegisterToken allows whoever presents it to make an account in-band
	// (XEP-0077 with the pre-authentication of XEP-0445). "" = nobody may.
	RegisterToken string

	// ResumeTimeout is how long a session whose connection was lost stays
	// resumable (XEP-0198) and available to its contacts. 0 = 5 minutes.
	ResumeTimeout time.Duration

	Log *slog.Logger // nil = none
}

// limits bound what clients, and strangers above all, can use up.
type limits struct {
	conns      int // connections in all
	waiting    int // of these, not authenticated
	perNetwork int // of these, from one address
	accounts   int
	sessions   int // of one account

	stranger     int // bytes of one connection before authentication
	stanza       int // bytes
	queue        int // bytes that wait for a client that does not take them
	offline      int // messages kept for one account
	offlineBytes int

	negotiation time.Duration // from connecting to being bound
	idle        time.Duration // of silence until a probe
	probe       time.Duration // for the answer to it
	write       time.Duration // for one chunk
	parting     time.Duration // for the last words
	resume      time.Duration
}

var defaultLimits = limits{
	conns: 1024, waiting: 128, perNetwork: 32, accounts: 10_000, sessions: 10,
	stranger: 16 << 10, stanza: 256 << 10, queue: 4 << 20, offline: 100, offlineBytes: 1 << 20,
	negotiation: 20 * time.Second, idle: 90 * time.Second, probe: 30 * time.Second,
	write: 30 * time.Second, parting: 2 * time.Second, resume: 5 * time.Minute,
}

// Server serves one domain. Its methods may be called from any goroutine.
type Server struct {
	opts   Options
	domain string // normalised
	log    *slog.Logger
	tls    *tls.Config
	limits limits // not changed once Run was called
	plain  net.Listener
	direct net.Listener
	door   admission
	lock   *os.File
	secret []byte // for decoys

	disk sync.Mutex // serialises writing files; taken before mu

	mu        sync.Mutex
	users     map[string]*user // by name; one for each account
	resumable map[string]*session
	ids       uint64
	closing   bool
	unsaved   map[*user]bool // accounts that could not be written to disk
	// What is to be done at the end of do:
	slow  []*session     // clients that do not take what they are sent
	dirty map[*user]bool // accounts to write to disk
	after []func()
}

// New loads the state directory and listens. The addresses are known when it
// returns; clients are served from Run on, which also releases what New took.
func New(o Options) (*Server, error) {
	domain, err := jid.New("", o.Domain, "")
	if err != nil {
		return nil, fmt.Errorf("domain %q: %w", o.Domain, err)
	}
	if o.TLS == nil || len(o.TLS.Certificates) == 0 && o.TLS.GetCertificate == nil && o.TLS.GetConfigForClient == nil {
		return nil, errors.New("no certificate")
	}
	if o.Listen == "" && o.ListenTLS == "" {
		return nil, errors.New("no address to listen on")
	}
	s := &Server{
		opts: o, domain: domain.Domainpart(), log: o.Log, tls: o.TLS.Clone(), limits: defaultLimits,
		door:  admission{from: map[netip.Prefix]int{}},
		users: map[string]*user{}, resumable: map[string]*session{}, unsaved: map[*user]bool{}, dirty: map[*user]bool{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.ResumeTimeout > 0 {
		s.limits.resume = o.ResumeTimeout
	}
	s.tls.MinVersion = max(s.tls.MinVersion, tls.VersionTLS12)
	if s.tls.NextProtos == nil {
		s.tls.NextProtos = []string{"xmpp-client"} // XEP-0368 §3
	}
	if err := s.prepare(); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

func (s *Server) prepare() error {
	if err := s.load(); err != nil {
		return err
	}
	listen := func(addr string) (net.Listener, error) {
		return (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	}
	var err error
	if s.opts.Listen != "" {
		if s.plain, err = listen(s.opts.Listen); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	if s.opts.ListenTLS != "" {
		if s.direct, err = listen(s.opts.ListenTLS); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	return nil
}

func (s *Server) release() {
	for _, l := range s.listeners() {
		l.Close()
	}
	if s.lock != nil {
		_ = syscall.Flock(int(s.lock.Fd()), syscall.LOCK_UN) // a child that is being started may have the file open too, for a moment
		s.lock.Close()
	}
}

func (s *Server) listeners() []net.Listener {
	return slices.DeleteFunc([]net.Listener{s.plain, s.direct}, func(l net.Listener) bool { return l == nil })
}

// Addr is the host:port of the STARTTLS listener, "" without one.
func (s *Server) Addr() string { return hostPort(s.plain) }

// TLSAddr is the host:port of the direct TLS listener, "" without one.
func (s *Server) TLSAddr() string { return hostPort(s.direct) }

// AddAccount makes an account, durable on return. Errors: ErrAccountExists, ErrBadUser.
func (s *Server) AddAccount(user, password string) error {
	return s.setPassword(user, password, true)
}

// Run serves until ctx ends, then tells the clients (system-shutdown), saves
// what they have not acknowledged and returns ctx's error. An earlier return
// names the listener that failed. To be called once.
func (s *Server) Run(ctx context.Context) error {
	defer s.release()
	g, ctx := errgroup.WithContext(ctx)
	var conns sync.WaitGroup
	for _, l := range s.listeners() {
		g.Go(func() error { return s.accept(ctx, l, &conns) })
	}
	g.Go(func() error { return s.reap(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		s.shutdown()
		return ctx.Err()
	})
	err := g.Wait()
	conns.Wait()
	return err
}

// accept serves the connections of one listener.
func (s *Server) accept(ctx context.Context, l net.Listener, conns *sync.WaitGroup) error {
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept: %w", err)
		case err != nil: // out of descriptors, or the like: it passes
			s.log.Warn("connection not accepted", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		seat := s.door.enter(s.limits, nc.RemoteAddr())
		if seat == nil {
			s.log.Warn("too many connections", "remote", nc.RemoteAddr())
			nc.Close()
			continue
		}
		c := &conn{srv: s, direct: l == s.direct, seat: seat, in: reader{left: s.limits.stranger}}
		c.restart(nc)
		conns.Go(func() { c.run(ctx) })
	}
}

// reap ends sessions that nobody resumed in time, and tries again to write what could not be.
func (s *Server) reap(ctx context.Context) error {
	tick := time.NewTicker(min(s.limits.resume/4, 5*time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			s.do(func() {
				s.expire(now)
				maps.Copy(s.dirty, s.unsaved)
				clear(s.unsaved)
			})
		}
	}
}

// shutdown ends everything. Connections that are not bound end by their context.
func (s *Server) shutdown() {
	for _, l := range s.listeners() {
		l.Close()
	}
	s.do(func() {
		s.closing = true
		for _, u := range s.users {
			for _, t := range u.sessions {
				s.end(t, &streamError{condition: "system-shutdown"})
			}
		}
	})
}

// do changes what clients share: f runs under the mutex, and what must be
// durable is on disk when do returns.
func (s *Server) do(f func()) {
	s.mu.Lock()
	f()
	for len(s.slow) > 0 {
		t := s.slow[0]
		s.slow = s.slow[1:]
		s.end(t, &streamError{condition: "resource-constraint", text: "too much waits for this client"})
	}
	dirty, after := slices.Collect(maps.Keys(s.dirty)), s.after
	clear(s.dirty)
	s.after = nil
	s.mu.Unlock()
	for _, u := range dirty {
		if err := s.save(u); err != nil {
			s.log.Error("state not saved, will try again", "user", u.name, "err", err)
			s.mu.Lock()
			s.unsaved[u] = true
			s.mu.Unlock()
		}
	}
	for _, f := range after {
		f()
	}
}

func hostPort(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}
