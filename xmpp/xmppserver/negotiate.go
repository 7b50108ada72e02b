package xmppserver

import (
	"context"
	"encoding/base64"
	"strings"

	"mellium.im/xmpp/jid"
)

// maxTries is how often a connection may fail to authenticate or register.
const maxTries = 3

// negotiate leads a new connection through TLS, authentication (or
// registration) and binding or resumption (RFC 6120 §4 to §7, XEP-0198 §5).
// On success c.bound and c.out are set.
func (c *conn) negotiate(ctx context.Context) error {
	if c.direct {
		if err := c.handshake(ctx); err != nil {
			return err
		}
	}
	for {
		if err := c.open(); err != nil {
			return err
		}
		if err := c.write(c.features()); err != nil {
			return err
		}
		for restart := false; !restart; {
			e, err := c.next()
			if err != nil {
				return err
			}
			switch {
			case !c.secure && e.is(nsTLS, "starttls"):
				restart, err = true, c.startTLS(ctx)
			case !c.secure:
				err = &streamError{condition: "policy-violation", text: "TLS is required"}
			case c.user == nil && e.name.Space == nsSASL:
				restart, err = c.authenticate(e)
			case c.user == nil && e.is(nsClient, "iq"):
				err = c.registerNew(e)
			case c.user == nil:
				err = &streamError{condition: "not-authorized"}
			default:
				err = c.establish(e)
			}
			if err != nil || c.bound != nil {
				return err
			}
		}
	}
}

func (c *conn) features() []byte {
	var f []any
	switch {
	case !c.secure:
		f = append(f, el(nsTLS, "starttls").add(el(nsTLS, "required")))
	case c.user == nil:
		f = append(f, el(nsSASL, "mechanisms").add(
			el(nsSASL, "mechanism").add("SCRAM-SHA-256"),
			el(nsSASL, "mechanism").add("PLAIN"))) // TLS is up: for clients that know no better
		if c.srv.opts.RegisterToken != "" {
			f = append(f, el(nsRegFeature, "register"), el(nsInvite, "register"))
		}
	default:
		f = append(f, el(nsBind, "bind"), el(nsSM, "sm"),
			el(nsSession, "session").add(el(nsSession, "optional")))
	}
	return el(nsStream, "features").add(f...).bytes()
}

// authenticate runs one SASL exchange (RFC 6120 §6) that e begins, and reports whether the stream restarts.
func (c *conn) authenticate(e *element) (bool, error) {
	name, success, failure, err := c.sasl(e)
	if err != nil {
		return false, err
	}
	if failure == "" {
		c.srv.mu.Lock()
		c.user = c.srv.users[name]
		c.srv.mu.Unlock()
	}
	if c.user == nil {
		c.srv.log.Info("log in refused", "remote", c.nc.RemoteAddr(), "condition", failure)
		if err := c.write(el(nsSASL, "failure").add(el(nsSASL, failure)).bytes()); err != nil {
			return false, err
		}
		return false, c.strike()
	}
	c.seat.authenticated()
	reply := el(nsSASL, "success")
	if success != "" {
		reply.add(base64.StdEncoding.EncodeToString([]byte(success)))
	}
	if err := c.write(reply.bytes()); err != nil {
		return false, err
	}
	c.restart(c.nc)
	return true, nil
}

// strike counts a failure and ends the stream after too many.
func (c *conn) strike() error {
	if c.failed++; c.failed >= maxTries {
		return &streamError{condition: "policy-violation", text: "too many failures"}
	}
	return nil
}

// sasl returns the account's name and what goes into <success/>, or the
// condition of a <failure/>.
func (c *conn) sasl(e *element) (name, success, failure string, err error) {
	if e.name.Local != "auth" {
		return "", "", "malformed-request", nil
	}
	step := func(challenge string) (string, bool, error) {
		x := el(nsSASL, "challenge")
		if challenge != "" {
			x.add(base64.StdEncoding.EncodeToString([]byte(challenge)))
		}
		if err := c.write(x.bytes()); err != nil {
			return "", false, err
		}
		r, err := c.next()
		if err != nil {
			return "", false, err
		}
		msg, ok := saslData(r)
		return msg, ok && r.is(nsSASL, "response"), nil
	}
	msg, ok := saslData(e)
	if ok && e.text() == "" { // no initial response
		if msg, ok, err = step(""); err != nil {
			return "", "", "", err
		}
	}
	if !ok {
		return "", "", "malformed-request", nil
	}
	var authzid string
	switch e.get("mechanism") {
	case "SCRAM-SHA-256":
		x := &scram{}
		challenge, err := x.challenge(msg, c.credential)
		if err != nil {
			return "", "", "not-authorized", nil
		}
		if msg, ok, err = step(challenge); err != nil {
			return "", "", "", err
		}
		if success, err = x.verify(msg); err != nil || !ok {
			return "", "", "not-authorized", nil
		}
		name, authzid = x.user, x.authzid
	case "PLAIN": // RFC 4616
		part := strings.Split(msg, "\x00")
		if len(part) != 3 || !c.credential(part[1]).verify(part[2]) {
			return "", "", "not-authorized", nil
		}
		name, authzid = part[1], part[0]
	default:
		return "", "", "invalid-mechanism", nil
	}
	name = c.srv.accountName(name)
	if authzid != "" && authzid != name+"@"+c.srv.domain {
		return "", "", "invalid-authzid", nil
	}
	return name, success, "", nil
}

// saslData decodes the content of <auth/> and <response/>; "=" stands for nothing.
func saslData(e *element) (string, bool) {
	s := e.text()
	if s == "=" {
		return "", true
	}
	b, err := base64.StdEncoding.DecodeString(s)
	return string(b), err == nil
}

// credential returns that of an account, or a decoy.
func (c *conn) credential(user string) credential {
	name := c.srv.accountName(user)
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	if u := c.srv.users[name]; u != nil {
		return u.cred
	}
	return decoy(c.srv.secret, name)
}

// accountName brings a user name into the form accounts are kept under.
func (s *Server) accountName(user string) string {
	j, err := jid.New(user, s.domain, "")
	if err != nil {
		return ""
	}
	return j.Localpart()
}

// establish binds a resource (RFC 6120 §7) or resumes a session. What is wrong
// with the request alone is answered, and the client may try again.
func (c *conn) establish(e *element) error {
	switch {
	case e.is(nsSM, "resume"):
		return c.resume(e)
	case e.name.Space == nsSM:
		return c.write(smFailed("unexpected-request"))
	case !e.is(nsClient, "iq"):
		return &streamError{condition: "not-authorized", text: "no resource is bound"}
	}
	b := e.child(nsBind, "bind")
	if e.get("type") != "set" || b == nil {
		return c.write(failure(e, "cancel", "not-allowed").bytes())
	}
	resource := b.child(nsBind, "resource").text()
	if resource == "" {
		resource = randomResource()
	}
	j, err := jid.New(c.user.name, c.srv.domain, resource)
	if err != nil {
		return c.write(failure(e, "modify", "bad-request").bytes())
	}
	full := false
	c.srv.do(func() {
		if old := c.user.sessions[j.Resourcepart()]; old != nil {
			// The client that was cut off and came back, or its double.
			c.srv.end(old, &streamError{condition: "conflict", text: "another client bound this resource"})
		}
		if full = len(c.user.sessions) >= c.srv.limits.sessions; full || c.srv.closing {
			return
		}
		c.attach(&session{user: c.user, resource: j.Resourcepart(), full: j.String(), directed: map[string]*session{}})
		c.user.sessions[c.bound.resource] = c.bound
		c.out.push(result(e).add(el(nsBind, "bind").add(el(nsBind, "jid").add(c.bound.full))).bytes(), false)
	})
	if full {
		return c.write(failure(e, "wait", "resource-constraint").bytes())
	}
	if c.bound == nil {
		return &streamError{condition: "system-shutdown"}
	}
	return nil
}

// attach makes c the connection of t. Srv.mu is held.
func (c *conn) attach(t *session) {
	c.out = &outbox{nc: c.nc, patience: c.srv.limits.write, parting: c.srv.limits.parting, wake: make(chan struct{}, 1)}
	c.bound, t.conn = t, c
}
