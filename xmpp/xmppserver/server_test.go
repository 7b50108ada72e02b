package xmppserver

import (
	"context"
	"crypto/tls"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mellium.im/sasl"
	"mellium.im/xmlstream"
	mellium "mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/ping"
	"mellium.im/xmpp/roster"
	"mellium.im/xmpp/stanza"
)

func TestMelliumClient(t *testing.T) {
	h := start(t, nil)
	for _, direct := range []bool{true, false} {
		t.Run(fmt.Sprintf("direct=%v", direct), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			config := &tls.Config{RootCAs: h.ca, ServerName: testDomain}
			me := jid.MustParse("alice@" + testDomain)
			login := mellium.SASL("", "alicepw", sasl.ScramSha256)
			var s *mellium.Session
			if direct {
				nc, err := tls.Dial("tcp", h.TLSAddr(), config)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				s, err = mellium.NewSession(ctx, me.Domain(), me, nc, mellium.Secure, mellium.NewNegotiator(func(*mellium.Session, *mellium.StreamConfig) mellium.StreamConfig {
					return mellium.StreamConfig{Features: []mellium.StreamFeature{login, mellium.BindResource()}}
				}))
				if err != nil {
					t.Fatal(err)
				}
			} else {
				nc, err := net.Dial("tcp", h.Addr())
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				s, err = mellium.NewClientSession(ctx, me, nc, mellium.StartTLS(config), login, mellium.BindResource())
				if err != nil {
					t.Fatal(err)
				}
			}
			served := make(chan error, 1)
			go func() { served <- s.Serve(nil) }()
			if err := ping.Send(ctx, s, me.Domain()); err != nil {
				t.Errorf("ping: %v", err)
			}
			if err := roster.Set(ctx, s, roster.Item{JID: jid.MustParse("bob@" + testDomain), Name: "Bob <&'>"}); err != nil {
				t.Errorf("roster set: %v", err)
			}
			items := roster.Fetch(ctx, s)
			n := 0
			for items.Next() {
				n++
				if i := items.Item(); i.Name != "Bob <&'>" || i.Subscription != "none" {
					t.Errorf("roster item %+v", i)
				}
			}
			if err := items.Close(); err != nil || n != 1 {
				t.Errorf("roster of %d items: %v", n, err)
			}
			if err := s.Send(ctx, stanza.Message{To: s.LocalAddr(), Type: stanza.ChatMessage}.Wrap(xmlstream.Wrap(nil, xml.StartElement{Name: xml.Name{Space: nsHints, Local: "store"}}))); err != nil {
				t.Errorf("send: %v", err)
			}
			s.Conn().Close()
			if err := <-served; err != nil {
				t.Logf("session: %v", err)
			}
		})
	}
}

func TestWrongPassword(t *testing.T) {
	h := start(t, nil)
	c := h.connect(t)
	c.open()
	for range maxTries {
		if c.auth("alice", "bobpw") {
			t.Fatal("logged in with another's password")
		}
	}
	if got := c.ended(); got != "policy-violation" {
		t.Errorf("stream ended with %q", got)
	}
}

func TestNegotiationRefuses(t *testing.T) {
	h := start(t, nil)
	for _, tc := range []struct{ name, send, want string }{
		{"no stream", "<message/>", "invalid-namespace"},
		{"garbage", "GET / HTTP/1.1\r\n\r\n", "bad-format"},
		{"not XML", "<<", "not-well-formed"},
		{"other host", "<stream:stream xmlns='jabber:client' xmlns:stream='" + nsStream + "' to='two.test' version='1.0'>", "host-unknown"},
		{"old version", "<stream:stream xmlns='jabber:client' xmlns:stream='" + nsStream + "' to='one.test'>", "unsupported-version"},
		{"message", header + "<message to='bob@one.test'/>", "not-authorized"},
		{"bind", header + "<iq type='set' id='1'><bind xmlns='" + nsBind + "'/></iq>", "not-authorized"},
		{"comment", header + "<!-- x -->", "restricted-xml"},
		{"processing instruction", header + "<?php x ?>", "restricted-xml"},
		{"entities", "<!DOCTYPE x [<!ENTITY a 'b'>]>" + header, "bad-format"},
		{"too much", header + "<auth xmlns='" + nsSASL + "'>" + strings.Repeat("A", 17<<10), "policy-violation"},
		{"white space for ever", header + strings.Repeat(" ", 17<<10), "policy-violation"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := h.connect(t)
			c.send(tc.send)
			b, _ := io.ReadAll(c.nc)
			if !strings.Contains(string(b), "<"+tc.want+" ") {
				t.Errorf("got %s, want %s", b, tc.want)
			}
		})
	}
}

const header = "<stream:stream xmlns='jabber:client' xmlns:stream='" + nsStream + "' to='one.test' version='1.0'>"

func TestPlainConnectionNeedsTLS(t *testing.T) {
	h := start(t, nil)
	for name, send := range map[string]string{
		"SASL in clear":  header + "<auth xmlns='" + nsSASL + "' mechanism='PLAIN'>AGFsaWNlAGFsaWNlcHc=</auth>",
		"text injection": header + "<starttls xmlns='" + nsTLS + "'/><auth xmlns='" + nsSASL + "' mechanism='PLAIN'>AGFsaWNlAGFsaWNlcHc=</auth>",
	} {
		nc, err := net.Dial("tcp", h.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		limit(t, nc)
		if _, err := io.WriteString(nc, send); err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(nc)
		if !strings.Contains(string(b), "policy-violation") || strings.Contains(string(b), "success") {
			t.Errorf("%s: %s", name, b)
		}
	}
}

func TestLimitsBeforeAuthentication(t *testing.T) {
	h := start(t, func(s *Server) {
		s.limits.perNetwork = 2
		s.limits.negotiation = 300 * time.Millisecond
	})
	// The two that are allowed trickle bytes, and are thrown out nevertheless.
	var kept []net.Conn
	for range 2 {
		nc, err := net.Dial("tcp", h.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := io.WriteString(nc, "<str"); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, nc)
	}
	h.eventually(t, "two connections", func() bool { return h.connections() == 2 })
	third, err := net.Dial("tcp", h.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	limit(t, third)
	if n, err := third.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("a third connection was served")
	}
	for _, nc := range kept {
		limit(t, nc)
		_, _ = io.Copy(io.Discard, nc)
	}
	h.eventually(t, "room again", func() bool { return h.connections() == 0 })
	h.login(t, "alice", "a")
}

func (h *harness) connections() int {
	h.door.mu.Lock()
	defer h.door.mu.Unlock()
	return h.door.all
}

func TestAuthenticatedDoNotCountAsStrangers(t *testing.T) {
	h := start(t, func(s *Server) { s.limits.perNetwork, s.limits.waiting = 1, 1 })
	a := h.login(t, "alice", "a")
	b := h.login(t, "bob", "b")
	a.sync()
	b.sync()
}

func TestBrokenStanzasEndOnlyTheirStream(t *testing.T) {
	h := start(t, func(s *Server) { s.limits.stanza = 4096 })
	bob := h.online(t, "bob", "b")
	for _, tc := range []struct{ name, send, want string }{
		{"too big", "<message to='bob@one.test/b'><body>" + strings.Repeat("x", 5000) + "</body></message>", "policy-violation"},
		{"too deep", "<message to='bob@one.test/b'>" + strings.Repeat("<a>", 100), "policy-violation"},
		{"not well-formed", "<message to='bob@one.test/b'></iq>", "not-well-formed"},
		{"attribute twice", "<message to='bob@one.test/b'><x a='1' a='2'/></message>", "not-well-formed"},
		{"unknown entity", "<message to='bob@one.test/b'>&nbsp;</message>", "not-well-formed"},
		{"invalid character", "<message to='bob@one.test/b'>&#0;</message>", "not-well-formed"},
		{"invalid UTF-8", "<message to='bob@one.test/b'>\xff</message>", "not-well-formed"},
		{"name a parser may not know", "<message to='bob@one.test/b'><☃/></message>", "not-well-formed"},
		{"name with a bad start", "<message to='bob@one.test/b'><x:1 xmlns:x='y'/></message>", "bad-format"},
		{"reserved namespace", "<message to='bob@one.test/b'><x xmlns='" + nsXMLNS + "'/></message>", "bad-format"},
		{"namespace expat refuses", "<message to='bob@one.test/b'><x xmlns='a}b'/></message>", "bad-format"},
		{"comment", "<message to='bob@one.test/b'><!-- --></message>", "restricted-xml"},
		{"text between", "hello", "bad-format"},
		{"unknown stanza", "<hello/>", "unsupported-stanza-type"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := h.login(t, "alice", "a")
			c.send(tc.send)
			if got := c.ended(); got != tc.want {
				t.Errorf("stream ended with %q, want %q", got, tc.want)
			}
			if got := bob.sync(); len(got) != 0 {
				t.Errorf("bob got %s", got[0].bytes())
			}
		})
	}
}

func TestRequests(t *testing.T) {
	h := start(t, nil)
	c := h.login(t, "alice", "a")
	for _, tc := range []struct{ send, want string }{
		{"<iq type='get' id='1' to='one.test'><ping xmlns='urn:xmpp:ping'/></iq>", "<iq type='result' id='1' from='one.test' to='alice@one.test/a'/>"},
		{"<iq type='set' id='1'><session xmlns='" + nsSession + "'/></iq>", "<iq type='result' id='1' to='alice@one.test/a'/>"},
		{"<iq type='get' id='1' to='one.test'><query xmlns='" + nsDiscoInfo + "'/></iq>", "<identity category='server' type='im'"},
		{"<iq type='get' id='1'><query xmlns='" + nsDiscoInfo + "'/></iq>", "<identity category='account' type='registered'/>"},
		{"<iq type='get' id='1' to='one.test'><query xmlns='" + nsDiscoItems + "'/></iq>", "<query xmlns='" + nsDiscoItems + "'/>"},
		{"<iq type='get' id='1'><vCard xmlns='vcard-temp'/></iq>", "service-unavailable"},
		{"<iq type='get' id='1' to='bob@one.test'><query xmlns='jabber:iq:roster'/></iq>", "service-unavailable"},
		{"<iq type='get' id='1' to='bob@one.test/x'><query/></iq>", "service-unavailable"},
		{"<iq type='get' id='1' to='x@two.test'><query/></iq>", "remote-server-not-found"},
		{"<iq type='get' id='1' to='@@'><query/></iq>", "jid-malformed"},
		{"<iq type='get' id='1'/>", "bad-request"},
		{"<iq type='get' id='1'><a/><b/></iq>", "bad-request"},
		{"<iq type='bad' id='1'><a/></iq>", "bad-request"},
		{"<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='alice@one.test'/></query></iq>", "bad-request"},
		{"<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='x@y/z'/></query></iq>", "bad-request"},
		{"<iq type='set' id='1'><query xmlns='jabber:iq:roster'/></iq>", "bad-request"},
		{"<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='q@one.test' subscription='remove'/></query></iq>", "item-not-found"},
		{"<message type='chat' to='nobody@one.test' id='1'/>", "service-unavailable"},
		{"<message to='x@two.test' id='1'/>", "remote-server-not-found"},
		{"<presence type='subscribe' to='x@two.test' id='1'/>", "remote-server-not-found"},
	} {
		c.send(tc.send)
		if got := string(c.next().bytes()); !strings.Contains(got, tc.want) {
			t.Errorf("%s\n  got %s\n  want %s", tc.send, got, tc.want)
		}
	}
	// None of these has an answer.
	c.send("<iq type='result' id='9' to='one.test'/><iq type='error' id='9' to='bob@one.test/q'/>" +
		"<message type='error' to='nobody@one.test'/><message type='headline' to='bob@one.test/gone'/>" +
		"<presence to='nobody@one.test'/><presence type='subscribe' to='nobody@one.test'/><presence type='strange'/>")
	if got := c.sync(); len(got) != 0 {
		t.Errorf("got %s", got[0].bytes())
	}
}

func TestIQBetweenClients(t *testing.T) {
	h := start(t, nil)
	a, b := h.login(t, "alice", "a"), h.login(t, "bob", "b")
	a.send("<iq type='get' id='q' to='bob@one.test/b' from='carol@one.test/x'><q xmlns='urn:x' xml:lang='de'>a&lt;b</q></iq>")
	q := b.next()
	if got, want := string(q.bytes()), "<iq type='get' id='q' to='bob@one.test/b' from='alice@one.test/a'><q xmlns='urn:x' xml:lang='de'>a&lt;b</q></iq>"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	b.send("<iq type='result' id='q' to='alice@one.test/a'/>")
	if got := string(a.next().bytes()); got != "<iq type='result' id='q' to='alice@one.test/a' from='bob@one.test/b'/>" {
		t.Errorf("answer %s", got)
	}
}

func TestConflictEvicts(t *testing.T) {
	h := start(t, func(s *Server) { s.limits.sessions = 2 })
	bob := h.online(t, "bob", "b")
	first := h.online(t, "alice", "a")
	befriend(first, bob)
	second := h.login(t, "alice", "a")
	if got := first.ended(); got != "conflict" {
		t.Errorf("first ended with %q", got)
	}
	bob.until("unavailable", presence("unavailable", "alice@one.test/a"))
	second.sync()
	h.login(t, "alice", "other")
	c := h.authenticated(t, "alice")
	if r := c.bind("third"); r.get("type") != "error" || r.child(nsClient, "error").child(nsStanzaErrs, "resource-constraint") == nil {
		t.Errorf("third resource: %s", r.bytes())
	}
	if r := c.bind("a"); r.get("type") != "result" { // may evict, though
		t.Errorf("own resource: %s", r.bytes())
	}
}

func TestBindMakesResource(t *testing.T) {
	h := start(t, nil)
	c := h.authenticated(t, "alice")
	if c.bind(""); len(c.full) < len("alice@one.test/")+16 {
		t.Errorf("bound to %q", c.full)
	}
}

func TestShutdownTellsClients(t *testing.T) {
	h := start(t, nil)
	a := h.online(t, "alice", "a")
	waiting := h.connect(t) // not authenticated: must not hold up the end
	waiting.open()
	h.stop()
	if got := a.ended(); got != "system-shutdown" {
		t.Errorf("ended with %q", got)
	}
}

func TestSlowConsumerIsDisconnected(t *testing.T) {
	h := start(t, func(s *Server) {
		s.limits.queue = 256 << 10
		s.limits.write = 200 * time.Millisecond
		s.limits.parting = 100 * time.Millisecond
	})
	bob := h.online(t, "bob", "b") // reads nothing from here on
	a := h.login(t, "alice", "a")
	gone := func() bool { return h.users["bob"].sessions["b"] == nil }
	for range 1000 { // as much as the system's buffers hold, and more
		a.send("<message type='headline' to='bob@one.test/b'><body>" + strings.Repeat("x", 60<<10) + "</body></message>")
		a.sync()
		h.mu.Lock()
		done := gone()
		h.mu.Unlock()
		if done {
			break
		}
	}
	h.eventually(t, "bob's end", gone)
	bob.cut()
}

func TestSilentClientIsProbedAndDropped(t *testing.T) {
	h := start(t, func(s *Server) { s.limits.idle, s.limits.probe = 50*time.Millisecond, 300*time.Millisecond })
	a := h.online(t, "alice", "a")
	probe := a.until("probe", func(e *element) bool { return e.child(nsPing, "ping") != nil })
	a.send("<iq type='result' id='" + probe.get("id") + "' to='one.test'/>")
	a.until("next probe", func(e *element) bool { return e.child(nsPing, "ping") != nil })
	// No answer this time.
	h.eventually(t, "alice's end", func() bool { return len(h.users["alice"].sessions) == 0 })
}
