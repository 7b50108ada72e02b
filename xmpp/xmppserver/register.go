package xmppserver

import (
	"crypto/subtle"
	"errors"
)

// registerNew answers an IQ before authentication: in-band registration
// (XEP-0077) for those who present the registration token, either ahead of it
// (XEP-0445 §4) or as <preauth/> inside the query.
func (c *conn) registerNew(e *element) error {
	payload := &element{}
	if p := e.children(); len(p) == 1 {
		payload = p[0]
	}
	get := e.get("type") == "get"
	reply := result(e)
	switch {
	case !get && payload.is(nsPreauth, "preauth"):
		if !c.prove(payload) {
			return c.refuse(e, "cancel", "item-not-found")
		}
	case !payload.is(nsRegister, "query"):
		return &streamError{condition: "not-authorized"}
	case c.srv.opts.RegisterToken == "":
		return c.refuse(e, "cancel", "service-unavailable")
	case get:
		reply.add(el(nsRegister, "query").add(
			el(nsRegister, "instructions").add("An invitation token is needed."),
			el(nsRegister, "username"), el(nsRegister, "password")))
	default:
		if p := payload.child(nsPreauth, "preauth"); !c.proven && (p == nil || !c.prove(p)) {
			return c.refuse(e, "auth", "not-authorized")
		}
		name, password := payload.child(nsRegister, "username").text(), payload.child(nsRegister, "password").text()
		switch err := c.srv.AddAccount(name, password); {
		case errors.Is(err, ErrAccountExists):
			return c.refuse(e, "cancel", "conflict")
		case err != nil:
			c.srv.log.Warn("account not registered", "remote", c.nc.RemoteAddr(), "err", err)
			return c.refuse(e, "modify", "not-acceptable")
		}
		c.srv.log.Info("account registered", "user", name, "remote", c.nc.RemoteAddr())
	}
	return c.write(reply.bytes())
}

// prove compares the token in a <preauth/> with the server's.
func (c *conn) prove(p *element) bool {
	want := c.srv.opts.RegisterToken
	if want != "" && subtle.ConstantTimeCompare([]byte(p.get("token")), []byte(want)) == 1 {
		c.proven = true
	}
	return c.proven
}

func (c *conn) refuse(e *element, class, condition string) error {
	if err := c.write(failure(e, class, condition).bytes()); err != nil {
		return err
	}
	return c.strike()
}

// changePassword answers the registration query of a client that is logged in
// (XEP-0077 §3.3). Deriving keys and writing them takes long, so that is done
// without the mutex, before the client's next stanza.
func (s *Server) changePassword(t *session, e, query *element) {
	name, password := query.child(nsRegister, "username").text(), query.child(nsRegister, "password").text()
	switch {
	case e.get("type") == "get":
		s.send(t, result(e).add(el(nsRegister, "query").add(
			el(nsRegister, "registered"), el(nsRegister, "username").add(t.user.name), el(nsRegister, "password"))))
	case query.child(nsRegister, "remove") != nil:
		s.bounce(e, "cancel", "not-allowed")
	case name != t.user.name || password == "":
		s.bounce(e, "modify", "bad-request")
	default:
		s.after = append(s.after, func() {
			err := s.setPassword(name, password, false)
			s.do(func() {
				if err != nil {
					s.log.Warn("password not changed", "user", name, "err", err)
					s.bounce(e, "modify", "not-acceptable")
					return
				}
				s.send(t, result(e))
			})
		})
	}
}
