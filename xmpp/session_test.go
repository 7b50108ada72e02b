package xmpp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/git-arbor/arbor/xmpp/xmpptest"
)

// friends are two clients that see each other's presence.
func friends(t testing.TB, s *xmpptest.Server) (anna, bert *peer) {
	t.Helper()
	annaJID, annaPassword := s.Account(t)
	bertJID, bertPassword := s.Account(t)
	s.Befriend(t, annaJID, bertJID)
	anna = run(t, newClient(t, options(s, annaJID, annaPassword)))
	await[Online](anna)
	bert = run(t, newClient(t, options(s, bertJID, bertPassword)))
	await[Online](bert)
	return anna, bert
}

func from(p *peer) func(Presence) bool {
	return func(e Presence) bool { return e.From == p.full() }
}

func message(data string) func(Message) bool {
	return func(m Message) bool { return string(m.Payload.Data) == data }
}

func TestPresenceReachesContacts(t *testing.T) {
	anna, bert := friends(t, xmpptest.Start(t))
	if err := anna.SetPresence([]Payload{payload("one")}); err != nil {
		t.Fatal(err)
	}
	got := await(bert, from(anna), carries("one"))
	if !got.Available || got.Payloads[0].Tag != payload("").Tag {
		t.Errorf("got %+v", got)
	}
	if err := anna.SetPresence([]Payload{payload("two"), payload("three")}); err != nil {
		t.Fatal(err)
	}
	await(bert, from(anna), func(e Presence) bool { return len(e.Payloads) == 2 })
	anna.leave()
	if got := await(bert, from(anna)); got.Available || got.Payloads != nil {
		t.Errorf("after she left: %+v", got)
	}
}

// TestGreeting: who is greeted is shown a presence, and its end, without any
// subscription, but not what is for contacts.
func TestGreeting(t *testing.T) {
	s := xmpptest.Start(t)
	anna, bert := online(t, s), online(t, s)
	available(bert, anna)
	if err := anna.Greet(t.Context(), bert.bare(), []Payload{payload("hello")}); err != nil {
		t.Fatal(err)
	}
	if got := await(bert, from(anna), carries("hello")); !got.Available {
		t.Errorf("got %+v", got)
	}
	anna.announce("for contacts")
	anna.leave()
	if got := await(bert, from(anna)); got.Available {
		t.Errorf("after she left: %+v", got)
	}
	if err := bert.Greet(t.Context(), anna.bare(), []Payload{{Data: make([]byte, MaxPresence+1)}}); !errors.Is(err, ErrTooBig) {
		t.Errorf("Greet returned %v", err)
	}
	if err := bert.Greet(t.Context(), "@", nil); err == nil {
		t.Error("nobody was greeted")
	}
}

// available waits until the server knows that p is there: what p sends to another
// follows its first presence.
func available(p, other *peer) {
	p.t.Helper()
	if err := p.Send(p.t.Context(), other.full(), payload("I am here")); err != nil {
		p.t.Fatal(err)
	}
	await(other, message("I am here"))
}

// TestLastValueAtLogin: who logs in is handed what was announced before.
func TestLastValueAtLogin(t *testing.T) {
	s := xmpptest.Start(t)
	anna := online(t, s)
	jid, password := s.Account(t)
	s.Befriend(t, anna.bare(), jid)
	anna.announce("old")
	anna.announce("last value")
	await[Roster](anna, func(r Roster) bool { return len(r.Items) == 1 })

	bert := newClient(t, options(s, jid, password))
	if err := bert.SetPresence([]Payload{payload("set before login")}); err != nil {
		t.Fatal(err)
	}
	p := run(t, bert)
	if got := await(p, from(anna), carries("last value")); !got.Delayed {
		t.Errorf("the last value is not marked as kept by the server: %+v", got)
	}
	await(anna, from(p), carries("set before login"))
}

func TestMessages(t *testing.T) {
	anna, bert := friends(t, xmpptest.Start(t))
	big := bytes.Repeat([]byte{0, 0xff, '<'}, MaxMessage/3)
	for _, data := range [][]byte{[]byte("small"), big, {}} {
		want := Payload{Tag: "a'<&\">", Data: data}
		if err := anna.Send(t.Context(), bert.full(), want); err != nil {
			t.Fatal(err)
		}
		got := await[Message](bert)
		if got.From != anna.full() || got.Payload.Tag != want.Tag || !bytes.Equal(got.Payload.Data, data) || got.Delayed {
			t.Errorf("%d bytes arrived as %d from %s with tag %q", len(data), len(got.Payload.Data), got.From, got.Payload.Tag)
		}
	}
	if err := anna.SendNormal(t.Context(), bert.bare(), payload("normal")); err != nil {
		t.Fatal(err)
	}
	await(bert, message("normal"))
	// What is read behind it says that it was handled, and is not kept for later.
	if err := bert.Send(t.Context(), bert.full(), payload("read")); err != nil {
		t.Fatal(err)
	}
	await(bert, message("read"))

	// Headlines to somebody who is offline are gone, normal messages wait.
	bert.leave()
	await(anna, from(bert), func(e Presence) bool { return !e.Available })
	if err := errors.Join(
		anna.Send(t.Context(), bert.full(), payload("headline")),
		anna.SendNormal(t.Context(), bert.bare(), payload("stored")),
		anna.Send(t.Context(), anna.full(), payload("the server has handled both")),
	); err != nil {
		t.Fatal(err)
	}
	await(anna, message("the server has handled both"))
	opt := bert.opt
	again := run(t, newClient(t, opt))
	got := await[Message](again)
	if string(got.Payload.Data) != "stored" || !got.Delayed {
		t.Errorf("the first message after login is %+v", got)
	}
}

// TestTooBig: what the server would end the session for is not sent.
func TestTooBig(t *testing.T) {
	anna, bert := friends(t, xmpptest.Start(t))
	if err := anna.Send(t.Context(), bert.full(), Payload{Data: make([]byte, MaxMessage+1)}); !errors.Is(err, ErrTooBig) {
		t.Errorf("Send returned %v", err)
	}
	if err := anna.SetPresence([]Payload{{Data: make([]byte, MaxPresence+1)}}); !errors.Is(err, ErrTooBig) {
		t.Errorf("SetPresence returned %v", err)
	}
	if err := anna.SetPresence(slices.Repeat([]Payload{{Data: make([]byte, MaxPresence)}}, 65)); !errors.Is(err, ErrTooBig) {
		t.Errorf("SetPresence of 65 payloads returned %v", err)
	}
	if err := anna.SetPresence(slices.Repeat([]Payload{{Data: make([]byte, MaxPresence)}}, MaxMessage/MaxPresence)); err != nil {
		t.Errorf("SetPresence of the most returned %v", err)
	}
	await(bert, from(anna), func(e Presence) bool { return len(e.Payloads) == MaxMessage/MaxPresence })
	if err := anna.Send(t.Context(), "not@a@jid", payload("x")); err == nil {
		t.Error("Send took a malformed JID")
	}
}

func TestSubscription(t *testing.T) {
	s := xmpptest.Start(t)
	anna, bert := online(t, s), online(t, s)
	if err := bert.Subscribe(t.Context(), anna.bare(), "proof of <invitation>"); err != nil {
		t.Fatal(err)
	}
	request := await[SubscribeRequest](anna)
	if request.From != bert.bare() || request.Token != "proof of <invitation>" {
		t.Errorf("got %+v", request)
	}
	if err := errors.Join(
		anna.Approve(t.Context(), bert.bare()),
		anna.Subscribe(t.Context(), bert.bare(), ""),
	); err != nil {
		t.Fatal(err)
	}
	if r := await[SubscribeRequest](bert); r.From != anna.bare() || r.Token != "" {
		t.Errorf("got %+v", r)
	}
	if err := bert.Approve(t.Context(), anna.bare()); err != nil {
		t.Fatal(err)
	}
	both := func(r Roster) bool { return len(r.Items) == 1 && r.Items[0].Subscription == "both" && !r.Items[0].Ask }
	await(anna, both)
	await(bert, both)
	anna.announce("hello")
	await(bert, from(anna), carries("hello"))

	if err := anna.Unsubscribe(t.Context(), bert.bare()); err != nil {
		t.Fatal(err)
	}
	await(anna, func(r Roster) bool { return len(r.Items) == 0 })
	await(bert, func(r Roster) bool { return len(r.Items) == 1 && r.Items[0].Subscription == "none" })
}

// TestSubscriptionWhileOffline: the request waits at the server.
func TestSubscriptionWhileOffline(t *testing.T) {
	s := xmpptest.Start(t)
	anna := online(t, s)
	jid, password := s.Account(t)
	if err := anna.Subscribe(t.Context(), jid, "token"); err != nil {
		t.Fatal(err)
	}
	await(anna, func(r Roster) bool { return len(r.Items) == 1 && r.Items[0].Ask })
	request := await[SubscribeRequest](run(t, newClient(t, options(s, jid, password))))
	if request.From != anna.bare() {
		t.Errorf("got %+v", request)
	}
	t.Logf("the token arrived as %q", request.Token)
}

// TestPresenceIsCoalesced: values set faster than they can be sent are skipped,
// and the newest arrives.
func TestPresenceIsCoalesced(t *testing.T) {
	s := xmpptest.Start(t)
	bert := online(t, s)
	jid, password := s.Account(t)
	s.Befriend(t, bert.bare(), jid)
	opt := options(s, jid, password)
	opt.Rate, opt.Burst = rate.Limit(2000), 1000
	anna := run(t, newClient(t, opt))
	await[Online](anna)
	const n = 500
	for i := range n {
		anna.announce("value %d", i)
	}
	seen := 0
	await(bert, from(anna), func(Presence) bool { seen++; return true }, carries(fmt.Sprintf("value %d", n-1)))
	if seen > n/10 {
		t.Errorf("%d of %d values were sent", seen, n)
	}
}

// TestShapedServer: a server that reads 3000 bytes a second is never sent so much
// that what is new waits for long behind what is old.
func TestShapedServer(t *testing.T) {
	s := xmpptest.Start(t)
	bert := online(t, s)
	jid, password := s.Account(t)
	s.Befriend(t, bert.bare(), jid)
	opt := options(s, jid, password)
	opt.Server = s.ShapedAddr
	anna := run(t, newClient(t, opt))
	await[Online](anna)

	// 200 messages of 350 bytes take the server 17 s beyond its burst.
	for i := range 200 {
		if err := anna.Send(t.Context(), bert.full(), payload("%0200d", i)); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	anna.announce("news")
	await(bert, from(anna), carries("news"))
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("the presence came after %v", took)
	}
	if left := queued(anna.Client); left == 0 {
		t.Error("all messages went out before the presence: this proves nothing")
	}
	var broken []Event
	for range len(anna.Events()) {
		if e, ok := (<-anna.Events()).(Offline); ok {
			broken = append(broken, e)
		}
	}
	if broken != nil {
		t.Errorf("the session broke: %v", broken)
	}
}

// stuckConn is a TCP connection whose peer stops reading, as seen with full
// buffers: a write blocks until the connection is closed.
type stuckConn struct {
	net.Conn
	stuck, blocked, closed chan struct{}
	once                   sync.Once
}

func (c *stuckConn) Write(p []byte) (int, error) {
	select {
	case <-c.stuck:
		c.blocked <- struct{}{}
		<-c.closed
		return 0, net.ErrClosed
	default:
		return c.Conn.Write(p)
	}
}

func (c *stuckConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// TestBlockedPeer: a server that reads nothing any more does not keep Run from
// returning, nor anybody from calling the client.
func TestBlockedPeer(t *testing.T) {
	t.Parallel()
	s := xmpptest.Start(t)
	jid, password := s.Account(t)
	opt := options(s, jid, password)
	stuck, blocked := make(chan struct{}), make(chan struct{}, 16)
	opt.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := defaultDial(ctx, network, address)
		return &stuckConn{Conn: conn, stuck: stuck, blocked: blocked, closed: make(chan struct{})}, err
	}
	anna := run(t, newClient(t, opt))
	await[Online](anna)
	close(stuck)
	var err error
	for range 2 * maxQueued / MaxMessage {
		if err = anna.Send(t.Context(), anna.bare(), Payload{Data: make([]byte, MaxMessage)}); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrBusy) {
		t.Errorf("a stuck link took everything: %v", err)
	}
	anna.announce("never sent")
	<-blocked
	anna.leave()
}

// queued is the number of messages that wait to be sent.
func queued(c *Client) int {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return len(c.out.messages)
}
