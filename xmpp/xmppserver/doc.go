// Package xmppserver is a small XMPP server for the demo, a LAN or a home. It
// is no general XMPP server: it has one domain, talks to no other server, and
// knows only what Arbor and ordinary chat clients need to meet each other
// (RFC 6120, RFC 6121, XEP-0198, XEP-0077). People with accounts elsewhere need
// a real server; the reference server of this project stays ejabberd.
//
// The package owns the accounts, rosters and offline messages of its domain,
// kept in one directory, and every connection of its clients. It never keeps a
// password, never reads or changes what clients put into their stanzas, and
// never forwards anything it would not accept itself: what leaves is written
// anew from what was parsed, so that no client can break another one's stream.
//
// One mutex guards everything clients share (Server.mu). Each connection has
// two goroutines: a reader, which parses a stanza and routes it under the
// mutex, and a writer, which sends what others appended to its buffer. Changes
// that must outlive the process are on disk before the reader goes on, so a
// stream management acknowledgement covers only what is durable.
package xmppserver
