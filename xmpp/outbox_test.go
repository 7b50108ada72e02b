package xmpp

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"
)

func TestPace(t *testing.T) {
	start := time.Now()
	t.Run("bucket", func(t *testing.T) {
		p := newPace(1000, 500, true, start)
		if ok, _ := p.take(400, 0, start); !ok {
			t.Error("a full bucket gives nothing")
		}
		ok, wait := p.take(300, 0, start)
		if ok || wait != 200*time.Millisecond {
			t.Errorf("300 bytes from 100: %v, wait %v", ok, wait)
		}
		if ok, _ := p.take(300, 0, start.Add(wait)); !ok {
			t.Error("after the wait there is nothing")
		}
	})
	t.Run("beyond the burst", func(t *testing.T) {
		p := newPace(1000, 500, true, start)
		if ok, _ := p.take(5000, 0, start); !ok {
			t.Error("a full bucket does not give what is larger")
		}
		if ok, wait := p.take(1, 0, start); ok || wait < 4*time.Second {
			t.Errorf("the debt is forgotten: %v, wait %v", ok, wait)
		}
	})
	t.Run("window", func(t *testing.T) {
		p := newPace(0, 0, true, start)
		p.tokens = 0
		if ok, _ := p.take(window, 0, start); !ok {
			t.Error("nothing is on its way, and nothing may be sent")
		}
		if ok, _ := p.take(1, window, start); ok {
			t.Error("a full window gives more")
		}
		if ok, _ := p.take(10*window, 0, start); !ok {
			t.Error("what is beyond the window never goes")
		}
	})
	t.Run("without acknowledgements", func(t *testing.T) {
		p := newPace(0, 0, false, start)
		p.tokens = 0
		if ok, _ := p.take(100, 0, start); ok {
			t.Error("an empty bucket gives")
		}
	})
	t.Run("unlimited", func(t *testing.T) {
		p := newPace(rate.Inf, 0, true, start)
		if ok, _ := p.take(1<<30, 1<<30, start); !ok {
			t.Error("no limit is one")
		}
	})
}

// stanzas returns the names of what a batch holds, in order: the values of k in
// payloads, or the element.
func stanzas(batch []byte) []string {
	var names []string
	for _, part := range strings.SplitAfter(string(batch), ">") {
		for _, mark := range []string{"<presence", "<iq", "<r ", "<a "} {
			if strings.HasPrefix(part, mark) {
				names = append(names, strings.Trim(mark, "< "))
			}
		}
		if _, rest, ok := strings.Cut(part, "k='"); ok {
			names = append(names, rest[:strings.IndexByte(rest, '\'')])
		}
	}
	return names
}

func named(name string) []byte {
	return encodeMessage("a@b/c", "headline", Payload{Tag: name})
}

func TestOutboxOrder(t *testing.T) {
	now := time.Now()
	o := newOutbox(0)
	if err := o.message(named("m")); !errors.Is(err, ErrOffline) {
		t.Errorf("before the login: %v", err)
	}
	o.begin(&negotiated{managed: true}, newPace(0, 0, true, now))
	if err := errors.Join(o.message(named("m1")), o.message(named("m2"))); err != nil {
		t.Fatal(err)
	}
	o.reply(encodeIQ("result", "1", "x", ""))
	o.setPresence(encodePresence("", 0, []Payload{{Tag: "p1"}}))
	o.setPresence(encodePresence("", 0, []Payload{{Tag: "p2"}}))
	o.acknowledge(1)
	o.acknowledge(2)
	batch, wait := o.next(nil, now)
	if got := fmt.Sprint(stanzas(batch)); got != "[a presence p2 m1 m2 iq r]" || wait != 0 {
		t.Errorf("got %s, wait %v", got, wait)
	}
	// The same value again is no news, nor is an acknowledgement asked for twice.
	o.setPresence(encodePresence("", 0, []Payload{{Tag: "p2"}}))
	if err := o.message(named("m3")); err != nil {
		t.Fatal(err)
	}
	batch, _ = o.next(nil, now)
	if got := fmt.Sprint(stanzas(batch)); got != "[m3]" {
		t.Errorf("got %s", got)
	}
	if !o.acknowledged(4) {
		t.Error("the right count is refused")
	}
	batch, _ = o.next(nil, now)
	if got := fmt.Sprint(stanzas(batch)); got != "[r]" {
		t.Errorf("m3 is not asked for: %s", got)
	}
	if o.acknowledged(6) {
		t.Error("a count beyond what was sent is taken")
	}
}

func TestOutboxBounds(t *testing.T) {
	now := time.Now()
	o := newOutbox(0)
	o.begin(&negotiated{managed: true}, newPace(0, 0, true, now))
	big := bytes.Repeat([]byte("x"), 60_000)
	var err error
	n := 0
	for ; err == nil; n++ {
		err = o.message(big)
	}
	if !errors.Is(err, ErrBusy) || n > maxQueued/len(big)+2 {
		t.Errorf("%d messages, then %v", n, err)
	}
	for range 10 * maxRequests {
		o.reply(encodeIQ("result", "1", "x", ""))
		o.request(encodeIQ("result", "1", "", ""))
	}
	if len(o.replies) > maxReplies || len(o.urgent) > maxRequests {
		t.Errorf("%d replies and %d requests are kept", len(o.replies), len(o.urgent))
	}
}

// TestUnackedIsBounded: a server that never acknowledges is not fed for ever.
func TestUnackedIsBounded(t *testing.T) {
	now := time.Now()
	o := newOutbox(0)
	o.begin(&negotiated{managed: true}, newPace(rate.Inf, 0, true, now))
	for range 2 * maxUnacked / maxQueued {
		for o.message(make([]byte, 60_000)) == nil {
		}
		for batch, _ := o.next(nil, now); len(batch) > 0; batch, _ = o.next(nil, now) {
		}
	}
	if o.bytes > maxUnacked+60_000 || len(o.messages) == 0 {
		t.Errorf("%d bytes are unacknowledged, %d messages wait", o.bytes, len(o.messages))
	}
}

// TestProbeWithoutManagement: a server that counts no stanzas is sent a ping.
func TestProbeWithoutManagement(t *testing.T) {
	now := time.Now()
	o := newOutbox(0)
	o.begin(&negotiated{}, newPace(0, 0, false, now))
	o.next(nil, now)
	if _, asked := o.overdue(time.Second); asked {
		t.Error("a stanza is waited for that nobody counts")
	}
	o.probe(now)
	batch, _ := o.next(nil, now)
	if got := fmt.Sprint(stanzas(batch)); got != "[iq]" {
		t.Errorf("got %s", got)
	}
	o.answered("another")
	if at, asked := o.overdue(time.Second); !asked || at.Before(now.Add(time.Second)) {
		t.Errorf("the answer is overdue at %v (%v)", at, asked)
	}
	o.answered(o.pingID)
	if _, asked := o.overdue(time.Second); asked {
		t.Error("the answer does not count")
	}
}

// TestSubscriptionsArePaced: ejabberd's mod_pres_counter refuses the sixth in a
// minute.
func TestSubscriptionsArePaced(t *testing.T) {
	now := time.Now()
	o := newOutbox(0)
	o.begin(&negotiated{managed: true}, newPace(0, 0, true, now))
	o.next(nil, now) // the presence
	var sent []time.Time
	for range 12 {
		if err := o.subscription(encodeSubscription("a@b", "subscribe", "")); err != nil {
			t.Fatal(err)
		}
	}
	for start := now; now.Sub(start) < 10*time.Minute && len(sent) < 12; {
		batch, wait := o.next(nil, now)
		for _, name := range stanzas(batch) {
			if name == "presence" {
				sent = append(sent, now)
			}
		}
		o.acknowledged(uint32(1 + len(sent)))
		now = now.Add(max(wait, time.Millisecond))
	}
	if len(sent) != 12 {
		t.Fatalf("%d of 12 were sent", len(sent))
	}
	for i := subscriptionBurst; i < len(sent); i++ {
		if d := sent[i].Sub(sent[i-subscriptionBurst]); d < subscriptionPause {
			t.Errorf("request %d came %v after the %d before it", i, d, subscriptionBurst)
		}
	}
}

// TestOutboxResumption: whatever breaks and is resumed, the server handles every
// message exactly once and in order; with new sessions in between, at least once.
func TestOutboxResumption(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Now()
		o := newOutbox(0)
		begin := func(n *negotiated) bool { return o.begin(n, newPace(rate.Inf, 0, true, now)) }
		begin(&negotiated{managed: true})
		var handled []string // by the server, messages only
		var count uint32     // by the server, all stanzas of the session
		queued, renewed := 0, false
		deliver := func(upTo int) {
			batch, _ := o.next(nil, now)
			for i, name := range stanzas(batch) {
				if name == "r" || i >= upTo {
					continue
				}
				if name == "presence" || name[0] == 'm' {
					count++
				}
				if name[0] == 'm' {
					handled = append(handled, name)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"queue": func(*rapid.T) {
				if o.message(named(fmt.Sprintf("m%d", queued))) == nil {
					queued++
				}
			},
			"presence": func(*rapid.T) { o.setPresence(encodePresence("", int8(queued%2), nil)) },
			"deliver":  func(*rapid.T) { deliver(1 << 30) },
			"acknowledge": func(t *rapid.T) {
				if !o.acknowledged(count) {
					t.Fatal("the server's count is refused")
				}
			},
			"break and resume": func(t *rapid.T) {
				deliver(rapid.IntRange(0, 5).Draw(t, "delivered before the link broke"))
				o.end()
				if !begin(&negotiated{managed: true, resumed: true, handled: count}) {
					t.Fatal("the server's count is refused")
				}
			},
			"break and renew": func(t *rapid.T) {
				deliver(rapid.IntRange(0, 5).Draw(t, "delivered before the link broke"))
				o.end()
				begin(&negotiated{managed: true, refused: rapid.Bool().Draw(t, "count known"), handled: count})
				count, renewed = 0, true
			},
		})
		deliver(1 << 30)
		for len(o.messages) > 0 {
			deliver(1 << 30)
		}
		seen := map[string]int{}
		for i, name := range handled {
			seen[name]++
			if !renewed && name != fmt.Sprintf("m%d", i) {
				t.Fatalf("message %d is %s", i, name)
			}
		}
		if len(seen) != queued {
			t.Fatalf("%d of %d messages were delivered", len(seen), queued)
		}
	})
}
