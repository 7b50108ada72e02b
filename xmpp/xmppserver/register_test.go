package xmppserver

import (
	"strings"
	"testing"
)

func TestRegistration(t *testing.T) {
	h := startIn(t, t.TempDir(), Options{RegisterToken: "let-me-in"}, nil)
	query := func(user, password, inside string) string {
		return "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>" + user + "</username><password>" + password + "</password>" + inside + "</query></iq>"
	}
	const preauth = "<preauth xmlns='urn:xmpp:pars:0' token='let-me-in'/>"
	for _, tc := range []struct{ name, send, want string }{
		{"form", "<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>", "<username/><password/>"},
		{"no token", query("dave", "pw", ""), "not-authorized"},
		{"wrong token inside", query("dave", "pw", "<preauth xmlns='urn:xmpp:pars:0' token='x'/>"), "not-authorized"},
		{"wrong token ahead", "<iq type='set' id='r' to='one.test'><preauth xmlns='urn:xmpp:pars:0' token=''/></iq>", "item-not-found"},
		{"bad name", query("Dave Doe", "pw", preauth), "not-acceptable"},
		{"no password", query("dave", "", preauth), "not-acceptable"},
		{"taken", query("alice", "pw", preauth), "conflict"},
		{"good", query("dave", "davepw", preauth), "type='result'"},
	} {
		c := h.connect(t)
		if f := c.open(); f.child(nsRegFeature, "register") == nil || f.child(nsInvite, "register") == nil {
			t.Errorf("features %s", f.bytes())
		}
		c.send(tc.send)
		if got := string(c.next().bytes()); !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %s", tc.name, got)
		}
	}
	h.login(t, "dave", "d")

	c := h.connect(t) // XEP-0445, and log in on the same stream
	c.open()
	c.send("<iq type='set' id='p' to='one.test'>" + preauth + "</iq>" + query("erin", "erinpw", ""))
	c.next()
	if e := c.next(); e.get("type") != "result" {
		t.Errorf("register: %s", e.bytes())
	}
	if !c.auth("erin", "erinpw") {
		t.Error("log in refused")
	}

	g := h.connect(t) // guesses are few
	g.open()
	for range maxTries {
		g.send(query("mallory", "pw", "<preauth xmlns='urn:xmpp:pars:0' token='guess'/>"))
		g.next()
	}
	if got := g.ended(); got != "policy-violation" {
		t.Errorf("ended with %q", got)
	}
}

func TestNoRegistrationWithoutToken(t *testing.T) {
	h := start(t, nil)
	c := h.connect(t)
	if f := c.open(); f.child(nsRegFeature, "register") != nil {
		t.Errorf("offered: %s", f.bytes())
	}
	c.send("<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>dave</username><password>pw</password><preauth xmlns='urn:xmpp:pars:0' token=''/></query></iq>")
	if e := c.next(); e.get("type") != "error" {
		t.Errorf("got %s", e.bytes())
	}
}

func TestChangePassword(t *testing.T) {
	h := start(t, nil)
	a := h.login(t, "alice", "a")
	for _, tc := range []struct{ query, want string }{
		{"<username>bob</username><password>new</password>", "bad-request"},
		{"<remove/>", "not-allowed"},
		{"<username>alice</username><password>new</password>", "type='result'"},
	} {
		a.send("<iq type='set' id='p'><query xmlns='jabber:iq:register'>" + tc.query + "</query></iq>")
		if got := string(a.next().bytes()); !strings.Contains(got, tc.want) {
			t.Errorf("%s: %s", tc.query, got)
		}
	}
	c := h.connect(t)
	c.open()
	if c.auth("alice", "alicepw") {
		t.Error("the old password is good still")
	}
	if !c.auth("alice", "new") {
		t.Error("the new password is not good")
	}
}
