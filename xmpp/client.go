package xmpp

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/idna"
	"golang.org/x/time/rate"
	"mellium.im/xmpp/jid"
)

// Options configure a [Client]. JID, Password and Resource are required.
type Options struct {
	JID      string                                // bare JID of the account
	Password func(context.Context) (string, error) // asked for before each login
	Resource string                                // the same one for ever: a new session replaces the dead one of the same machine

	Server    string         // host:port instead of what DNS says
	DirectTLS bool           // Server speaks TLS from the first byte (XEP-0368), not STARTTLS
	RootCAs   *x509.CertPool // nil: the system's
	Priority  int8           // of our presence; negative where people use the account too

	// Rate (bytes per second) and Burst (bytes) are a hard limit on what is sent.
	// Zero means to send at a pace that every public server takes, and faster only
	// while the server's acknowledgements show that it keeps up.
	Rate  rate.Limit
	Burst int

	// Dial opens the TCP connection; nil means a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  *slog.Logger // nil: discard
}

// Client is one XMPP session that is kept alive for ever. Its methods may be
// called from any goroutine, before, during and after Run.
type Client struct {
	opt       Options
	account   jid.JID // bare
	domain    string  // of the account, as DNS and certificates write it
	log       *slog.Logger
	timing    timing
	maxTLS    uint16 // 0: what crypto/tls knows
	maxStanza int    // bytes
	events    chan Event
	out       *outbox
	moved     chan struct{} // 1 long: NetworkChanged was called
	handled   atomic.Uint32 // stanzas of the session that were handled

	// Owned by Run, and lent to the reader of the session that it serves.
	session    resumption
	roster     map[string]RosterItem
	rosterID   string // of the request for the roster that is not answered yet
	redirected bool   // the last attempt followed a see-other-host
	redirect   string // where the next attempt goes, by see-other-host
}

// New checks the options. The client does nothing until [Client.Run].
func New(opt Options) (*Client, error) {
	account, err := jid.Parse(opt.JID)
	if err != nil {
		return nil, fmt.Errorf("parse the account %q: %w", opt.JID, err)
	}
	if account.Localpart() == "" || account.Resourcepart() != "" {
		return nil, fmt.Errorf("parse the account %q: it must look like name@domain", opt.JID)
	}
	domain := strings.Trim(account.Domainpart(), "[]")
	if net.ParseIP(domain) == nil {
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return nil, fmt.Errorf("parse the account %q: %w", opt.JID, err)
		}
	}
	if full, err := account.WithResource(opt.Resource); err != nil || full.Resourcepart() == "" {
		return nil, fmt.Errorf("the resource %q is none", opt.Resource)
	}
	if opt.Server != "" {
		if _, _, err := net.SplitHostPort(opt.Server); err != nil {
			return nil, fmt.Errorf("parse the server: %w", err)
		}
	}
	if opt.Dial == nil {
		opt.Dial = defaultDial
	}
	return &Client{
		opt:       opt,
		account:   account,
		domain:    domain,
		log:       cmp.Or(opt.Log, slog.New(slog.DiscardHandler)),
		timing:    defaultTiming,
		maxStanza: maxStanza,
		events:    make(chan Event, 256),
		out:       newOutbox(opt.Priority),
		moved:     make(chan struct{}, 1),
		roster:    map[string]RosterItem{},
	}, nil
}

// Run connects, serves and reconnects until ctx ends, and returns ctx.Err(). It
// may be called once.
func (c *Client) Run(ctx context.Context) error {
	defer close(c.events)
	var back backoff
	for ctx.Err() == nil {
		var lived time.Duration
		n, err := c.connect(ctx)
		if err == nil {
			up := time.Now()
			c.log.Info("online", "jid", c.session.jid, "resumed", n.resumed, "managed", n.managed)
			err = c.serve(ctx, n)
			lived = time.Since(up)
		}
		if ctx.Err() != nil {
			break
		}
		reason := c.concede(err)
		retry := min(back.next(reason, lived), c.timing.retry)
		c.log.Warn("offline", "reason", reason.String(), "err", err, "retry", retry)
		if c.emit(ctx, Offline{Err: err, Reason: reason, Retry: retry}) != nil {
			break
		}
		moved := c.moved
		if reason != ReasonNetwork { // another network makes no difference
			moved = nil
		}
		timer := time.NewTimer(retry)
		select {
		case <-timer.C:
		case <-moved:
			back = backoff{}
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return ctx.Err()
}

// NetworkChanged says that this machine's addresses are others than before: a session over an address that is gone is begun anew at
// once, any other is asked for a sign of life, and without one the next attempt is made now.
func (c *Client) NetworkChanged() {
	select {
	case c.moved <- struct{}{}:
	default:
	}
}

// concede finds the reason of a failure and gives up what must not be taken into
// the next attempt.
func (c *Client) concede(err error) Reason {
	reason := classify(err)
	e, ended := asStreamError(err)
	c.redirect = ""
	if ended && e.Condition == "see-other-host" && !c.redirected {
		c.redirect = e.Host
	}
	c.redirected = c.redirect != ""
	switch {
	case errors.Is(err, errSession), ended && (reason == ReasonPolicyViolation || reason == ReasonProtocol):
		c.session = resumption{}
		c.out.forget() // what the server did not like may be among it
	case reason == ReasonConflict:
		c.session = resumption{}
	}
	return reason
}

func (c *Client) emit(ctx context.Context, e Event) error {
	select {
	case c.events <- e:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Events delivers what happens, in order. The reader must keep reading: a full
// channel stops the session from reading the network. It is closed when Run
// returns.
func (c *Client) Events() <-chan Event { return c.events }
