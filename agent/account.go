package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/sync/grove"
	"github.com/git-arbor/arbor/xmpp"
	"github.com/git-arbor/arbor/xmpp/signal"
)

// account is the machine's Jabber account as the clones use it: one session for all.
type account struct {
	client *xmpp.Client
	jid    string // bare

	mu       sync.Mutex
	vectors  map[string]xmpp.Payload // last values, by clone id
	contacts map[string]xmpp.RosterItem
	asked    map[string]bool // strangers who asked for our presence
	greeted  map[string]bool // members who do not get our presence yet, since the session began
}

func newAccount(conf config.Account, resource string, a *agent) (*account, error) {
	opt, err := sessionOptions(conf, resource)
	if err != nil {
		return nil, err
	}
	opt.Log = a.log
	client, err := xmpp.New(opt)
	if err != nil {
		return nil, err
	}
	return &account{
		client: client, jid: conf.JID, vectors: make(map[string]xmpp.Payload),
		contacts: make(map[string]xmpp.RosterItem), asked: make(map[string]bool), greeted: make(map[string]bool),
	}, nil
}

// sessionOptions turns the configured account into what package xmpp takes.
func sessionOptions(conf config.Account, resource string) (xmpp.Options, error) {
	if conf.JID == "" {
		return xmpp.Options{}, hinted(errors.New("no Jabber account is configured"), "git arbor account you@example.org")
	}
	opt := xmpp.Options{
		JID: conf.JID, Password: conf.Password, Resource: resource, Server: conf.Server, DirectTLS: conf.DirectTLS,
	}
	if conf.Shared {
		opt.Priority = -1
	}
	var err error
	opt.RootCAs, err = conf.RootCAs()
	return opt, err
}

// setPresence sets or takes back the last value of a clone.
func (acc *account) setPresence(clone string, p *xmpp.Payload) error {
	acc.mu.Lock()
	defer acc.mu.Unlock()
	if p == nil {
		delete(acc.vectors, clone)
	} else {
		acc.vectors[clone] = *p
	}
	return acc.client.SetPresence(acc.payloads())
}

// payloads are the last values. The mutex is held.
func (acc *account) payloads() []xmpp.Payload {
	var all []xmpp.Payload
	for _, id := range slices.Sorted(maps.Keys(acc.vectors)) {
		all = append(all, acc.vectors[id])
	}
	return all
}

// seenBy reports whether the server spreads our presence to an account. Of two that have just become contacts one may see the other first, for
// subscriptions take their time.
func (a *agent) seenBy(jid string) bool {
	acc := a.current()
	if acc == nil {
		return true
	}
	acc.mu.Lock()
	defer acc.mu.Unlock()
	return acc.spreadsTo(jid)
}

// spreadsTo is seenBy while there is an account. The mutex is held.
func (acc *account) spreadsTo(jid string) bool {
	subscription := acc.contacts[jid].Subscription
	return jid == acc.jid || subscription == "from" || subscription == "both"
}

// route gives each event of the session to whom it concerns.
func (a *agent) route(ctx context.Context, acc *account) {
	for e := range acc.client.Events() {
		switch e := e.(type) {
		case xmpp.Online:
			a.setSession(status.SessionOnline)
			a.store.Clear("xmpp", "")
			if !e.Resumed { // the server now tells who is there
				acc.mu.Lock()
				clear(acc.greeted)
				acc.mu.Unlock()
				a.each(func(c *clone, _ *grove.Grove) { c.post(ctx, func(context.Context) { c.offline("") }) })
			}
		case xmpp.Offline:
			a.wentOffline(acc, e)
		case xmpp.Presence:
			for _, p := range e.Payloads {
				a.deliver(ctx, e.From, p)
			}
			gone := (*clone).presented
			if !e.Available {
				gone = (*clone).offline
			}
			a.each(func(c *clone, _ *grove.Grove) { c.post(ctx, func(context.Context) { gone(c, e.From) }) })
		case xmpp.Message:
			a.deliver(ctx, e.From, e.Payload)
		case xmpp.SubscribeRequest:
			acc.mu.Lock()
			acc.asked[e.From] = true
			acc.mu.Unlock()
			a.keepContacts(ctx, acc, e.Token)
		case xmpp.Roster:
			acc.mu.Lock()
			clear(acc.contacts)
			for _, item := range e.Items {
				acc.contacts[item.JID] = item
			}
			acc.mu.Unlock()
			a.keepContacts(ctx, acc, "")
		}
	}
}

// deliver hands a payload to the clones whose grove has the key it is sealed with. One that nobody can open may ask to
// be admitted, or tell of a new key.
func (a *agent) deliver(ctx context.Context, from string, p xmpp.Payload) {
	var opens, all []*clone
	a.each(func(c *clone, g *grove.Grove) {
		all = append(all, c)
		if a.opens(g, p.Tag) {
			opens = append(opens, c)
		}
	})
	for _, c := range opens {
		c.post(ctx, func(ctx context.Context) { c.receive(ctx, from, p) })
	}
	if len(opens) > 0 {
		return
	}
	for _, c := range all {
		c.post(ctx, func(ctx context.Context) {
			if !c.admit(ctx, from, p) {
				c.unopened(ctx, from)
			}
		})
	}
}

// opens reports whether the payload's tag is that of a key of the grove, or of this device.
func (a *agent) opens(g *grove.Grove, tag string) bool {
	if tag == signal.DeviceTag(a.device.HPKE().PublicKey().Bytes()) {
		return true
	}
	return slices.ContainsFunc(g.OpenKeys(), func(k grove.Key) bool { return signal.Tag(signal.GroveKey(k)) == tag })
}

// wentOffline tells people why there is no session.
func (a *agent) wentOffline(acc *account, e xmpp.Offline) {
	state, hint := status.SessionConnecting, ""
	switch e.Reason {
	case xmpp.ReasonNotAuthorized:
		state, hint = status.SessionRefused, "git arbor account "+acc.jid+" sets the password"
	case xmpp.ReasonPassword:
		state, hint = status.SessionRefused, "check password_file or password_command in the configuration"
	case xmpp.ReasonConflict:
		state, hint = status.SessionRefused, "another agent uses this account with the same device key: give each machine its own state folder"
	case xmpp.ReasonHostUnknown:
		state, hint = status.SessionOffline, "check the domain of the account, or set server in the configuration"
	case xmpp.ReasonCertificate:
		state, hint = status.SessionRefused, "set ca_file to the server's CA if the certificate is its own"
	case xmpp.ReasonPolicyViolation, xmpp.ReasonProtocol:
		state = status.SessionOffline
	case xmpp.ReasonNetwork, xmpp.ReasonShutdown, xmpp.ReasonBusy:
		state = status.SessionOffline
	}
	a.setSession(state)
	a.store.Raise(status.Warning{Code: "xmpp", Text: fmt.Sprintf("no session as %s (%s): %v", acc.jid, e.Reason, e.Err), Hint: hint})
}

// keepContacts makes the roster what the groves need: the members' presence in both directions, nobody else's.
func (a *agent) keepContacts(ctx context.Context, acc *account, token string) {
	members, invited := a.memberJIDs(), token != "" && a.expects(token)
	acc.mu.Lock()
	defer acc.mu.Unlock()
	for jid := range members {
		if jid == acc.jid {
			continue
		}
		item := acc.contacts[jid]
		if acc.asked[jid] {
			if a.tried("approve", jid, acc.client.Approve(ctx, jid)) {
				delete(acc.asked, jid)
				a.store.Clear("stranger "+jid, "")
			}
		}
		if item.Subscription != "to" && item.Subscription != "both" && !item.Ask {
			if a.tried("subscribe", jid, acc.client.Subscribe(ctx, jid, "")) {
				item.Ask, item.JID = true, jid
				acc.contacts[jid] = item
			}
		}
		a.greet(ctx, acc, jid)
	}
	for jid := range acc.asked {
		if !members[jid] && !invited {
			a.store.Raise(status.Warning{
				Code: "stranger " + jid, Text: jid + " asks for your presence and is no member of your groves; nothing is told",
				Hint: "ignore it, or git arbor invite, if you know who it is",
			})
		}
	}
}

// greet shows a member that we are here, who does not get our presence yet: servers let through few subscriptions a minute. The mutex of acc is held.
func (a *agent) greet(ctx context.Context, acc *account, jid string) {
	if acc.spreadsTo(jid) || acc.greeted[jid] || len(acc.vectors) == 0 {
		return
	}
	acc.greeted[jid] = a.tried("greet", jid, acc.client.Greet(ctx, jid, acc.payloads()))
}

// greetBack is greet for a member that has just come online: so it hears, too, when this session ends.
func (a *agent) greetBack(ctx context.Context, jid string) {
	if acc := a.current(); acc != nil {
		acc.mu.Lock()
		defer acc.mu.Unlock()
		delete(acc.greeted, jid)
		a.greet(ctx, acc, jid)
	}
}

// dropContact ends the presence between us and an account none of whose devices is a member any more.
func (a *agent) dropContact(ctx context.Context, jid string) {
	acc := a.current()
	if acc == nil || jid == acc.jid || a.memberJIDs()[jid] {
		return
	}
	if a.tried("unsubscribe", jid, acc.client.Unsubscribe(ctx, jid)) {
		acc.mu.Lock()
		delete(acc.contacts, jid)
		acc.mu.Unlock()
	}
}

func (a *agent) tried(what, jid string, err error) bool {
	if err != nil && !errors.Is(err, xmpp.ErrOffline) {
		a.log.Warn(what, "jid", jid, "err", err)
	}
	return err == nil
}
