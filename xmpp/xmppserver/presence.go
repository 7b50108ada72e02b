package xmppserver

import (
	"strconv"
	"strings"
	"time"
)

// maxDirected bounds how many clients outside the roster a session's presence is remembered for.
const maxDirected = 256

// presence handles RFC 6121 §3 and §4.
func (s *Server) presence(t *session, e *element, to address) {
	kind := e.get("type")
	if e.get("to") == "" {
		switch kind {
		case "":
			s.available(t, e)
		case "unavailable":
			s.unavailable(t, e)
		}
		return
	}
	switch kind {
	case "", "unavailable":
		s.sendDirected(t, e, to)
	case "subscribe", "subscribed", "unsubscribe", "unsubscribed":
		switch {
		case to.foreign:
			s.bounce(e, "cancel", "remote-server-not-found")
		case to.user == nil || to.user == t.user: // nobody is told which accounts there are
		case kind == "subscribe" && !mayAsk(t.user, to.user, e):
			s.bounce(e, "wait", "resource-constraint")
		default:
			s.subscription(t.user, to.user, kind, e)
		}
	}
}

// available broadcasts; the first time it also hands over what the client
// missed: contacts' last presence, requests and messages.
func (s *Server) available(t *session, e *element) {
	first := t.presence == nil
	t.presence, t.since, t.priority = e, time.Now(), priority(e)
	s.broadcast(t, e)
	if first {
		for bare, item := range t.user.roster {
			if u := s.local(bare); u != nil && item.To {
				s.sendPresence(u, t)
			}
		}
		s.sendPresence(t.user, t)
		for _, request := range t.user.requests {
			s.send(t, request)
		}
	}
	s.handOver(t)
}

// unavailable is what a client says, or (e nil) what is said for one that is gone.
func (s *Server) unavailable(t *session, e *element) {
	if e == nil {
		e = el(nsClient, "presence", "type", "unavailable", "from", t.full)
	}
	if t.presence != nil {
		s.broadcast(t, e)
		t.presence = nil
	}
	for full, r := range t.directed {
		s.send(r, e.with("to", full))
	}
	clear(t.directed)
}

// broadcast sends to every available client of contacts that are subscribed, and of the same account.
func (s *Server) broadcast(t *session, e *element) {
	if s.closing {
		return // everybody is being sent away
	}
	for bare, item := range t.user.roster {
		if u := s.local(bare); u != nil && item.From {
			s.sendAvailable(u, e)
		}
	}
	s.sendAvailable(t.user, e)
}

// sendAvailable sends to every available client of an account.
func (s *Server) sendAvailable(u *user, e *element) {
	e = e.with("to", u.bare)
	for _, r := range u.sessions {
		if r.presence != nil {
			s.send(r, e)
		}
	}
}

// sendPresence sends the last presence of every available client of u, other than r itself, to r.
func (s *Server) sendPresence(u *user, r *session) {
	for _, t := range u.sessions {
		if t.presence != nil && t != r {
			s.send(r, delayed(t.presence, t.full, t.since).with("to", r.full))
		}
	}
}

// exchange tells all clients of to about those of from.
func (s *Server) exchange(from, to *user) {
	for _, r := range to.sessions {
		if r.presence != nil {
			s.sendPresence(from, r)
		}
	}
}

// sendDirected sends presence to one account or client, whatever the roster says. It
// is taken back when the session ends (RFC 6121 §4.6).
func (s *Server) sendDirected(t *session, e *element, to address) {
	if to.user == nil {
		return
	}
	for resource, r := range to.user.sessions {
		if to.resource != "" && resource != to.resource || to.resource == "" && r.presence == nil {
			continue
		}
		switch item := t.user.roster[to.user.bare]; {
		case e.get("type") == "unavailable":
			delete(t.directed, r.full)
		case item != nil && item.From && t.presence != nil: // hears of the end anyway
		case len(t.directed) >= maxDirected:
			continue
		default:
			t.directed[r.full] = r
		}
		s.send(r, e)
	}
}

// priority reads a presence's priority (RFC 6121 §4.7.2.3).
func priority(e *element) int {
	n, err := strconv.Atoi(strings.TrimSpace(e.child(nsClient, "priority").text()))
	if err != nil {
		return 0
	}
	return min(max(n, -128), 127)
}
