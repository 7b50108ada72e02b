package xmppserver

import (
	"strings"
	"testing"
	"time"
)

func TestLastPresenceAtLogin(t *testing.T) {
	h := start(t, nil)
	a, b := h.online(t, "alice", "a"), h.online(t, "bob", "b")
	befriend(a, b)
	b.send("<presence type='unavailable'/>")
	b.cut()
	a.until("bob's end", presence("unavailable", "bob@one.test/b"))
	for _, v := range []string{"old", "new"} {
		a.send("<presence><s xmlns='urn:arbor:signal:1' k='t'>" + v + "</s></presence>")
	}
	a.send("<presence to='carol@one.test'><s xmlns='urn:arbor:signal:1'>directed</s></presence>") // does not count
	a.sync()
	b = h.login(t, "bob", "b2")
	b.send("<presence/>")
	p := b.until("alice's presence", presence("", "alice@one.test/a"))
	if got := p.child("urn:arbor:signal:1", "s").text(); got != "new" {
		t.Errorf("last value %q", got)
	}
	stamp, err := time.Parse(time.RFC3339, p.child(nsDelay, "delay").get("stamp"))
	if err != nil || time.Since(stamp) > time.Minute || time.Since(stamp) < -time.Minute {
		t.Errorf("delay %v: %s", err, p.bytes())
	}
	a.until("bob's presence", presence("", "bob@one.test/b2"))
	a.send("<presence><s xmlns='urn:arbor:signal:1' k='t'>live</s></presence>")
	p = b.until("alice's presence", presence("", "alice@one.test/a"))
	if p.child(nsDelay, "delay") != nil || p.get("to") != "bob@one.test" {
		t.Errorf("live presence %s", p.bytes())
	}
}

func TestOwnClientsSeeEachOther(t *testing.T) {
	h := start(t, nil)
	one := h.online(t, "alice", "one")
	two := h.login(t, "alice", "two")
	two.send("<presence/>")
	two.until("one", presence("", "alice@one.test/one"))
	one.until("two", presence("", "alice@one.test/two"))
	two.cut()
	one.until("two's end", presence("unavailable", "alice@one.test/two"))
}

func TestStrangersSeeNothing(t *testing.T) {
	h := start(t, nil)
	a, b := h.online(t, "alice", "a"), h.online(t, "bob", "b")
	a.send("<presence><show>away</show></presence>")
	a.sync()
	if got := b.sync(); len(got) != 0 {
		t.Errorf("bob got %s", got[0].bytes())
	}
}

func TestDirectedPresence(t *testing.T) {
	h := start(t, nil)
	a, b := h.online(t, "alice", "a"), h.online(t, "bob", "b")
	a.send("<presence to='bob@one.test/b'><x xmlns='urn:x'/></presence>")
	if p := b.until("presence", presence("", "alice@one.test/a")); p.child("urn:x", "x") == nil {
		t.Errorf("got %s", p.bytes())
	}
	a.cut() // taken back though bob is no contact
	b.until("end", presence("unavailable", "alice@one.test/a"))
}

func TestUnavailableOnLossAndOnGoodbye(t *testing.T) {
	h := start(t, nil)
	b := h.online(t, "bob", "b")
	for i, leave := range []func(*client){
		func(c *client) { c.cut() },
		func(c *client) { c.send("</stream:stream>") },
		func(c *client) { c.send("<presence type='unavailable'><status>bye</status></presence>") },
		func(c *client) { c.send("</nonsense>") },
		func(c *client) { c.send("<message to='x'"); c.cut() },
	} {
		a := h.online(t, "alice", "a")
		if i == 0 {
			befriend(a, b)
		}
		leave(a)
		p := b.until("end", presence("unavailable", "alice@one.test/a"))
		if i == 2 && !strings.Contains(string(p.bytes()), "bye") {
			t.Errorf("goodbye %s", p.bytes())
		}
		a.cut()
		h.eventually(t, "end of the session", func() bool { return len(h.users["alice"].sessions) == 0 })
	}
}

func TestPriority(t *testing.T) {
	for s, want := range map[string]int{"": 0, "x": 0, "5": 5, " -3\n": -3, "1000": 127, "-1000": -128, "99999999999999999999": 0} {
		if got := priority(el(nsClient, "presence").add(el(nsClient, "priority").add(s))); got != want {
			t.Errorf("priority %q is %d, want %d", s, got, want)
		}
	}
}
