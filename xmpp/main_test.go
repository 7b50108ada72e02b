package xmpp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/git-arbor/arbor/xmpp/xmpptest"
)

func TestMain(m *testing.M) { os.Exit(xmpptest.Main(m)) }

// patience bounds every wait of these tests: what has not happened by then never
// will. Nothing depends on how much of it is used.
const patience = 30 * time.Second

// peer is a client that runs, and whose events the test takes one by one.
type peer struct {
	*Client
	t    testing.TB
	stop context.CancelFunc
	done chan error
}

// options are those of a client of the server, with STARTTLS.
func options(s *xmpptest.Server, jid, password string) Options {
	return Options{
		JID: jid, Resource: "arbor-test", Server: s.Addr, RootCAs: s.CA,
		Password: func(context.Context) (string, error) { return password, nil },
	}
}

// newClient makes a client with options that the test has changed.
func newClient(t testing.TB, opt Options) *Client {
	t.Helper()
	c, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs the client until the test ends.
func run(t testing.TB, c *Client) *peer {
	ctx, cancel := context.WithCancel(context.Background())
	p := &peer{Client: c, t: t, stop: cancel, done: make(chan error, 1)}
	go func() { p.done <- c.Run(ctx) }()
	t.Cleanup(func() { p.leave() })
	return p
}

// leave ends the client and waits for it. It may be called more than once.
func (p *peer) leave() {
	p.t.Helper()
	p.stop()
	for range p.Events() { // Run closes it
	}
	select {
	case err := <-p.done:
		if !errors.Is(err, context.Canceled) {
			p.t.Errorf("Run returned %v", err)
		}
		p.done <- err
	case <-time.After(patience):
		p.t.Error("Run does not return")
	}
}

// online makes an account of its own, and a client that is logged in to it.
func online(t testing.TB, s *xmpptest.Server) *peer {
	t.Helper()
	jid, password := s.Account(t)
	p := run(t, newClient(t, options(s, jid, password)))
	await[Online](p)
	return p
}

// announce sets what the client's presence carries.
func (p *peer) announce(format string, args ...any) {
	p.t.Helper()
	if err := p.SetPresence([]Payload{payload(format, args...)}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) bare() string { return p.account.String() }
func (p *peer) full() string { return p.bare() + "/" + p.opt.Resource }

// await takes events until one of type E comes for which all conditions hold.
func await[E Event](p *peer, conditions ...func(E) bool) E {
	p.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case e, ok := <-p.Events():
			if !ok {
				p.t.Fatal("the events ended")
			}
			event, ok := e.(E)
			for _, holds := range conditions {
				ok = ok && holds(event)
			}
			if ok {
				return event
			}
			if off, broken := e.(Offline); broken {
				p.t.Logf("%s: offline: %s: %v (retry in %v)", p.bare(), off.Reason, off.Err, off.Retry)
			}
		case <-deadline.C:
			var zero E
			p.t.Fatalf("%s: no %T came", p.bare(), zero)
		}
	}
}

func carries(data string) func(Presence) bool {
	return func(p Presence) bool { return len(p.Payloads) == 1 && string(p.Payloads[0].Data) == data }
}

func payload(format string, args ...any) Payload {
	return Payload{Tag: "0123456789abcdef", Data: fmt.Appendf(nil, format, args...)}
}
