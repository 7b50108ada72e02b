package xmpp

import (
	"context"
	"errors"
	"fmt"

	"mellium.im/xmpp/jid"
)

const (
	// MaxPresence bounds the data of one payload in a presence, in bytes.
	MaxPresence = 4 << 10
	// MaxMessage bounds the data of the payload of a message, in bytes.
	MaxMessage = 48 << 10
)

// Errors of the sending methods.
var (
	ErrOffline = errors.New("not online")
	ErrTooBig  = errors.New("payload too big")
	ErrBusy    = errors.New("too much is waiting to be sent")
)

// SetPresence makes payloads the last value: it is broadcast now if it differs
// from the one before, and again after each login. Values set faster than they
// can be sent are coalesced; only the newest is sent. It never blocks, keeps no
// reference to payloads, and returns ErrTooBig if one exceeds MaxPresence or all
// together exceed MaxMessage.
func (c *Client) SetPresence(payloads []Payload) error {
	if !fitPresence(payloads) {
		return fmt.Errorf("set the presence: %w", ErrTooBig)
	}
	c.out.setPresence(encodePresence("", c.opt.Priority, payloads))
	return nil
}

// Greet sends payloads in a presence to a bare JID, which need not be subscribed to
// ours (RFC 6121 §4.6): whoever is online there gets it, and is told when our session
// ends. Errors as Send and SetPresence.
func (c *Client) Greet(ctx context.Context, bare string, payloads []Payload) error {
	address, err := jid.Parse(bare)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("greet %q: %w", bare, err)
	case !fitPresence(payloads):
		return fmt.Errorf("greet %s: %w", bare, ErrTooBig)
	}
	if err := c.out.message(encodePresence(address.Bare().String(), 0, payloads)); err != nil {
		return fmt.Errorf("greet %s: %w", bare, err)
	}
	return nil
}

// fitPresence says whether a presence has room for payloads.
func fitPresence(payloads []Payload) bool {
	sum, largest := 0, 0
	for _, p := range payloads {
		sum, largest = sum+len(p.Data), max(largest, len(p.Data))
	}
	return largest <= MaxPresence && sum <= MaxMessage && len(payloads) <= maxPayloads
}

// Send queues a headline message to a full JID; it is not stored for somebody
// who is offline. It never blocks on the network. Errors: ErrOffline, ErrTooBig
// (MaxMessage), ErrBusy, ctx.Err(), a malformed JID.
func (c *Client) Send(ctx context.Context, to string, p Payload) error {
	return c.send(ctx, to, "headline", p)
}

// SendNormal is like Send with a message of type normal, which servers store
// for a bare JID that is offline.
func (c *Client) SendNormal(ctx context.Context, to string, p Payload) error {
	return c.send(ctx, to, "normal", p)
}

func (c *Client) send(ctx context.Context, to, kind string, p Payload) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	address, err := jid.Parse(to)
	if err != nil {
		return fmt.Errorf("send to %q: %w", to, err)
	}
	if len(p.Data) > MaxMessage {
		return fmt.Errorf("send to %s: %w", to, ErrTooBig)
	}
	if err := c.out.message(encodeMessage(address.String(), kind, p)); err != nil {
		return fmt.Errorf("send to %s: %w", to, err)
	}
	return nil
}

// Subscribe asks for the presence of a bare JID, with the token that proves an
// invitation (may be empty). Subscription stanzas are paced, since servers limit
// them to a few a minute. Errors as Send.
func (c *Client) Subscribe(ctx context.Context, bare, token string) error {
	return c.subscription(ctx, bare, "subscribe", token)
}

// Approve grants bare our presence. Errors as Send.
func (c *Client) Approve(ctx context.Context, bare string) error {
	return c.subscription(ctx, bare, "subscribed", "")
}

// Unsubscribe refuses a request of bare and removes it from the roster, which
// ends the subscriptions of both directions. Errors as Send.
func (c *Client) Unsubscribe(ctx context.Context, bare string) error {
	if err := c.subscription(ctx, bare, "unsubscribed", ""); err != nil {
		return err
	}
	contact, err := jid.Parse(bare)
	if err != nil {
		return err
	}
	c.out.request(encodeRosterRemove(newID(), contact.Bare().String()))
	return nil
}

func (c *Client) subscription(ctx context.Context, bare, kind, token string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	contact, err := jid.Parse(bare)
	if err != nil {
		return fmt.Errorf("send %s to %q: %w", kind, bare, err)
	}
	if len(token) > maxToken {
		return fmt.Errorf("send %s to %s: %w", kind, bare, ErrTooBig)
	}
	if err := c.out.subscription(encodeSubscription(contact.Bare().String(), kind, token)); err != nil {
		return fmt.Errorf("send %s to %s: %w", kind, bare, err)
	}
	return nil
}
