package grove

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// entryKind is the number of a kind of entry in the log.
type entryKind uint8

const (
	kindFound  entryKind = 1 // makes the grove and its first member
	kindAdd    entryKind = 2 // makes a member, or says something new of one
	kindRevoke entryKind = 3 // ends a membership
	kindRekey  entryKind = 4 // hands a grove key to all members
)

// domainEntry is signed in front of every entry.
const domainEntry = "arbor member entry v1\x00"

// Limits of an entry. They keep a log of maxEntries below MaxLog.
const (
	maxEntrySize = 32 << 10
	maxParents   = 16 // of an entry other than a rekey
	maxJID       = 512
	maxResource  = 256
	maxName      = 64
	maxTime      = 253402300799 // the last second of the year 9999
)

// An entryID is the SHA-256 of an entry with its signature.
type entryID [32]byte

func (id *entryID) UnmarshalCBOR(raw []byte) error { return byteString(id[:], raw) }

// UnmarshalCBOR takes a byte string of exactly 16 bytes.
func (id *ID) UnmarshalCBOR(raw []byte) error { return byteString(id[:], raw) }

// A keyID names a grove key; see newKey.
type keyID [8]byte

func (id *keyID) UnmarshalCBOR(raw []byte) error { return byteString(id[:], raw) }

// bytes32 is a key of 32 bytes.
type bytes32 [32]byte

func (k *bytes32) UnmarshalCBOR(raw []byte) error { return byteString(k[:], raw) }

// wrapped is a grove key sealed by HPKE: encapsulated key, key, tag.
type wrapped [32 + 32 + 16]byte

func (w *wrapped) UnmarshalCBOR(raw []byte) error { return byteString(w[:], raw) }

// entryBody is what the author of an entry signs.
type entryBody struct {
	Kind    entryKind   `cbor:"1,keyasint"`
	Grove   ID          `cbor:"2,keyasint"` // zero in the founding entry, whose hash it is
	Author  DeviceID    `cbor:"3,keyasint"`
	Parents []entryID   `cbor:"4,keyasint"` // ascending; what the author knew
	Time    int64       `cbor:"5,keyasint"` // Unix seconds, for people only
	Member  *memberInfo `cbor:"6,keyasint,omitempty"`
	Target  *DeviceID   `cbor:"7,keyasint,omitempty"`
	Key     *rekeyInfo  `cbor:"8,keyasint,omitempty"`
	Nonce   []byte      `cbor:"9,keyasint,omitempty"` // 16 random bytes of a founding entry
}

// memberInfo is what a found or add entry says of a device.
type memberInfo struct {
	Device   DeviceID `cbor:"1,keyasint"`
	HPKE     bytes32  `cbor:"2,keyasint"`
	JID      string   `cbor:"3,keyasint"`
	Resource string   `cbor:"4,keyasint"`
	Name     string   `cbor:"5,keyasint"`
}

// rekeyInfo is a grove key for each member, by device in ascending order.
type rekeyInfo struct {
	ID    keyID  `cbor:"1,keyasint"`
	Wraps []wrap `cbor:"2,keyasint"`
}

type wrap struct {
	Device DeviceID `cbor:"1,keyasint"`
	Sealed wrapped  `cbor:"2,keyasint"`
}

// An entry is a signed part of the log. raw is the signature followed by the body:
// a form that nobody but the author can vary.
type entry struct {
	id   entryID
	raw  []byte
	body entryBody
}

// signEntry makes an entry of a body.
func signEntry(key ed25519.PrivateKey, body entryBody) (entry, error) {
	slices.SortFunc(body.Parents, func(a, b entryID) int { return bytes.Compare(a[:], b[:]) })
	data, err := encMode.Marshal(body)
	if err != nil {
		return entry{}, fmt.Errorf("encode entry: %w", err)
	}
	signature := ed25519.Sign(key, append([]byte(domainEntry), data...))
	return parseEntry(append(signature, data...))
}

// parseEntry reads an entry and checks all that can be checked of it alone.
func parseEntry(raw []byte) (entry, error) {
	if len(raw) <= ed25519.SignatureSize || len(raw) > maxEntrySize {
		return entry{}, fmt.Errorf("entry of %d bytes", len(raw))
	}
	signature, data := raw[:ed25519.SignatureSize], raw[ed25519.SignatureSize:]
	e := entry{id: sha256.Sum256(raw), raw: raw}
	if err := decMode.Unmarshal(data, &e.body); err != nil {
		return entry{}, fmt.Errorf("decode entry: %w", err)
	}
	if err := e.body.check(); err != nil {
		return entry{}, err
	}
	if !ed25519.Verify(e.body.Author[:], append([]byte(domainEntry), data...), signature) {
		return entry{}, errors.New("signature of entry does not hold")
	}
	return e, nil
}

// check finds what no author may write.
func (b *entryBody) check() error {
	has := func(member, target, key, nonce bool) bool {
		return (b.Member != nil) == member && (b.Target != nil) == target && (b.Key != nil) == key && (len(b.Nonce) == 16) == nonce &&
			(nonce || len(b.Nonce) == 0)
	}
	ok, most := false, maxParents
	switch b.Kind {
	case kindFound:
		ok = has(true, false, false, true) && b.Grove == ID{} && b.Member.Device == b.Author
		most = 0
	case kindAdd:
		ok = has(true, false, false, false)
	case kindRevoke:
		ok = has(false, true, false, false)
	case kindRekey:
		ok = has(false, false, true, false)
		most = maxEntries
	}
	switch {
	case !ok:
		return fmt.Errorf("entry of kind %d has the wrong parts", b.Kind)
	case len(b.Parents) > most || len(b.Parents) == 0 && b.Kind != kindFound:
		return fmt.Errorf("entry has %d parents", len(b.Parents))
	case b.Time < 0 || b.Time > maxTime:
		return errors.New("time of entry out of range")
	}
	for i := 1; i < len(b.Parents); i++ {
		if bytes.Compare(b.Parents[i-1][:], b.Parents[i][:]) >= 0 {
			return errors.New("parents of entry are not in order")
		}
	}
	if b.Member != nil {
		return b.Member.check()
	}
	if b.Key != nil {
		return b.Key.check()
	}
	return nil
}

func (m *memberInfo) check() error {
	if m.Device.IsZero() || m.HPKE == (bytes32{}) {
		return errors.New("member has no key")
	}
	if err := checkJID(m.JID); err != nil {
		return err
	}
	if err := checkText("resource", m.Resource, 0, maxResource); err != nil {
		return err
	}
	return checkText("device name", m.Name, 0, maxName)
}

func (k *rekeyInfo) check() error {
	if len(k.Wraps) > MaxMembers {
		return fmt.Errorf("key for %d devices", len(k.Wraps))
	}
	for i := 1; i < len(k.Wraps); i++ {
		if bytes.Compare(k.Wraps[i-1].Device[:], k.Wraps[i].Device[:]) >= 0 {
			return errors.New("recipients of key are not in order")
		}
	}
	return nil
}

// checkJID holds for a bare JID: local part, @, domain. The rest is for the server
// to judge.
func checkJID(jid string) error {
	local, domain, ok := cutJID(jid)
	if !ok || local == "" || domain == "" {
		return fmt.Errorf("JID %.80q is not of the form user@server", jid)
	}
	return checkText("JID", jid, 3, maxJID)
}

// cutJID splits a bare JID and reports whether it is one.
func cutJID(jid string) (local, domain string, ok bool) {
	local, domain, ok = strings.Cut(jid, "@")
	return local, domain, ok && !strings.ContainsAny(local, "/ ") && !strings.ContainsAny(domain, "@/ ")
}

// info is the reverse of member.
func (m Member) info() *memberInfo {
	return &memberInfo{Device: m.Device, HPKE: m.HPKE, JID: m.JID, Resource: m.Resource, Name: m.Name}
}

// member returns what the entry says of a device.
func (e *entry) member() Member {
	m := e.body.Member
	return Member{
		Device: m.Device, HPKE: m.HPKE, JID: m.JID, Resource: m.Resource, Name: m.Name,
		Since: time.Unix(e.body.Time, 0), AddedBy: e.body.Author,
	}
}
