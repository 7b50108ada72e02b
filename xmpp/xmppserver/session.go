package xmppserver

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strconv"
	"time"
)

// session is a bound resource. It outlives its connection when the client
// enabled resumption. Everything is guarded by Server.mu.
type session struct {
	user     *user
	resource string
	full     string // JID
	conn     *conn  // nil while it waits to be resumed, and at the end
	ended    bool

	presence *element // the last one broadcast, with from; nil = unavailable
	since    time.Time
	priority int
	directed map[string]*session // who was sent presence directly, by full JID
	roster   bool                // asked for the roster: is sent changes

	// XEP-0198. Counters are modulo 2^32.
	managed bool   // stanzas are counted and kept until acknowledged
	id      string // to resume by; "" = not resumable
	handled uint32 // stanzas of the client that were handled
	acked   uint32 // stanzas to the client that it acknowledged
	unacked []sent
	waiting int       // bytes of unacked
	expires time.Time // while conn is nil
}

// sent is a stanza that went out, or would have.
type sent struct {
	stanza *element
	bytes  []byte
}

// send queues a stanza for a client, and finds out when a client takes none.
func (s *Server) send(t *session, e *element) {
	if t.ended {
		return
	}
	b := e.bytes()
	if t.managed {
		t.unacked = append(t.unacked, sent{e, b})
		t.waiting += len(b)
	}
	waiting := t.waiting
	if t.conn != nil {
		waiting = max(waiting, t.conn.out.push(b, t.managed))
	}
	if waiting > s.limits.queue {
		s.slow = append(s.slow, t)
	}
}

// nonza sends an element that is not counted.
func (t *session) nonza(e *element) {
	if t.conn != nil {
		t.conn.out.push(e.bytes(), false)
	}
}

// manage handles an element of XEP-0198 on an established stream.
func (s *Server) manage(t *session, e *element) error {
	switch e.name.Local {
	case "r":
		if t.managed {
			t.nonza(el(nsSM, "a", "h", formatCount(t.handled)))
		}
	case "a":
		h, err := strconv.ParseUint(e.get("h"), 10, 32)
		if err != nil {
			return &streamError{condition: "policy-violation", text: "a without h"}
		}
		if err := t.acknowledged(uint32(h)); err != nil {
			return err
		}
		t.conn.out.answered()
	case "enable":
		if t.managed {
			t.conn.out.push(smFailed("unexpected-request"), false)
			return nil
		}
		t.managed, t.handled = true, 0
		reply := el(nsSM, "enabled")
		if r := e.get("resume"); r == "true" || r == "1" {
			t.id = rand.Text()
			s.resumable[t.id] = t
			reply = reply.with("resume", "true", "id", t.id, "max", strconv.Itoa(int(s.limits.resume/time.Second)))
		}
		t.nonza(reply)
	default:
		t.conn.out.push(smFailed("unexpected-request"), false)
	}
	return nil
}

// acknowledged drops what the client has by its own count h.
func (t *session) acknowledged(h uint32) error {
	n := h - t.acked
	if uint64(n) > uint64(len(t.unacked)) {
		return &streamError{condition: "undefined-condition", app: el(nsSM, "handled-count-too-high",
			"h", formatCount(h), "send-count", formatCount(t.acked+uint32(len(t.unacked))))}
	}
	for _, u := range t.unacked[:n] {
		t.waiting -= len(u.bytes)
	}
	clear(t.unacked[:n])
	t.unacked = t.unacked[n:]
	t.acked = h
	return nil
}

// resume moves a session to connection c and repeats what the client may lack (XEP-0198 §5).
func (c *conn) resume(e *element) error {
	h, err := strconv.ParseUint(e.get("h"), 10, 32)
	if err != nil {
		return c.write(smFailed("bad-request"))
	}
	c.srv.do(func() {
		t := c.srv.resumable[e.get("previd")]
		if t == nil || t.user != c.user || c.srv.closing {
			return
		}
		if err = t.acknowledged(uint32(h)); err != nil {
			return
		}
		if t.conn != nil {
			// The server has not noticed yet that this one is dead.
			t.conn.out.close((&streamError{condition: "conflict", text: "resumed elsewhere"}).bytes())
		}
		c.attach(t)
		t.nonza(el(nsSM, "resumed", "previd", t.id, "h", formatCount(t.handled)))
		for _, u := range t.unacked {
			c.out.push(u.bytes, true)
		}
	})
	if err == nil && c.bound == nil {
		return c.write(smFailed("item-not-found"))
	}
	return err
}

// disconnected takes note that c ended, because of err. A session whose client
// only lost its connection waits for it to come back.
func (s *Server) disconnected(c *conn, err error) {
	t := c.bound
	switch {
	case t.conn != c: // somebody else has closed it
	case t.id != "" && (c.lost() || errors.Is(err, errSilent)):
		t.conn, t.expires = nil, time.Now().Add(s.limits.resume)
		c.out.close(nil)
	default:
		s.end(t, err)
	}
}

// end takes a session away: contacts are told, and messages that were not
// acknowledged go where they would have gone without it.
func (s *Server) end(t *session, reason error) {
	if t.ended {
		return
	}
	t.ended = true
	delete(t.user.sessions, t.resource)
	delete(s.resumable, t.id)
	if c := t.conn; c != nil {
		bye := []byte(streamEnd)
		if se, ok := errors.AsType[*streamError](reason); ok {
			bye = append(se.bytes(), bye...)
		}
		c.out.close(bye)
		t.conn = nil // what its reader has yet to route comes from nobody
	}
	s.unavailable(t, nil)
	for _, u := range t.unacked {
		s.undelivered(t, u.stanza)
	}
}

// expire ends the sessions that nobody resumed.
func (s *Server) expire(now time.Time) {
	for _, t := range s.resumable {
		if t.conn == nil && now.After(t.expires) {
			s.end(t, nil)
		}
	}
}

// probe asks a silent client for a sign of life.
func (s *Server) probe(c *conn) {
	s.do(func() {
		t := c.bound
		switch {
		case t.conn != c:
		case t.managed:
			c.out.ask()
		default:
			s.send(t, el(nsClient, "iq", "type", "get", "id", s.nextID(), "from", s.domain, "to", t.full).add(el(nsPing, "ping")))
		}
	})
}

func smFailed(condition string) []byte {
	return el(nsSM, "failed").add(el(nsStanzaErrs, condition)).bytes()
}

func formatCount(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func randomResource() string {
	b := make([]byte, 8)
	rand.Read(b)
	return hex.EncodeToString(b)
}
