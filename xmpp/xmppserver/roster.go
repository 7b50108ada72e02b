package xmppserver

import "mellium.im/xmpp/jid"

// Bounds on what one account can make the server keep.
const (
	maxContacts    = 1000
	maxRequests    = 200
	maxRequestSize = 8 << 10
	maxGroups      = 16
	maxName        = 256 // bytes, of contacts and groups
)

// contact is a roster item. The nine states of RFC 6121 appendix A are these
// three flags and whether the contact's request is kept in user.requests.
type contact struct {
	Name   string   `json:"name,omitempty"`
	Groups []string `json:"groups,omitempty"`
	To     bool     `json:"to,omitempty"`   // the user gets the contact's presence
	From   bool     `json:"from,omitempty"` // the contact gets the user's
	Ask    bool     `json:"ask,omitempty"`  // the user asked for To
}

func (c *contact) element(bare string) *element {
	subscription := "none"
	switch {
	case c.To && c.From:
		subscription = "both"
	case c.To:
		subscription = "to"
	case c.From:
		subscription = "from"
	}
	ask := ""
	if c.Ask {
		ask = "subscribe"
	}
	x := el(nsRoster, "item", "jid", bare, "name", c.Name, "subscription", subscription, "ask", ask)
	for _, g := range c.Groups {
		x.add(el(nsRoster, "group").add(g))
	}
	return x
}

func (u *user) rosterQuery() *element {
	q := el(nsRoster, "query")
	for bare, c := range u.roster {
		q.add(c.element(bare))
	}
	return q
}

// item returns u's contact, made if it is missing.
func (u *user) item(bare string) *contact {
	c := u.roster[bare]
	if c == nil {
		c = &contact{}
		u.roster[bare] = c
	}
	return c
}

// changed sends a roster item to u's clients that know the roster, and to disk.
func (s *Server) changed(u *user, bare string) {
	item := el(nsRoster, "item", "jid", bare, "subscription", "remove")
	if c := u.roster[bare]; c != nil {
		item = c.element(bare)
	}
	for _, t := range u.sessions {
		if t.roster {
			s.send(t, el(nsClient, "iq", "type", "set", "id", s.nextID(), "to", t.full).add(el(nsRoster, "query").add(item)))
		}
	}
	s.dirty[u] = true
}

// setRoster adds, renames or removes a contact (RFC 6121 §2.3 to §2.5). It
// returns the class and condition of the error, if any.
func (s *Server) setRoster(u *user, query *element) (class, condition string) {
	items := query.children()
	if len(items) != 1 || !items[0].is(nsRoster, "item") {
		return "modify", "bad-request"
	}
	j, err := jid.Parse(items[0].get("jid"))
	if err != nil || j.Resourcepart() != "" || j.String() == u.bare {
		return "modify", "bad-request"
	}
	bare := j.String()
	c := u.roster[bare]
	if items[0].get("subscription") == "remove" {
		if c == nil {
			return "cancel", "item-not-found"
		}
		if v := s.local(bare); v != nil {
			s.subscription(u, v, "unsubscribe", nil)
			s.subscription(u, v, "unsubscribed", nil)
		}
		delete(u.roster, bare)
		s.changed(u, bare)
		return "", ""
	}
	var groups []string
	for _, g := range items[0].children() {
		if g.is(nsRoster, "group") {
			groups = append(groups, g.text())
		}
	}
	name := items[0].get("name")
	if len(groups) > maxGroups || len(name) > maxName {
		return "modify", "not-acceptable"
	}
	for _, g := range groups {
		if g == "" || len(g) > maxName {
			return "modify", "not-acceptable"
		}
	}
	if c == nil && len(u.roster) >= maxContacts {
		return "wait", "resource-constraint"
	}
	c = u.item(bare)
	c.Name, c.Groups = name, groups
	s.changed(u, bare)
	return "", ""
}

// subscription does what u's client (e is its stanza, nil where the server
// acts for it) says to v, on both sides: RFC 6121 §3 and appendix A.
func (s *Server) subscription(u, v *user, kind string, e *element) {
	if e == nil {
		e = el(nsClient, "presence", "type", kind)
	}
	e = e.with("from", u.bare, "to", v.bare)
	mine, theirs := u.roster[v.bare], v.roster[u.bare]
	switch kind {
	case "subscribe":
		s.subscribe(u, v, e)
	case "subscribed":
		if _, asked := u.requests[v.bare]; asked && theirs != nil {
			s.grant(u, v)
			s.sendAvailable(v, e)
			s.exchange(u, v)
		}
	case "unsubscribe":
		if mine != nil && (mine.To || mine.Ask) {
			mine.To, mine.Ask = false, false
			s.changed(u, v.bare)
		}
		asked, granted := s.withdraw(v, u.bare)
		if asked || granted {
			s.sendAvailable(v, e)
		}
		if granted {
			s.depart(v, u)
		}
	case "unsubscribed":
		_, granted := s.withdraw(u, v.bare)
		if theirs != nil && (theirs.To || theirs.Ask) {
			theirs.To, theirs.Ask = false, false
			s.changed(v, u.bare)
			s.sendAvailable(v, e)
		}
		if granted {
			s.depart(u, v)
		}
	}
}

// mayAsk bounds what requests to subscribe make the server keep.
func mayAsk(u, v *user, e *element) bool {
	return (u.roster[v.bare] != nil || len(u.roster) < maxContacts) &&
		(v.requests[u.bare] != nil || len(v.requests) < maxRequests) &&
		len(e.bytes()) <= maxRequestSize
}

func (s *Server) subscribe(u, v *user, e *element) {
	if mine := u.item(v.bare); !mine.To && !mine.Ask {
		mine.Ask = true
		s.changed(u, v.bare)
	}
	theirs := v.roster[u.bare]
	switch {
	case theirs != nil && theirs.From: // granted already: the answer was lost
		s.grant(v, u)
		s.sendAvailable(u, el(nsClient, "presence", "type", "subscribed", "from", v.bare))
		s.exchange(v, u)
	case v.redeem(preauth(e)):
		s.grant(v, u)
		s.grant(u, v)
		s.sendAvailable(u, el(nsClient, "presence", "type", "subscribed", "from", v.bare))
		s.exchange(v, u)
		s.exchange(u, v)
	default:
		v.requests[u.bare] = e
		s.dirty[v] = true
		s.sendAvailable(v, e)
	}
}

// grant lets v have u's presence.
func (s *Server) grant(u, v *user) {
	delete(u.requests, v.bare)
	u.item(v.bare).From = true
	s.changed(u, v.bare)
	theirs := v.item(u.bare)
	theirs.To, theirs.Ask = true, false
	s.changed(v, u.bare)
}

// withdraw takes u's presence, or the hope for it, from a contact, and reports which it had.
func (s *Server) withdraw(u *user, bare string) (asked, granted bool) {
	_, asked = u.requests[bare]
	delete(u.requests, bare)
	c := u.roster[bare]
	if granted = c != nil && c.From; granted {
		c.From = false
		s.changed(u, bare)
	}
	if asked {
		s.dirty[u] = true
	}
	return asked, granted
}

// depart makes u's clients unavailable to v's.
func (s *Server) depart(u, v *user) {
	for _, t := range u.sessions {
		if t.presence != nil {
			s.sendAvailable(v, el(nsClient, "presence", "type", "unavailable", "from", t.full))
		}
	}
}

// preauth returns the invitation's token in a request to subscribe (XEP-0379).
func preauth(e *element) string {
	if p := e.child(nsPreauth, "preauth"); p != nil {
		return p.get("token")
	}
	return ""
}
