package xmpp

import (
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	"mellium.im/xmpp/jid"
)

// handle acts on one stanza. It returns an error only when the session must end,
// which nothing that a peer sends can make it.
func (s *session) handle(ctx context.Context, st stanza) error {
	var err error
	switch st.Name {
	case xml.Name{Space: nsSM, Local: "r"}:
		s.c.out.acknowledge(s.c.handled.Load())
		return nil
	case xml.Name{Space: nsSM, Local: "a"}:
		if !s.c.out.acknowledged(st.H) {
			return fmt.Errorf("%w: the server acknowledged what was never sent", errSession)
		}
		return nil
	case xml.Name{Space: nsClient, Local: "message"}:
		err = s.message(ctx, st)
	case xml.Name{Space: nsClient, Local: "presence"}:
		err = s.presence(ctx, st)
	case xml.Name{Space: nsClient, Local: "iq"}:
		err = s.iq(ctx, st)
	default:
		return nil
	}
	if err == nil {
		s.c.handled.Add(1)
	}
	return err
}

// sender normalises the address that the server put on a stanza; none means our
// own account. Servers let addresses pass that are none by RFC 7622.
func (s *session) sender(st stanza) (jid.JID, bool) {
	if st.From == "" {
		return s.c.account, true
	}
	from, err := jid.Parse(st.From)
	if err != nil {
		s.c.log.Debug("dropped a stanza", "from", st.From, "err", err)
		return jid.JID{}, false
	}
	return from, true
}

func (s *session) message(ctx context.Context, st stanza) error {
	from, ok := s.sender(st)
	if !ok {
		return nil
	}
	if st.Type == "error" {
		s.c.log.Debug("message bounced", "from", from, "condition", st.Condition)
		return nil
	}
	for _, p := range st.Payloads {
		if err := s.deliver(ctx, Message{From: from.String(), Payload: p, Delayed: st.Delayed}); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) presence(ctx context.Context, st stanza) error {
	from, ok := s.sender(st)
	if !ok || from.String() == s.c.session.jid {
		return nil
	}
	switch st.Type {
	case "", "unavailable":
		if from.Resourcepart() == "" {
			return nil
		}
		p := Presence{From: from.String(), Available: st.Type == "", Delayed: st.Delayed}
		if p.Available {
			p.Payloads = st.Payloads
		}
		return s.deliver(ctx, p)
	case "subscribe":
		return s.deliver(ctx, SubscribeRequest{From: from.Bare().String(), Token: st.Token})
	case "error":
		s.c.log.Debug("presence bounced", "from", from, "condition", st.Condition)
	}
	return nil
}

func (s *session) iq(ctx context.Context, st stanza) error {
	own := st.From == "" || st.From == s.c.account.String()
	server := own || st.From == s.c.account.Domainpart() || st.From == s.c.session.jid
	switch st.Type {
	case "result", "error":
		if !server {
			return nil
		}
		s.c.out.answered(st.ID)
		if st.ID == s.c.rosterID && st.Type == "result" {
			s.c.rosterID = ""
			s.c.roster = map[string]RosterItem{}
			return s.updateRoster(ctx, st.Roster)
		}
		return nil
	case "get", "set":
	default:
		return nil
	}

	// The address is given back as it came, and need not be one.
	reply := s.c.out.reply
	if server {
		reply = s.c.out.request
	}
	switch {
	case st.Query.Local == "":
		reply(encodeError(st.ID, st.From, "modify", "bad-request"))
	case st.Type == "get" && st.Query == xml.Name{Space: nsPing, Local: "ping"}:
		reply(encodeIQ("result", st.ID, st.From, ""))
	case st.Type == "set" && st.Query == xml.Name{Space: nsRoster, Local: "query"} && own:
		reply(encodeIQ("result", st.ID, st.From, ""))
		return s.updateRoster(ctx, st.Roster)
	default:
		reply(encodeError(st.ID, st.From, "cancel", "service-unavailable"))
	}
	return nil
}

// updateRoster applies items of a result or a push (RFC 6121 §2.1) and tells the
// owner the whole roster.
func (s *session) updateRoster(ctx context.Context, items []rosterItem) error {
	for _, item := range items {
		contact, err := jid.Parse(item.JID)
		if err != nil {
			continue
		}
		bare := contact.Bare().String()
		if item.Subscription == "remove" {
			delete(s.c.roster, bare)
		} else if len(s.c.roster) < maxRoster {
			s.c.roster[bare] = RosterItem{JID: bare, Subscription: cmp.Or(item.Subscription, "none"), Ask: item.Ask == "subscribe"}
		}
	}
	roster := Roster{Items: make([]RosterItem, 0, len(s.c.roster))}
	for _, item := range s.c.roster {
		roster.Items = append(roster.Items, item)
	}
	slices.SortFunc(roster.Items, func(a, b RosterItem) int { return strings.Compare(a.JID, b.JID) })
	return s.deliver(ctx, roster)
}
