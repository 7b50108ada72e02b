package signal

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

// kind is the number of a body on the wire.
type kind uint8

const (
	kindVector      kind = 1
	kindAnnounce    kind = 2
	kindHave        kind = 3
	kindDrop        kind = 4
	kindDialBack    kind = 5
	kindLogRequest  kind = 6
	kindLog         kind = 7
	kindSyncRequest kind = 8
	kindPushed      kind = 9
	kindNoDialBack  kind = 10
)

// Limits of the parts of a body. The size of the whole is bounded by MaxSealed.
const (
	maxClone = 64   // bytes of a clone id
	maxRef   = 1024 // bytes of a reference name
	maxKey   = 1024 // bytes of a git-annex key
	maxAddr  = 255  // bytes of an address or service name
	maxHeads = 256
	maxKeys  = 1024
	maxLinks = 16
	maxEdges = 256
	// MaxPaused bounds the clones that a vector names as paused.
	MaxPaused = 32
	// MaxCame bounds the contents that a vector names as come.
	MaxCame = 16
)

// A Hash is the name of a git object (SHA-1).
type Hash [20]byte

// String returns the hash in hex, as git writes it.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is the zero hash, git's way to say "none".
func (h Hash) IsZero() bool { return h == Hash{} }

// UnmarshalCBOR takes a byte string of exactly 20 bytes.
func (h *Hash) UnmarshalCBOR(raw []byte) error { return byteString(h[:], raw) }

// A Digest is a SHA-256.
type Digest [32]byte

// String returns the digest in hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// UnmarshalCBOR takes a byte string of exactly 32 bytes.
func (d *Digest) UnmarshalCBOR(raw []byte) error { return byteString(d[:], raw) }

// A Ticket names one asked-for dial back. It is random and used once.
type Ticket [16]byte

// UnmarshalCBOR takes a byte string of exactly 16 bytes.
func (t *Ticket) UnmarshalCBOR(raw []byte) error { return byteString(t[:], raw) }

// byteString sets dst to the CBOR byte string raw, which must be of the same
// length: the decoder by itself pads, cuts, and takes arrays of numbers.
func byteString(dst, raw []byte) error {
	head := []byte{0x40 | byte(len(dst))} // RFC 8949, section 3, major type 2
	if len(dst) > 23 {
		head = []byte{0x58, byte(len(dst))}
	}
	value, ok := bytes.CutPrefix(raw, head)
	if !ok || len(value) != len(dst) {
		return fmt.Errorf("not a byte string of %d bytes", len(dst))
	}
	copy(dst, value)
	return nil
}

// A Link is one way in which the sender can be dialled.
type Link struct {
	Kind     string `cbor:"1,keyasint"` // "host", "lan", "static"
	Addr     string `cbor:"2,keyasint"` // host:port
	Priority int    `cbor:"3,keyasint"` // higher is tried first
	HostID   string `cbor:"4,keyasint,omitempty"`
}

// An Edge is what the sender has found out about getting content from another clone or a remote, or about putting content to
// a remote.
type Edge struct {
	From string `cbor:"1,keyasint,omitempty"` // id of the clone or remote; "" when To is set
	Kind string `cbor:"2,keyasint"`           // of the link: "host", "lan", "static", "dial-back", "none", "remote"
	Cost uint64 `cbor:"3,keyasint"`           // as git-annex counts: 100 local … 200 network … 1000
	Rate uint64 `cbor:"4,keyasint,omitempty"` // goodput in bytes a second; 0: not measured
	RTT  uint64 `cbor:"5,keyasint,omitempty"` // in microseconds; 0: not measured
	To   string `cbor:"6,keyasint,omitempty"` // id of the remote
}

// A Vector is the state of a clone: the last one is always true, whatever was
// lost before it. It is broadcast as presence.
type Vector struct {
	Head    string          `cbor:"1,keyasint,omitempty"` // reference that HEAD points to; "" when detached
	Heads   map[string]Hash `cbor:"2,keyasint,omitempty"` // full reference names; may be a part, see Fit
	Refs    Digest          `cbor:"3,keyasint"`           // RefsDigest of all heads and tags
	Annex   Hash            `cbor:"4,keyasint"`           // git-annex branch; zero when there is none
	Members Digest          `cbor:"5,keyasint"`           // digest of the member log
	Links   []Link          `cbor:"6,keyasint,omitempty"` // at most 16
	Keys    uint64          `cbor:"7,keyasint"`           // number of keys whose content is present
	Want    []string        `cbor:"8,keyasint,omitempty"` // some keys that are wanted, newest first
	Edges   []Edge          `cbor:"9,keyasint,omitempty"` // at most 256, best first; may be a part, see Fit
	// Paused are the ids of the clones that the sender gives no content, and gets none from, for now; at most MaxPaused, see Fit
	Paused []string `cbor:"10,keyasint,omitempty"`
	// Came are keys whose content is present and of which the git-annex branch does not say so yet; at most MaxCame, see Fit
	Came []string `cbor:"11,keyasint,omitempty"`
}

// An Announce says that a reference moved, and carries the new objects when they
// are small.
type Announce struct {
	Ref       string   `cbor:"1,keyasint"`           // full reference name
	Old       Hash     `cbor:"2,keyasint"`           // zero: created
	New       Hash     `cbor:"3,keyasint"`           // zero: deleted
	Pack      []byte   `cbor:"4,keyasint,omitempty"` // thin pack from Old to New
	Annex     Hash     `cbor:"5,keyasint"`           // git-annex branch now
	AnnexPack []byte   `cbor:"6,keyasint,omitempty"`
	Keys      []string `cbor:"7,keyasint,omitempty"` // keys whose content this clone now has
	Merged    []Hash   `cbor:"8,keyasint,omitempty"` // heads of others that New contains
}

// Have says that the content of keys arrived.
type Have struct {
	Keys   []string `cbor:"1,keyasint"`
	Remote string   `cbor:"2,keyasint,omitempty"` // id of the remote that has it now; "": the sender has
}

// Drop says that the content of keys is gone.
type Drop struct {
	Keys []string `cbor:"1,keyasint"`
}

// Pushed says where the branches of a remote are now.
type Pushed struct {
	Remote string          `cbor:"1,keyasint"` // id of the remote
	Heads  map[string]Hash `cbor:"2,keyasint"` // full reference names as the clones have them
}

// DialBack asks the receiver, who could not be dialled, to dial the sender.
type DialBack struct {
	Ticket  Ticket `cbor:"1,keyasint"`
	Service string `cbor:"2,keyasint"`
	Links   []Link `cbor:"3,keyasint"`
}

// NoDialBack says that the sender cannot dial the receiver either.
type NoDialBack struct {
	Ticket Ticket `cbor:"1,keyasint"`
}

// LogRequest asks for the member log.
type LogRequest struct{}

// Log carries the member log as grove.Marshal writes it.
type Log struct {
	Entries []byte `cbor:"1,keyasint"`
}

// SyncRequest asks the receiver to look at the sender's state now.
type SyncRequest struct{}

func (Vector) kind() kind      { return kindVector }
func (Announce) kind() kind    { return kindAnnounce }
func (Have) kind() kind        { return kindHave }
func (Drop) kind() kind        { return kindDrop }
func (DialBack) kind() kind    { return kindDialBack }
func (LogRequest) kind() kind  { return kindLogRequest }
func (Log) kind() kind         { return kindLog }
func (SyncRequest) kind() kind { return kindSyncRequest }
func (Pushed) kind() kind      { return kindPushed }
func (NoDialBack) kind() kind  { return kindNoDialBack }

func (v Vector) check() error {
	if err := checkHeads(v.Heads); err != nil {
		return err
	}
	if err := checkString("HEAD", v.Head, 0, maxRef); err != nil {
		return err
	}
	if err := checkKeys(v.Want); err != nil {
		return err
	}
	if len(v.Came) > MaxCame {
		return fmt.Errorf("%d contents that came, more than %d", len(v.Came), MaxCame)
	}
	if err := checkKeys(v.Came); err != nil {
		return err
	}
	if err := checkEdges(v.Edges); err != nil {
		return err
	}
	if len(v.Paused) > MaxPaused {
		return fmt.Errorf("%d paused clones, more than %d", len(v.Paused), MaxPaused)
	}
	for _, id := range v.Paused {
		if err := checkString("clone id", id, 1, maxClone); err != nil {
			return err
		}
	}
	return checkLinks(v.Links)
}

func (a Announce) check() error {
	if len(a.Merged) > maxHeads {
		return fmt.Errorf("%d merged heads, more than %d", len(a.Merged), maxHeads)
	}
	if err := checkString("reference", a.Ref, 1, maxRef); err != nil {
		return err
	}
	return checkKeys(a.Keys)
}

func (h Have) check() error {
	if err := checkString("remote's id", h.Remote, 0, maxClone); err != nil {
		return err
	}
	return checkKeys(h.Keys)
}

func (d Drop) check() error { return checkKeys(d.Keys) }

func (p Pushed) check() error {
	if err := checkString("remote's id", p.Remote, 1, maxClone); err != nil {
		return err
	}
	return checkHeads(p.Heads)
}

func (d DialBack) check() error {
	if err := checkString("service", d.Service, 1, maxAddr); err != nil {
		return err
	}
	return checkLinks(d.Links)
}

func (NoDialBack) check() error  { return nil }
func (LogRequest) check() error  { return nil }
func (Log) check() error         { return nil }
func (SyncRequest) check() error { return nil }

func checkString(what, s string, least, most int) error {
	if len(s) < least || len(s) > most {
		return fmt.Errorf("%s of %d bytes, not %d to %d", what, len(s), least, most)
	}
	return nil
}

func checkHeads(heads map[string]Hash) error {
	if len(heads) > maxHeads {
		return fmt.Errorf("%d heads, more than %d", len(heads), maxHeads)
	}
	for name := range heads {
		if err := checkString("reference", name, 1, maxRef); err != nil {
			return err
		}
	}
	return nil
}

func checkKeys(keys []string) error {
	if len(keys) > maxKeys {
		return fmt.Errorf("%d keys, more than %d", len(keys), maxKeys)
	}
	for _, k := range keys {
		if err := checkString("key", k, 1, maxKey); err != nil {
			return err
		}
	}
	return nil
}

func checkEdges(edges []Edge) error {
	if len(edges) > maxEdges {
		return fmt.Errorf("%d edges, more than %d", len(edges), maxEdges)
	}
	for _, e := range edges {
		if (e.From == "") == (e.To == "") {
			return fmt.Errorf("an edge from %q to %q: one of them is the sender", e.From, e.To)
		}
		if err := checkString("clone id", e.From+e.To, 1, maxClone); err != nil {
			return err
		}
		if err := checkString("kind of link", e.Kind, 1, maxAddr); err != nil {
			return err
		}
	}
	return nil
}

func checkLinks(links []Link) error {
	if len(links) > maxLinks {
		return fmt.Errorf("%d links, more than %d", len(links), maxLinks)
	}
	for _, l := range links {
		if err := checkString("kind of link", l.Kind, 1, maxAddr); err != nil {
			return err
		}
		if err := checkString("address", l.Addr, 1, maxAddr); err != nil {
			return err
		}
		if err := checkString("host id", l.HostID, 0, maxAddr); err != nil {
			return err
		}
	}
	return nil
}
