package xmppserver

import (
	"strconv"
	"time"
)

// invitationLife is how long a token that a client made known is good for.
const invitationLife = 10 * time.Minute

// maxInvitations bounds the tokens of one account.
const maxInvitations = 16

// iq routes to a client, or answers for the server and for accounts.
func (s *Server) iq(t *session, e *element, to address) {
	kind := e.get("type")
	request := kind == "get" || kind == "set"
	switch {
	case e.get("id") == "" || !request && kind != "result" && kind != "error" || request && len(e.children()) != 1:
		s.bounce(e, "modify", "bad-request")
	case to.foreign:
		s.bounce(e, "cancel", "remote-server-not-found")
	case to.user != nil && to.resource != "":
		if r := to.user.sessions[to.resource]; r != nil {
			s.send(r, e)
		} else {
			s.bounce(e, "cancel", "service-unavailable")
		}
	case !request: // the answer to a probe
	case to.server || to.user == t.user:
		s.serve(t, e, e.children()[0])
	default:
		s.bounce(e, "cancel", "service-unavailable")
	}
}

// serve answers a request to the server or to the sender's own account.
func (s *Server) serve(t *session, e, payload *element) {
	get := e.get("type") == "get"
	switch {
	case get && payload.is(nsPing, "ping"), !get && payload.is(nsSession, "session"):
		s.send(t, result(e))
	case get && payload.is(nsDiscoInfo, "query"):
		s.send(t, result(e).add(s.describe(e.get("to") == s.domain)))
	case get && payload.is(nsDiscoItems, "query"):
		s.send(t, result(e).add(el(nsDiscoItems, "query")))
	case get && payload.is(nsRoster, "query"):
		t.roster = true
		s.send(t, result(e).add(t.user.rosterQuery()))
	case payload.is(nsRoster, "query"):
		if class, condition := s.setRoster(t.user, payload); condition != "" {
			s.bounce(e, class, condition)
			return
		}
		s.send(t, result(e))
	case payload.is(nsRegister, "query"):
		s.changePassword(t, e, payload)
	case !get && payload.is(nsPreauth, "preauth"):
		s.invite(t, e, payload.get("token"))
	default:
		s.bounce(e, "cancel", "service-unavailable")
	}
}

func (s *Server) describe(server bool) *element {
	q := el(nsDiscoInfo, "query")
	if server {
		q.add(el(nsDiscoInfo, "identity", "category", "server", "type", "im", "name", "Arbor's small server"))
	} else {
		q.add(el(nsDiscoInfo, "identity", "category", "account", "type", "registered"))
	}
	for _, f := range []string{nsDiscoInfo, nsDiscoItems, nsPing, nsRoster, nsPreauth, "msgoffline"} {
		q.add(el(nsDiscoInfo, "feature", "var", f))
	}
	return q
}

// invite takes note of a token that the client has put into an invitation
// (XEP-0379 <preauth/>, here sent to the own account): whoever subscribes with
// it first is approved, both ways, without the client.
func (s *Server) invite(t *session, e *element, token string) {
	now := time.Now()
	for k, expires := range t.user.invitations {
		if now.After(expires) {
			delete(t.user.invitations, k)
		}
	}
	switch {
	case token == "" || len(token) > 256:
		s.bounce(e, "modify", "bad-request")
	case len(t.user.invitations) >= maxInvitations:
		s.bounce(e, "wait", "resource-constraint")
	default:
		t.user.invitations[token] = now.Add(invitationLife)
		s.send(t, result(e))
	}
}

// redeem reports whether token is a good invitation by u, which is then used up.
func (u *user) redeem(token string) bool {
	expires, ok := u.invitations[token]
	delete(u.invitations, token)
	return ok && time.Now().Before(expires)
}

// nextID returns an id for an IQ of the server's own.
func (s *Server) nextID() string {
	s.ids++
	return "s" + strconv.FormatUint(s.ids, 36)
}
