package xmppserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMessageRouting(t *testing.T) {
	h := start(t, nil)
	a := h.login(t, "alice", "a")
	clients := map[string]*client{}
	for resource, priority := range map[string]string{"five": "5", "one": "1", "negative": "-1", "none": ""} {
		c := h.login(t, "bob", resource)
		if priority != "" {
			c.send("<presence><priority>" + priority + "</priority></presence>")
			c.sync()
		}
		clients[resource] = c
	}
	for _, c := range clients {
		c.sync()
	}
	for _, tc := range []struct{ kind, to, want string }{
		{"chat", "bob@one.test", "five"},
		{"normal", "bob@one.test", "five"},
		{"", "bob@one.test", "five"},
		{"headline", "bob@one.test", "five one"},
		{"chat", "bob@one.test/negative", "negative"},
		{"headline", "bob@one.test/none", "none"},
		{"chat", "bob@one.test/gone", "five"},
		{"headline", "bob@one.test/gone", ""},
		{"groupchat", "bob@one.test", ""},
		{"error", "bob@one.test/one", "one"},
		{"error", "bob@one.test", ""},
	} {
		kind := ""
		if tc.kind != "" {
			kind = " type='" + tc.kind + "'"
		}
		a.send("<message to='" + tc.to + "'" + kind + " from='bob@one.test/five' id='m'><body>x</body></message>")
		answer := a.sync()
		if (tc.kind == "groupchat") != (len(answer) == 1) {
			t.Errorf("%s to %s: %d answers", tc.kind, tc.to, len(answer))
		}
		var got []string
		for _, r := range []string{"five", "one", "negative", "none"} {
			for _, e := range clients[r].sync() {
				got = append(got, r)
				if e.get("from") != "alice@one.test/a" {
					t.Errorf("forged sender: %s", e.bytes())
				}
			}
		}
		if g := strings.Join(got, " "); g != tc.want {
			t.Errorf("%s to %s: got to %q, want %q", tc.kind, tc.to, g, tc.want)
		}
	}
}

func TestOfflineMessages(t *testing.T) {
	h := start(t, func(s *Server) { s.limits.offline = 3 })
	a := h.login(t, "alice", "a")
	a.send("<message to='bob@one.test' type='headline' id='h'><body>x</body></message>" +
		"<message to='bob@one.test' type='chat' id='n'><body>x</body><no-store xmlns='urn:xmpp:hints'/></message>")
	if got := a.sync(); len(got) != 1 || got[0].get("id") != "n" || got[0].get("type") != "error" {
		t.Fatalf("got %v", got)
	}
	for i := range 4 {
		a.send(fmt.Sprintf("<message to='bob@one.test/old' type='chat' id='%d'><body>x</body></message>", i))
	}
	if got := a.sync(); len(got) != 1 || got[0].get("id") != "3" || got[0].get("type") != "error" {
		t.Fatalf("got %v", got)
	}
	b := h.login(t, "bob", "b")
	b.send("<presence><priority>-1</priority></presence>") // wants none
	for _, e := range b.sync() {
		if e.name.Local == "message" {
			t.Errorf("got %s", e.bytes())
		}
	}
	b.send("<presence/>")
	for i := range 3 {
		if m := b.until("message", message("", "x")); m.get("id") != fmt.Sprint(i) || m.child(nsDelay, "delay") == nil {
			t.Errorf("message %d is %s", i, m.bytes())
		}
	}
	b.send("<presence/>")
	for _, e := range b.sync() {
		if e.name.Local == "message" {
			t.Errorf("once more: %s", e.bytes())
		}
	}
}

// BenchmarkMessage measures from before one client's write until after another's
// read, over TLS, 1000 messages an operation.
func BenchmarkMessage(b *testing.B) {
	h := start(b, nil)
	from, to := h.login(b, "alice", "a"), h.online(b, "bob", "b")
	m := "<message to='bob@one.test/b' type='headline'><s xmlns='urn:arbor:signal:1' k='0123456789abcdef'>" + strings.Repeat("QUJD", 64) + "</s></message>"
	var took []time.Duration
	for b.Loop() {
		for range 1000 {
			began := time.Now()
			from.send(m)
			to.next()
			took = append(took, time.Since(began))
		}
	}
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
}
