package xmppserver

import (
	"strings"
	"time"

	"mellium.im/xmpp/jid"
)

// address is where a stanza goes.
type address struct {
	user     *user // nil: the server, no such account, or foreign
	resource string
	server   bool // the domain itself
	foreign  bool // another domain
}

// resolve finds the addressee; without one it is the sender's own account (RFC 6120 §10.3).
func (s *Server) resolve(sender *user, to string) (address, error) {
	if to == "" {
		return address{user: sender}, nil
	}
	j, err := jid.Parse(to)
	if err != nil {
		return address{}, err
	}
	if j.Domainpart() != s.domain {
		return address{foreign: true}, nil
	}
	if j.Localpart() == "" {
		return address{server: true, resource: j.Resourcepart()}, nil
	}
	return address{user: s.users[j.Localpart()], resource: j.Resourcepart()}, nil
}

// local returns the account of a bare JID, nil if it is none of this server.
func (s *Server) local(bare string) *user {
	name, domain, _ := strings.Cut(bare, "@")
	if domain != s.domain {
		return nil
	}
	return s.users[name]
}

// session finds a session by its full JID.
func (s *Server) session(full string) *session {
	bare, resource, _ := strings.Cut(full, "/")
	if u := s.local(bare); u != nil {
		return u.sessions[resource]
	}
	return nil
}

// receive handles an element of a session's client. An error ends the stream.
func (s *Server) receive(t *session, e *element) error {
	if e.name.Space == nsSM {
		return s.manage(t, e)
	}
	var handle func(*session, *element, address)
	switch {
	case e.is(nsClient, "message"):
		handle = s.message
	case e.is(nsClient, "presence"):
		handle = s.presence
	case e.is(nsClient, "iq"):
		handle = s.iq
	default:
		return &streamError{condition: "unsupported-stanza-type"}
	}
	t.handled++
	e = e.with("from", t.full)
	to, err := s.resolve(t.user, e.get("to"))
	if err != nil {
		s.bounce(e, "modify", "jid-malformed")
		return nil
	}
	handle(t, e, to)
	return nil
}

// bounce answers a stanza with an error, unless it is an answer itself.
func (s *Server) bounce(e *element, class, condition string) {
	switch e.get("type") {
	case "error", "result":
		return
	}
	if t := s.session(e.get("from")); t != nil {
		s.send(t, failure(e, class, condition))
	}
}

// message routes as RFC 6121 §8.5 asks; where that leaves a choice, as ejabberd does.
func (s *Server) message(_ *session, e *element, to address) {
	switch {
	case to.foreign:
		s.bounce(e, "cancel", "remote-server-not-found")
	case to.user == nil:
		s.bounce(e, "cancel", "service-unavailable")
	case to.resource != "" && to.user.sessions[to.resource] != nil:
		s.send(to.user.sessions[to.resource], e)
	case to.resource != "" && e.get("type") == "headline":
		// For a client that is gone: worthless to any other.
	case !s.deliver(to.user, e):
		s.bounce(e, "cancel", "service-unavailable")
	}
}

// deliver hands a message to whom the account's priorities say, or keeps it for
// later. It reports false when nobody gets it and the sender should know.
func (s *Server) deliver(u *user, e *element) bool {
	switch e.get("type") {
	case "groupchat":
		return false
	case "error":
		return true
	case "headline":
		for _, t := range u.sessions {
			if t.presence != nil && t.priority >= 0 {
				s.send(t, e)
			}
		}
		return true
	}
	if best := u.foremost(); best != nil {
		s.send(best, e)
		return true
	}
	return e.child(nsHints, "no-store") == nil && s.keep(u, e)
}

// foremost returns the available session of the highest priority, of equal
// ones that which spoke last; nil if all are negative.
func (u *user) foremost() *session {
	var best *session
	for _, t := range u.sessions {
		if t.presence == nil || t.priority < 0 {
			continue
		}
		if best == nil || t.priority > best.priority || t.priority == best.priority && t.since.After(best.since) {
			best = t
		}
	}
	return best
}

// keep stores a message until the account has somebody to give it to.
func (s *Server) keep(u *user, e *element) bool {
	n := len(e.bytes())
	if len(u.offline) >= s.limits.offline || u.offlineBytes+n > s.limits.offlineBytes {
		return false
	}
	u.offline = append(u.offline, delayed(e, s.domain, time.Now()))
	u.offlineBytes += n
	s.dirty[u] = true
	return true
}

// handOver sends what was kept to a session that became available.
func (s *Server) handOver(t *session) {
	u := t.user
	if len(u.offline) == 0 || t.priority < 0 {
		return
	}
	for _, e := range u.offline {
		s.send(t, e)
	}
	u.offline, u.offlineBytes = nil, 0
	s.dirty[u] = true
}

// undelivered finds another way for a stanza that an ended session did not acknowledge.
func (s *Server) undelivered(t *session, e *element) {
	switch e.name.Local {
	case "message":
		if e.get("type") != "headline" && !s.deliver(t.user, e) {
			s.bounce(e, "cancel", "service-unavailable")
		}
	case "iq":
		s.bounce(e, "wait", "recipient-unavailable")
	}
}

// delayed adds when a stanza was sent, unless it says so already (XEP-0203).
func delayed(e *element, from string, at time.Time) *element {
	if e.child(nsDelay, "delay") != nil {
		return e
	}
	return e.with().add(el(nsDelay, "delay", "from", from, "stamp", at.UTC().Format("2006-01-02T15:04:05.000Z")))
}

// result begins the answer to an IQ.
func result(e *element) *element {
	return el(nsClient, "iq", "type", "result", "id", e.get("id"), "from", e.get("to"), "to", e.get("from"))
}

// failure makes the error answer to a stanza (RFC 6120 §8.3).
func failure(e *element, class, condition string) *element {
	return el(nsClient, e.name.Local, "type", "error", "id", e.get("id"), "from", e.get("to"), "to", e.get("from")).
		add(el(nsClient, "error", "type", class).add(el(nsStanzaErrs, condition)))
}
