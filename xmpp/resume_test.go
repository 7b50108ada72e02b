package xmpp

import (
	"fmt"
	"testing"
	"time"

	"github.com/git-arbor/arbor/xmpp/xmpptest"
)

// throughProxy makes a client whose link the test can break, and which notices
// soon.
func throughProxy(t *testing.T, s *xmpptest.Server, jid, password string) (*peer, *xmpptest.Proxy) {
	t.Helper()
	proxy := xmpptest.NewProxy(t, s.Addr)
	opt := options(s, jid, password)
	opt.Server = proxy.Addr
	c := newClient(t, opt)
	c.timing.ack = 500 * time.Millisecond
	p := run(t, c)
	await[Online](p)
	return p, proxy
}

// unbroken fails the test if an event says that the contact was away.
func unbroken(t *testing.T, away *peer) func(Event) bool {
	return func(e Event) bool {
		if p, ok := e.(Presence); ok && p.From == away.full() && !p.Available {
			t.Errorf("the contact was seen to leave")
		}
		return true
	}
}

// TestResumption: a link goes silent in the middle of a conversation. The session
// is resumed over a new one: nothing is lost in either direction, nothing comes
// twice, and the contact notices nothing.
func TestResumption(t *testing.T) {
	t.Parallel()
	s := xmpptest.Start(t)
	jid, password := s.Account(t)
	bert := online(t, s)
	s.Befriend(t, jid, bert.bare())
	anna, proxy := throughProxy(t, s, jid, password)
	await(bert, from(anna))

	const n = 30
	for i := range n {
		if i == n/3 {
			proxy.BlackHole(true)
		}
		if err := anna.Send(t.Context(), bert.full(), payload("a%d", i)); err != nil {
			t.Fatal(err)
		}
		if err := bert.Send(t.Context(), anna.full(), payload("b%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	off := await[Offline](anna)
	if off.Reason != ReasonNetwork {
		t.Errorf("a silent link is %v: %v", off.Reason, off.Err)
	}
	proxy.BlackHole(false)

	for next := 0; next < n; {
		e := await(bert, unbroken(t, anna))
		if m, ok := e.(Message); ok {
			if want := fmt.Sprintf("a%d", next); string(m.Payload.Data) != want {
				t.Fatalf("got %s, want %s", m.Payload.Data, want)
			}
			next++
		}
	}
	// What reached Anna before the link broke was taken by await above.
	on := await[Online](anna)
	if !on.Resumed {
		t.Error("the session was not resumed")
	}
	got := map[string]int{}
	last := fmt.Sprintf("b%d", n-1)
	for got[last] == 0 {
		got[string(await[Message](anna).Payload.Data)]++
	}
	for i := n / 3; i < n; i++ {
		if name := fmt.Sprintf("b%d", i); got[name] != 1 {
			t.Errorf("%s came %d times", name, got[name])
		}
	}

	// The session goes on as before.
	anna.announce("after")
	await(bert, from(anna), carries("after"))
	if err := bert.Send(t.Context(), anna.full(), payload("last")); err != nil {
		t.Fatal(err)
	}
	await(anna, message("last"))
}

// TestReset: a connection that is cut is resumed at once.
func TestReset(t *testing.T) {
	t.Parallel()
	s := xmpptest.Start(t)
	jid, password := s.Account(t)
	anna, proxy := throughProxy(t, s, jid, password)
	for range 3 {
		proxy.Cut()
		if off := await[Offline](anna); off.Reason != ReasonNetwork {
			t.Errorf("a cut connection is %v: %v", off.Reason, off.Err)
		}
		if on := await[Online](anna); !on.Resumed {
			t.Error("the session was not resumed")
		}
	}
}

// TestIdleProbe: a link that is silent while nobody says anything is noticed.
func TestIdleProbe(t *testing.T) {
	t.Parallel()
	s := xmpptest.Start(t)
	proxy := xmpptest.NewProxy(t, s.Addr)
	jid, password := s.Account(t)
	opt := options(s, jid, password)
	opt.Server = proxy.Addr
	c := newClient(t, opt)
	c.timing.ack, c.timing.idle = 500*time.Millisecond, 100*time.Millisecond
	anna := run(t, c)
	await[Online](anna)
	proxy.BlackHole(true)
	await[Offline](anna)
	proxy.BlackHole(false)
	if on := await[Online](anna); !on.Resumed {
		t.Error("the session was not resumed")
	}
}

func TestKick(t *testing.T) {
	s := xmpptest.Start(t)
	anna := online(t, s)
	s.Kick(t, anna.bare())
	off := await[Offline](anna)
	if off.Reason != ReasonPolicyViolation || off.Retry < 10*time.Second {
		t.Errorf("a kick is %v, retry in %v: %v", off.Reason, off.Retry, off.Err)
	}
}

// TestConflict: a second machine with the same resource. The first one waits long
// before it takes it back.
func TestConflict(t *testing.T) {
	s := xmpptest.Start(t)
	anna := online(t, s)
	twin := run(t, newClient(t, anna.opt))
	await[Online](twin)
	off := await[Offline](anna)
	if off.Reason != ReasonConflict || off.Retry < time.Minute {
		t.Errorf("a conflict is %v, retry in %v: %v", off.Reason, off.Retry, off.Err)
	}
}

// TestServerRestart: the server says goodbye, comes back, crashes and comes back.
// The last value is announced again, and what was not delivered is sent again.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	s := xmpptest.StartOwn(t)
	var p []*peer
	var jids []string
	for range 2 {
		jid, password := s.Account(t)
		c := newClient(t, options(s, jid, password))
		c.timing.retry = time.Second
		jids, p = append(jids, jid), append(p, run(t, c))
		await[Online](p[len(p)-1])
	}
	s.Befriend(t, jids...)
	anna, bert := p[0], p[1]
	anna.announce("kept")
	await(bert, from(anna), carries("kept"))

	s.Stop(t)
	// Whether ejabberd gets to say why depends on which of its processes ends first.
	if off := await[Offline](anna); off.Reason != ReasonShutdown && off.Reason != ReasonNetwork || off.Retry > 5*time.Second {
		t.Errorf("a shutdown is %v, retry in %v: %v", off.Reason, off.Retry, off.Err)
	}
	s.Resume(t)
	await[Online](bert)
	await[Online](anna)
	await(bert, from(anna), carries("kept"))

	s.Crash(t)
	await[Offline](anna)
	s.Resume(t)
	if on := await[Online](anna); on.Resumed {
		t.Error("a session outlived the server")
	}
	await[Online](bert)
	await(bert, from(anna), carries("kept"))
	await(anna, from(bert))
	if err := anna.Send(t.Context(), bert.full(), payload("hello again")); err != nil {
		t.Fatal(err)
	}
	await(bert, message("hello again"))
}
