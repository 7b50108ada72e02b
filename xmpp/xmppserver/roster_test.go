package xmppserver

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// states returns what an element list shows: roster pushes and subscription presence.
func states(got []*element) string {
	var s []string
	for _, e := range got {
		if i := e.child(nsRoster, "query").child(nsRoster, "item"); i != nil {
			s = append(s, strings.TrimSpace("push "+i.get("subscription")+" "+i.get("ask")))
		} else if e.is(nsClient, "presence") {
			s = append(s, strings.TrimSpace(e.get("type")+" "+e.get("from")))
		}
	}
	return strings.Join(s, ", ")
}

func TestSubscription(t *testing.T) {
	h := start(t, nil)
	a, b := h.online(t, "alice", "a"), h.online(t, "bob", "b")
	for _, step := range []struct {
		who        *client
		send       string
		alice, bob string
	}{
		{who: a, send: "<presence type='subscribe' to='bob@one.test/any'/>", alice: "push none subscribe", bob: "subscribe alice@one.test"},
		{who: b, send: "<presence type='subscribed' to='alice@one.test'/>", alice: "push to, subscribed bob@one.test, bob@one.test/b", bob: "push from"},
		{who: b, send: "<presence type='subscribed' to='alice@one.test'/>"}, // says nothing new
		{who: a, send: "<presence type='subscribed' to='bob@one.test'/>"},   // nobody asked
		{who: b, send: "<presence type='subscribe' to='alice@one.test'/>", alice: "subscribe bob@one.test", bob: "push from subscribe"},
		{who: a, send: "<presence type='subscribed' to='bob@one.test'/>", alice: "push both", bob: "push both, subscribed alice@one.test, alice@one.test/a"},
		{who: a, send: "<presence type='unsubscribe' to='bob@one.test'/>", alice: "push from, unavailable bob@one.test/b", bob: "push to, unsubscribe alice@one.test"},
		{who: a, send: "<presence type='unsubscribed' to='bob@one.test'/>", alice: "push none", bob: "push none, unsubscribed alice@one.test, unavailable alice@one.test/a"},
		{who: b, send: "<presence type='subscribe' to='alice@one.test'/>", alice: "subscribe bob@one.test", bob: "push none subscribe"},
		{who: a, send: "<presence type='unsubscribed' to='bob@one.test'/>", bob: "push none, unsubscribed alice@one.test"},
		{who: b, send: "<presence type='subscribe' to='alice@one.test'/>", alice: "subscribe bob@one.test", bob: "push none subscribe"},
		{who: b, send: "<presence type='unsubscribe' to='alice@one.test'/>", alice: "unsubscribe bob@one.test", bob: "push none"},
	} {
		step.who.send(step.send)
		var fromAlice, fromBob string
		if step.who == a {
			fromAlice, fromBob = states(a.sync()), states(b.sync())
		} else {
			fromBob, fromAlice = states(b.sync()), states(a.sync())
		}
		if fromAlice != step.alice {
			t.Errorf("%s: alice sees %q, want %q", step.send, fromAlice, step.alice)
		}
		if fromBob != step.bob {
			t.Errorf("%s: bob sees %q, want %q", step.send, fromBob, step.bob)
		}
	}
}

func TestRosterRemoveEndsBothWays(t *testing.T) {
	h := start(t, nil)
	a, b := h.online(t, "alice", "a"), h.online(t, "bob", "b")
	befriend(a, b)
	a.send("<iq type='set' id='x'><query xmlns='jabber:iq:roster'><item jid='bob@one.test' subscription='remove'/></query></iq>")
	if got := states(a.sync()); !strings.HasSuffix(got, "push remove") {
		t.Errorf("alice sees %q", got)
	}
	if got := states(b.sync()); !strings.Contains(got, "push none") || !strings.Contains(got, "unavailable alice@one.test/a") {
		t.Errorf("bob sees %q", got)
	}
	a.send("<presence><show>away</show></presence>")
	a.sync()
	if got := b.sync(); len(got) != 0 {
		t.Errorf("bob still hears %s", got[0].bytes())
	}
}

func TestRequestWaitsForLogin(t *testing.T) {
	h := start(t, nil)
	a := h.online(t, "alice", "a")
	a.send("<presence type='subscribe' to='bob@one.test'><preauth xmlns='urn:xmpp:pars:0' token='tok'/></presence>")
	a.sync()
	for range 2 { // until it is answered
		b := h.login(t, "bob", "b")
		b.send("<presence/>")
		r := b.until("request", presence("subscribe", "alice@one.test"))
		if r.child(nsPreauth, "preauth").get("token") != "tok" {
			t.Errorf("request lost its token: %s", r.bytes())
		}
	}
}

func TestInvitationTokenApproves(t *testing.T) {
	h := start(t, nil)
	a, b := h.online(t, "alice", "a"), h.online(t, "bob", "b")
	a.send("<iq type='set' id='i'><preauth xmlns='urn:xmpp:pars:0' token='tok'/></iq>")
	if r := a.next(); r.get("type") != "result" {
		t.Fatalf("invite: %s", r.bytes())
	}
	b.send("<presence type='subscribe' to='alice@one.test'><preauth xmlns='urn:xmpp:pars:0' token='tok'/></presence>")
	if got := states(b.sync()); !strings.Contains(got, "push both") || !strings.Contains(got, "subscribed alice@one.test") || !strings.Contains(got, "alice@one.test/a") {
		t.Errorf("bob sees %q", got)
	}
	if got := states(a.sync()); !strings.Contains(got, "push both") || !strings.Contains(got, "bob@one.test/b") {
		t.Errorf("alice sees %q", got)
	}
	// Once only.
	c := h.online(t, "carol", "c")
	c.send("<presence type='subscribe' to='alice@one.test'><preauth xmlns='urn:xmpp:pars:0' token='tok'/></presence>")
	if got := states(c.sync()); got != "push none subscribe" {
		t.Errorf("carol sees %q", got)
	}
}

func TestRosterIsBounded(t *testing.T) {
	h := start(t, nil)
	a := h.login(t, "alice", "a")
	for range maxContacts {
		a.send("<presence type='subscribe' to='bob@one.test'/>") // one item
	}
	for i := range maxContacts - 1 {
		h.mu.Lock()
		h.users["alice"].item(fmt.Sprintf("x%d@one.test", i))
		h.mu.Unlock()
	}
	a.sync()
	a.send("<presence type='subscribe' to='carol@one.test' id='1'/>")
	if e := a.next(); e.get("type") != "error" {
		t.Errorf("subscribe: %s", e.bytes())
	}
	a.send("<iq type='set' id='2'><query xmlns='jabber:iq:roster'><item jid='y@z'/></query></iq>")
	if e := a.next(); e.get("type") != "error" {
		t.Errorf("roster set: %s", e.bytes())
	}
}

// TestSubscriptionsAgree plays anything at all and checks that both sides always hold the same.
func TestSubscriptionsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &Server{domain: testDomain, users: map[string]*user{}, resumable: map[string]*session{}, dirty: map[*user]bool{}, limits: defaultLimits}
		var users []*user
		for _, n := range []string{"a", "b", "c"} {
			s.users[n] = s.newUser(n, credential{})
			users = append(users, s.users[n])
		}
		t.Repeat(map[string]func(*rapid.T){
			"subscription": func(t *rapid.T) {
				u, v := rapid.SampledFrom(users).Draw(t, "u"), rapid.SampledFrom(users).Draw(t, "v")
				kind := rapid.SampledFrom([]string{"subscribe", "subscribed", "unsubscribe", "unsubscribed"}).Draw(t, "kind")
				if u != v {
					s.subscription(u, v, kind, nil)
				}
			},
			"set": func(t *rapid.T) {
				u, v := rapid.SampledFrom(users).Draw(t, "u"), rapid.SampledFrom(users).Draw(t, "v")
				remove := rapid.SampledFrom([]string{"", "remove"}).Draw(t, "remove")
				s.setRoster(u, el(nsRoster, "query").add(el(nsRoster, "item", "jid", v.bare, "subscription", remove)))
			},
			"": func(t *rapid.T) {
				for _, u := range users {
					for _, v := range users {
						mine, theirs := u.roster[v.bare], v.roster[u.bare]
						if mine == nil {
							mine = &contact{}
						}
						if theirs == nil {
							theirs = &contact{}
						}
						_, request := v.requests[u.bare]
						if mine.To != theirs.From || mine.Ask != request || mine.To && mine.Ask {
							t.Fatalf("%s has %+v, %s has %+v, request %v", u.name, mine, v.name, theirs, request)
						}
					}
				}
			},
		})
	})
}
