// Package xmpp keeps one XMPP client session alive: it logs in, stays logged in
// through broken links and server restarts, and carries Arbor's payloads in
// presence (the last value, which a server hands to every contact that comes
// online) and in messages (what is new, for one peer).
//
// It owns everything between the socket and the [Event] channel: finding the
// server (RFC 6120 §3.2, XEP-0368), TLS, SASL SCRAM, resource binding, stream
// management with resumption (XEP-0198), the roster and subscriptions (RFC 6121
// §2 and §3), the pace of what is sent, and the answer to each way in which a
// session ends.
//
// It never looks into a payload, never decides whom to trust, and never keeps a
// password. Whatever a peer sends is foreign input: it is bounded, and what
// cannot be understood is dropped. No stanza ends the session.
package xmpp
