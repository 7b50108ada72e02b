package xmpp

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/git-arbor/arbor/xmpp/xmpptest"
)

// rawClient is logged in and sends what it likes.
type rawClient struct {
	t    *testing.T
	name string
	conn *tls.Conn
}

func newRawClient(t *testing.T, s *xmpptest.Server, user, password, resource string) *rawClient {
	t.Helper()
	conn, err := tls.Dial("tcp", s.TLSAddr, &tls.Config{ServerName: s.Domain, RootCAs: s.CA})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r := &rawClient{t, user + "/" + resource, conn}
	open := fmt.Sprintf("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='%s' version='1.0'>", s.Domain)
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	r.send(open)
	r.expect("</stream:features>")
	r.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + plain + "</auth>")
	r.expect("<success")
	r.send(open)
	r.expect("</stream:features>")
	r.send("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" + resource + "</resource></bind></iq>")
	r.expect("</iq>")
	return r
}

func (r *rawClient) send(text string) {
	r.t.Helper()
	if _, err := io.WriteString(r.conn, text); err != nil {
		r.t.Fatal(err)
	}
}

// expect reads until the text came.
func (r *rawClient) expect(text string) {
	r.t.Helper()
	if err := r.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	var got strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(got.String(), text) {
		n, err := r.conn.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			r.t.Fatalf("%s waits for %s: %v after %.2000q", r.name, text, err, got.String())
		}
	}
}

// hostileStanzas are sent to the full JID in place of TO. The server passes
// all of them on, or says no to whoever sent them.
var hostileStanzas = []string{
	// What ends a session of mellium: a handler's error, a spoofed roster push, no
	// child, text instead of one.
	"<iq to='TO' type='set' id='x1'/>",
	"<iq to='TO' type='get' id='x2'/>",
	"<iq to='TO' type='get' id='x3'>hello</iq>",
	"<iq to='TO' type='set' id='x4'><query xmlns='jabber:iq:roster'><item jid='@@@'/></query></iq>",
	"<iq to='TO' type='set' id='x5'><query xmlns='jabber:iq:roster'><item jid='evil@arbor.test' subscription='both'/></query></iq>",
	"<iq to='TO' type='result' id='x6'><query xmlns='jabber:iq:roster'><item jid='evil@arbor.test' subscription='both'/></query></iq>",
	"<iq to='TO' type='error' id='x7'/>",
	"<iq to='TO' type='get' id='x8'><query xmlns='jabber:iq:version'/><second/></iq>",
	"<iq to='TO' type='get' id='&lt;&apos;&quot;&gt;'><ping xmlns='urn:xmpp:ping'/></iq>",
	"<message to='TO'/>",
	"<message to='TO' type='nonsense'/>",
	"<message to='TO' type='error'><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></error></message>",
	"<presence to='TO'/>",
	"<presence to='TO' type='error'/>",
	"<presence to='TO' type='probe'/>",
	"<presence to='TO' type='nonsense'/>",
	"<presence to='TO' type='unavailable'><priority>x</priority></presence>",
	// What looks like the stream itself.
	"<message to='TO'><error xmlns='http://etherx.jabber.org/streams'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></error></message>",
	"<message to='TO'><stream xmlns='http://etherx.jabber.org/streams'/></message>",
	"<message to='TO'><x:error xmlns:x='http://etherx.jabber.org/streams'/></message>",
	"<message to='TO'><a xmlns='urn:xmpp:sm:3' h='4294967295'/><r xmlns='urn:xmpp:sm:3'/></message>",
	"<message to='TO'><failed xmlns='urn:xmpp:sm:3'/></message>",
	// Our own element, wrong in each way.
	"<message to='TO'><s xmlns='urn:arbor:signal:1'/></message>",
	"<message to='TO'><s xmlns='urn:arbor:signal:1' k='t'>not base64!</s></message>",
	"<message to='TO'><s xmlns='urn:arbor:signal:1' k='t'>aGk</s></message>",
	"<message to='TO'><s xmlns='urn:arbor:signal:1' k='t'><s><s/></s>aGk=</s></message>",
	"<message to='TO'><s xmlns='urn:arbor:signal:1' k='" + strings.Repeat("k", 5000) + "'>aGk=</s></message>",
	"<message to='TO'>" + strings.Repeat("<s xmlns='urn:arbor:signal:1' k='t'>aGk=</s>", 1000) + "</message>",
	"<message to='TO'><s xmlns='urn:arbor:signal:1' k='t'>" + strings.Repeat("A", 200_000) + "</s></message>",
	"<presence to='TO'><s xmlns='urn:arbor:signal:1' k='t'>" + strings.Repeat("A", 200_000) + "</s></presence>",
	"<presence to='TO' type='subscribe'><preauth xmlns='urn:xmpp:pars:0' token='" + strings.Repeat("t", 10_000) + "'/></presence>",
	"<message to='TO'><delay xmlns='urn:xmpp:delay' stamp='never'/></message>",
	// Deep (30,000 levels crash ejabberd 23.01 itself), wide, and at the edge of XML.
	"<message to='TO'>" + strings.Repeat("<a>", 1000) + strings.Repeat("</a>", 1000) + "</message>",
	"<message to='TO'>" + strings.Repeat("<a/>", 50_000) + "</message>",
	"<message to='TO'><body>]]&gt; &#xD7FF;&#x10FFFF;&#9;&#13;&#10;</body></message>",
	"<message to='TO'><body><![CDATA[<iq/>]]></body></message>",
	"<message to='TO'><a x='&lt;&#10;&quot;]]&gt;' xml:lang='-'/></message>",
	"<message to='TO'><x xmlns='' y='1'/><é:ü xmlns:é='ü'/></message>",
	"<message to='TO'><a xmlns='" + strings.Repeat("n", 10_000) + "'/></message>",
	"<nonsense to='TO'/>",
}

// TestHostileStanzas: nothing that somebody else sends ends the session, changes
// the roster or hides what comes after it.
func TestHostileStanzas(t *testing.T) {
	s := xmpptest.Start(t)
	victim := online(t, s)
	await[Roster](victim)
	name, password := s.Account(t)
	user, _, _ := strings.Cut(name, "@")
	enemy := newRawClient(t, s, user, password, "raw")
	for i, stanza := range hostileStanzas {
		enemy.send(strings.ReplaceAll(stanza, "TO", victim.full()))
		survives(t, victim, enemy, fmt.Sprintf("%d: %.80s", i, stanza))
	}
}

// survives sends a message behind what was sent before, and waits for it.
func survives(t *testing.T, victim *peer, enemy *rawClient, what string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("after %s", what)
		}
	}()
	marker := base64.StdEncoding.EncodeToString([]byte(what))
	enemy.send(fmt.Sprintf("<message to='%s'><s xmlns='urn:arbor:signal:1' k='marker'>%s</s></message>", victim.full(), marker))
	for {
		switch e := await[Event](victim).(type) {
		case Offline:
			t.Fatalf("%s ended the session: %v", what, e.Err)
		case Roster:
			t.Errorf("%s changed the roster: %v", what, e.Items)
		case Message:
			if e.Payload.Tag == "marker" && string(e.Payload.Data) == what {
				return
			}
		}
	}
}

// TestHostileSize: a stanza beyond what we want to hold, from a server without
// limits, costs the connection but neither the session nor what comes behind.
func TestHostileSize(t *testing.T) {
	s := xmpptest.Start(t)
	jid, password := s.Account(t)
	c := newClient(t, options(s, jid, password))
	c.maxStanza = 50_000
	victim := run(t, c)
	await[Online](victim)
	name, password := s.Account(t)
	user, _, _ := strings.Cut(name, "@")
	enemy := newRawClient(t, s, user, password, "raw")
	enemy.send("<message to='" + victim.full() + "'><body>" + strings.Repeat("x", 200_000) + "</body></message>")
	if off := await[Offline](victim); off.Reason != ReasonNetwork || off.Retry != 0 {
		t.Errorf("got %+v", off)
	}
	if on := await[Online](victim); !on.Resumed {
		t.Error("the session was not resumed")
	}
	survives(t, victim, enemy, "what is too big")
}

// TestHostileAddresses: servers let addresses pass that are none by RFC 7622.
func TestHostileAddresses(t *testing.T) {
	s := xmpptest.Start(t)
	victim := online(t, s)
	await[Roster](victim)
	name, password := s.Account(t)
	user, _, _ := strings.Cut(name, "@")
	friend := newRawClient(t, s, user, password, "raw")
	for i, user := range []string{"☃", "ª", "a\u200db"} {
		user += strings.ToLower(victim.account.Localpart()) // nobody else's
		s.Register(t, user, password)
		for _, resource := range []string{"r", "\u1100", "a\u00adb", "a\u200db"} {
			enemy := newRawClient(t, s, user, password, resource)
			enemy.send(strings.ReplaceAll("<message to='TO'><s xmlns='urn:arbor:signal:1' k='t'>aGk=</s></message>"+
				"<iq to='TO' type='get' id='q'><query xmlns='jabber:iq:version'/></iq>", "TO", victim.full()))
			enemy.send(strings.ReplaceAll("<presence to='TO' type='subscribe'/><presence to='TO'/>", "TO", victim.full()))
			enemy.send("<iq type='get' id='sync'><ping xmlns='urn:xmpp:ping'/></iq>")
			enemy.expect("sync")
			enemy.conn.Close()
			survives(t, victim, friend, fmt.Sprintf("address %d, resource %q", i, resource))
		}
	}
}

// TestHostileFlood: a stranger who asks without end delays nobody else, and is
// answered as much as we like. (ejabberd itself ends a session with 5000 stanzas
// that it had no time to see acknowledged.)
func TestHostileFlood(t *testing.T) {
	s := xmpptest.Start(t)
	victim, friend := friends(t, s)
	await[Roster](victim)
	name, password := s.Account(t)
	user, _, _ := strings.Cut(name, "@")
	enemy := newRawClient(t, s, user, password, "raw")
	enemy.send(strings.Repeat("<iq to='"+victim.full()+"' type='get' id='f'><ping xmlns='urn:xmpp:ping'/></iq>", 2000))
	victim.announce("during the flood")
	await(friend, from(victim), carries("during the flood"))
	survives(t, victim, enemy, "a flood")
}

// TestHostileEagerness: who sends to an address all the time, also before its owner is there, keeps the owner from nothing.
func TestHostileEagerness(t *testing.T) {
	s := xmpptest.Start(t)
	jid, password := s.Account(t)
	opt := options(s, jid, password)
	name, secret := s.Account(t)
	user, _, _ := strings.Cut(name, "@")
	enemy := newRawClient(t, s, user, secret, "raw")
	go func() { _, _ = io.Copy(io.Discard, enemy.conn) }() // what bounces
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		message := fmt.Sprintf("<message type='headline' to='%s/%s'><s xmlns='urn:arbor:signal:1' k='eager'>aGk=</s></message>", jid, opt.Resource)
		for pace := rate.NewLimiter(2000, 1); pace.Wait(ctx) == nil; { // what ejabberd bears
			if _, err := io.WriteString(enemy.conn, message); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 5 {
		victim := run(t, newClient(t, opt))
		for eager := false; !eager; {
			switch e := await[Event](victim).(type) {
			case Offline:
				t.Errorf("the session ended: %v", e.Err)
			case Message:
				eager = e.Payload.Tag == "eager"
			}
		}
		victim.leave()
	}
	cancel()
	<-stopped
	victim := run(t, newClient(t, opt))
	await[Roster](victim)
	survives(t, victim, newRawClient(t, s, user, secret, "friend"), "what came early")
}
