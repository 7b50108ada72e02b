// Package signal owns the sealed payloads that Arbor's agents send each other
// over XMPP: their content, their encoding, how they are encrypted, signed,
// padded and recognised when they are replayed. It is pure: it does no I/O,
// keeps no keys, knows no XMPP stanza, and never decides who is a member. The
// caller checks that the device Open returns is one. docs/protocol.md is the
// specification of the bytes.
package signal

import (
	"encoding/hex"
	"errors"
	"time"
)

// Version is the first byte of what Seal makes.
const Version = 1

// Limits of what is sealed and of what is accepted, in bytes.
const (
	// MaxSealed is the largest sealed signal. Base64 makes 43,692 bytes of it,
	// which passes every server that follows the usual 64 kB stanza limit.
	MaxSealed = 32 << 10
	// MaxPresence is the largest sealed Vector, because a server stores it and
	// hands it to everybody who comes online.
	MaxPresence = 4 << 10
	// minSealed is the smallest size that padding makes.
	minSealed = 256
)

// Errors of Seal and Open, to be tested with errors.Is. Those of Open are what a
// stranger, a hostile server or a newer version can cause: none is a reason to
// do more than count.
var (
	// ErrUnknownKey says that the signal is sealed with a key that was not
	// given: a newer one (ask for the member log) or another grove's.
	ErrUnknownKey = errors.New("sealed with an unknown key")
	// ErrForged says that encryption or signature do not hold, for instance
	// because the server changed the bytes or attributed them to another sender.
	ErrForged = errors.New("seal or signature does not hold")
	// ErrMalformed says that a content which a grove key protects is not what
	// the protocol allows.
	ErrMalformed = errors.New("malformed signal")
	// ErrUnknownBody says that a well-formed signal is of a kind this version
	// does not know.
	ErrUnknownBody = errors.New("unknown kind of signal")
	// ErrTooBig says that the content does not fit; see MaxSealed, MaxPresence.
	ErrTooBig = errors.New("signal too big")
)

// A GroveKey is the symmetric key that the members of a grove share. ID travels
// in clear and says nothing to those who do not have Secret.
type GroveKey struct {
	ID     [8]byte
	Secret [32]byte
}

// Tag returns what names the key in clear on the wire: its ID in hex.
func Tag(k GroveKey) string { return hex.EncodeToString(k.ID[:]) }

// A Signal is one announcement of one clone. Its fields but Device are signed
// and encrypted by Seal.
type Signal struct {
	Device [32]byte // Ed25519 public key of the sender; set by Open, ignored by Seal
	Clone  string   // clone id of the sender, 1 to 64 bytes
	Epoch  uint64   // grows with each start of the sender's agent
	Seq    uint64   // grows with each signal within an epoch, from 1
	Time   time.Time
	Body   Body
}

// A Body is what a signal says: a Vector, Announce, Have, Drop, DialBack,
// LogRequest, Log or SyncRequest, by value.
type Body interface {
	kind() kind
	check() error
}
