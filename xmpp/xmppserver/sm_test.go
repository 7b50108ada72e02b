package xmppserver

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// enable turns stream management on and returns the id to resume by.
func (c *client) enable() string {
	c.t.Helper()
	c.send("<enable xmlns='" + nsSM + "' resume='true'/>")
	e := c.until("enabled", func(e *element) bool { return e.name.Space == nsSM })
	if e.name.Local != "enabled" || e.get("resume") != "true" || e.get("max") == "" {
		c.t.Fatalf("enable: %s", e.bytes())
	}
	c.h = 0
	return e.get("id")
}

// resume tries to; it returns the server's answer.
func (c *client) resume(id string, h uint32) *element {
	c.t.Helper()
	c.h = h
	c.send(fmt.Sprintf("<resume xmlns='%s' previd='%s' h='%d'/>", nsSM, id, h))
	return c.next()
}

func TestCountsAreExact(t *testing.T) {
	h := start(t, nil)
	c := h.login(t, "alice", "a")
	c.send("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>") // before: not counted
	c.next()
	c.enable()
	ask := func() string {
		t.Helper()
		c.send("<r xmlns='" + nsSM + "'/>")
		return c.until("answer", func(e *element) bool { return e.is(nsSM, "a") }).get("h")
	}
	if got := ask(); got != "0" {
		t.Errorf("h=%s at first", got)
	}
	c.send("<presence/><message to='bob@one.test'/> <iq type='get' id='1'/><iq type='result' id='2'/><message to='@@'/>")
	if got := ask(); got != "5" {
		t.Errorf("h=%s after 5", got)
	}
	c.send("<enable xmlns='" + nsSM + "'/>")
	if e := c.next(); !e.is(nsSM, "failed") {
		t.Errorf("enabled twice: %s", e.bytes())
	}
	c.send("<a xmlns='" + nsSM + "' h='1000'/>")
	if got := c.ended(); got != "undefined-condition" {
		t.Errorf("ended with %q after too high a count", got)
	}
}

func TestResumeNeedsTheRightAccount(t *testing.T) {
	h := start(t, nil)
	a := h.login(t, "alice", "a")
	id := a.enable()
	a.cut()
	b := h.authenticated(t, "bob")
	for _, previd := range []string{id, "", "unknown"} {
		if e := b.resume(previd, 0); !e.is(nsSM, "failed") || e.child(nsStanzaErrs, "item-not-found") == nil {
			t.Errorf("resume %q: %s", previd, e.bytes())
		}
	}
	b.send("<enable xmlns='" + nsSM + "'/>")
	if e := b.next(); e.child(nsStanzaErrs, "unexpected-request") == nil {
		t.Errorf("enable before bind: %s", e.bytes())
	}
	if r := b.bind("b"); r.get("type") != "result" { // still may
		t.Errorf("bind: %s", r.bytes())
	}
	c := h.authenticated(t, "alice")
	if e := c.resume(id, 0); !e.is(nsSM, "resumed") {
		t.Errorf("own session: %s", e.bytes())
	}
	c.sync()
}

// TestResumeLosesNothing cuts both ends' connections again and again while
// alice sends to bob, and counts that bob has each message once and in order.
func TestResumeLosesNothing(t *testing.T) {
	h := start(t, nil)
	const total, burst = 3000, 500
	a, b := h.login(t, "alice", "a"), h.online(t, "bob", "b")
	watch := h.online(t, "carol", "c")
	befriend(watch, b)
	aID, bID := a.enable(), b.enable()

	// Bob, in a goroutine: reads, and loses its connection every 170 messages.
	got := make(chan []int)
	go func() {
		var ids []int
		defer func() { got <- ids }()
		for len(ids) < total {
			e, err := b.read()
			if err != nil {
				t.Errorf("after %d messages: %v", len(ids), err)
				return
			}
			if e.name.Local != "message" {
				continue
			}
			id, err := strconv.Atoi(e.get("id"))
			if err != nil {
				t.Error(err)
			}
			if ids = append(ids, id); len(ids)%170 != 0 {
				continue
			}
			b.cut()
			seen := b.h
			b = h.authenticated(t, "bob")
			if r := b.resume(bID, seen); !r.is(nsSM, "resumed") {
				t.Errorf("bob: %s", r.bytes())
				return
			}
		}
	}()

	// Alice: writes bursts, is cut somewhere in each, and repeats what the server has not handled.
	stanza := func(i int) string {
		return fmt.Sprintf("<message to='bob@one.test/b' id='%d' type='chat'><body>%s</body></message>", i, strings.Repeat("x", i%300))
	}
	for next := 0; next < total; {
		var all strings.Builder
		for i := next; i < min(next+burst, total); i++ {
			all.WriteString(stanza(i))
		}
		cut := all.Len() * 2 / 3 // in the middle of a stanza, most likely
		if _, err := a.nc.Write([]byte(all.String()[:cut])); err != nil {
			t.Fatal(err)
		}
		a.cut()
		seen := a.h
		a = h.authenticated(t, "alice")
		r := a.resume(aID, seen)
		if !r.is(nsSM, "resumed") {
			t.Fatalf("alice: %s", r.bytes())
		}
		handled, err := strconv.Atoi(r.get("h"))
		if err != nil {
			t.Fatal(err)
		}
		if handled < next && handled != 0 {
			t.Fatalf("handled %d, had %d", handled, next)
		}
		next = handled
		if next > total*9/10 { // the rest without accident
			for ; next < total; next++ {
				a.send(stanza(next))
			}
		}
	}
	ids := <-got
	for i, id := range ids {
		if i != id {
			t.Fatalf("message %d is %d", i, id)
		}
	}
	if len(ids) != total {
		t.Fatalf("%d of %d messages", len(ids), total)
	}
	for _, e := range watch.sync() {
		if e.get("type") == "unavailable" {
			t.Errorf("contacts noticed: %s", e.bytes())
		}
	}
}

func TestHibernationEnds(t *testing.T) {
	h := startIn(t, t.TempDir(), Options{ResumeTimeout: 200 * time.Millisecond}, nil)
	a, b := h.online(t, "alice", "a"), h.online(t, "bob", "b")
	befriend(a, b)
	id := b.enable()
	b.acks = false
	a.send("<message to='bob@one.test/b' id='1'><body>sent but not acknowledged</body></message>")
	b.until("message", message("1", ""))
	b.cut()
	h.eventually(t, "hibernation", func() bool {
		s := h.users["bob"].sessions["b"]
		return s == nil || s.conn == nil
	})
	a.send("<message to='bob@one.test/b' id='2'><body>while away</body></message><message to='bob@one.test/b' type='headline' id='3'><body>news</body></message>")
	a.until("end", presence("unavailable", "bob@one.test/b"))
	b = h.authenticated(t, "bob")
	if e := b.resume(id, 0); !e.is(nsSM, "failed") {
		t.Errorf("resume: %s", e.bytes())
	}
	b.bind("b")
	b.send("<presence/>")
	for _, want := range []string{"1", "2"} {
		if m := b.until("message", message("", "")); m.get("id") != want || m.child(nsDelay, "delay") == nil {
			t.Errorf("got %s, want %s", m.bytes(), want)
		}
	}
	for _, e := range b.sync() {
		if e.name.Local == "message" {
			t.Errorf("got %s", e.bytes())
		}
	}
}

func TestShutdownKeepsUnacknowledged(t *testing.T) {
	dir := t.TempDir()
	h := startIn(t, dir, Options{}, nil)
	a, b := h.login(t, "alice", "a"), h.online(t, "bob", "b")
	b.enable()
	b.acks = false
	a.send("<message to='bob@one.test/b' id='1'><body>x</body></message>")
	b.until("message", message("1", ""))
	h.stop()
	h = startIn(t, dir, Options{}, nil)
	b = h.login(t, "bob", "b")
	b.send("<presence/>")
	b.until("message", message("1", ""))
}

func TestAcknowledgedIsDurable(t *testing.T) {
	h := start(t, nil)
	a := h.login(t, "alice", "a")
	a.enable()
	a.send("<message to='bob@one.test' id='1'><body>x</body></message><r xmlns='" + nsSM + "'/>")
	if h := a.until("answer", func(e *element) bool { return e.is(nsSM, "a") }).get("h"); h != "1" {
		t.Fatalf("h=%s", h)
	}
	// As after kill -9: only what is on disk counts.
	u := h.newUser("bob", credential{})
	if err := h.loadUser(u); err != nil || len(u.offline) != 1 {
		t.Errorf("%d messages on disk: %v", len(u.offline), err)
	}
}

func TestUnacknowledgedRequestIsBounced(t *testing.T) {
	h := startIn(t, t.TempDir(), Options{ResumeTimeout: 100 * time.Millisecond}, nil)
	a, b := h.login(t, "alice", "a"), h.login(t, "bob", "b")
	b.enable()
	b.cut()
	a.send("<iq type='get' id='q' to='bob@one.test/b'><q xmlns='urn:q'/></iq>")
	if e := a.next(); e.get("type") != "error" || e.get("id") != "q" {
		t.Errorf("got %s", e.bytes())
	}
}

func TestResumeTakesOverALiveConnection(t *testing.T) {
	h := start(t, nil)
	a := h.login(t, "alice", "a")
	id := a.enable()
	c := h.authenticated(t, "alice")
	if e := c.resume(id, 0); !e.is(nsSM, "resumed") {
		t.Fatalf("resume: %s", e.bytes())
	}
	if got := a.ended(); got != "conflict" {
		t.Errorf("old connection ended with %q", got)
	}
	c.sync()
	c.cut() // and the session survives this one, too
	d := h.authenticated(t, "alice")
	if e := d.resume(id, c.h); !e.is(nsSM, "resumed") {
		t.Fatalf("resume: %s", e.bytes())
	}
}

func TestGoodbyeEndsTheSession(t *testing.T) {
	h := start(t, nil)
	a := h.login(t, "alice", "a")
	id := a.enable()
	a.send("</stream:stream>")
	a.ended()
	c := h.authenticated(t, "alice")
	if e := c.resume(id, 0); !e.is(nsSM, "failed") {
		t.Errorf("resume: %s", e.bytes())
	}
}
