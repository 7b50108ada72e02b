package xmpp

import "time"

// NSSignal is the namespace of the element that carries a [Payload]:
//
//	<s xmlns='urn:arbor:signal:1' k='TAG'>BASE64</s>
const NSSignal = "urn:arbor:signal:1"

// Payload is one opaque, already sealed value.
type Payload struct {
	Tag  string // travels in clear: the id of the key that opens Data
	Data []byte
}

// Event is what a [Client] tells its owner. It is one of [Online], [Offline],
// [Presence], [Message], [SubscribeRequest] and [Roster].
type Event interface{ event() }

// Online says that the session is up.
type Online struct {
	JID     string // the full JID the server bound
	Resumed bool   // the old session goes on: contacts noticed nothing, nothing was lost
}

// Offline says that the session is down, or that an attempt to log in failed.
type Offline struct {
	Err    error
	Reason Reason
	Retry  time.Duration // until the next attempt
}

// Presence is the last value of a contact's resource. Own other resources are
// reported too.
type Presence struct {
	From      string // full JID
	Available bool
	Payloads  []Payload // nil unless Available
	Delayed   bool      // the server kept it: the contact sent it before we came online
}

// Message is one payload for us. Anybody who knows our JID can send one, and
// one may come twice when a link broke.
type Message struct {
	From    string // full JID; bare when the sender has no resource
	Payload Payload
	Delayed bool // the server kept it while we were offline
}

// SubscribeRequest says that somebody asks for our presence. It is answered with
// [Client.Approve] or [Client.Unsubscribe], or not at all.
type SubscribeRequest struct {
	From  string // bare JID
	Token string // of <preauth/> (XEP-0379), "" when the server stripped it
}

// Roster is the whole contact list. It is sent after each login that was not
// resumed and after each change.
type Roster struct {
	Items []RosterItem
}

// RosterItem is one contact (RFC 6121 §2.1.2).
type RosterItem struct {
	JID          string // bare JID
	Subscription string // "none", "to", "from" or "both"
	Ask          bool   // our request to subscribe is unanswered
}

func (Online) event()           {}
func (Offline) event()          {}
func (Presence) event()         {}
func (Message) event()          {}
func (SubscribeRequest) event() {}
func (Roster) event()           {}
