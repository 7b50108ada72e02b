package grove

import (
	"bytes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// Domains of the two messages of a join: of their keys and of their signatures.
const (
	domainRequestKey  = "arbor join request key v1"
	domainReplyKey    = "arbor join reply key v1"
	domainRequestSign = "arbor join request sign v1\x00"
	domainReplySign   = "arbor join reply sign v1\x00"
)

const (
	joinVersion = 1
	maxJoin     = 32 << 10 // bytes of a sealed request or reply
	minJoin     = 1 << 10
	maxLinks    = 16
	maxAddr     = 255

	joinOverhead = 1 + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead + ed25519.SignatureSize + 4
)

// A Reason says why a request was refused.
type Reason string

// Reasons of refusal.
const (
	ReasonUsed    Reason = "used"    // by another device
	ReasonExpired Reason = "expired" // older than InvitationLife
	ReasonRevoked Reason = "revoked" // the device was a member and was forgotten
	ReasonFull    Reason = "full"    // the grove has no room
)

// A JoinLink is a way to dial the inviter, as a candidate of package link.
type JoinLink struct {
	Kind     string `cbor:"1,keyasint"`
	Addr     string `cbor:"2,keyasint"`
	Priority int    `cbor:"3,keyasint"`
	HostID   string `cbor:"4,keyasint,omitempty"`
}

// A JoinReply answers a request. Refused is empty when the device is a member now;
// the rest is set only then.
type JoinReply struct {
	Refused Reason     `cbor:"1,keyasint,omitempty"`
	Grove   ID         `cbor:"2,keyasint"`
	Clone   string     `cbor:"3,keyasint,omitempty"` // clone id of the inviter's clone, to ask for on a link
	Links   []JoinLink `cbor:"4,keyasint,omitempty"` // how to dial the inviter, at most 16
	Log     []byte     `cbor:"5,keyasint,omitempty"` // member log for Join; empty when it is too long
}

// An Admission is the inviter's decision on a request.
type Admission struct {
	Member  Member // who asked
	Refused Reason // empty: Member is a member now
	New     bool   // the log changed
	secret  [16]byte
	request [32]byte // SHA-256 of the sealed request, to which the reply is bound
}

// SealRequest returns the bytes to send to the inviter under Tag: the request of
// device d to become a member. self gives JID (the bare JID it is sent from),
// Resource and Name. The same bytes are later given to OpenReply.
func (inv Invitation) SealRequest(d *Device, self Member) ([]byte, error) {
	self.Device, self.HPKE = d.ID(), d.publicHPKE()
	info := self.info()
	if err := info.check(); err != nil {
		return nil, fmt.Errorf("seal join request: %w", err)
	}
	data, err := encMode.Marshal(info)
	if err != nil {
		return nil, fmt.Errorf("seal join request: %w", err)
	}
	// The signature proves that the device has the key it wants admitted.
	signature := ed25519.Sign(d.key, slices.Concat([]byte(domainRequestSign), []byte(inv.Tag()), data))
	return sealJoin(inv.Secret, domainRequestKey, boundJID(self.JID), signature, data)
}

// OpenReply reads the inviter's answer to request, which came from a bare JID. It
// proves that the answer is of the device in the invitation, and to this very
// request. A reply that fails may be of somebody else who has the secret: wait for
// another.
func (inv Invitation) OpenReply(from string, request, sealed []byte) (JoinReply, error) {
	hash := sha256.Sum256(request)
	signature, data, err := openJoin(inv.Secret, domainReplyKey, slices.Concat(hash[:], boundJID(from)), sealed)
	if err != nil {
		return JoinReply{}, fmt.Errorf("open join reply: %w", err)
	}
	if !ed25519.Verify(inv.Inviter[:], slices.Concat([]byte(domainReplySign), hash[:], data), signature) {
		return JoinReply{}, errors.New("open join reply: not signed by the device in the invitation")
	}
	var r JoinReply
	if err := decMode.Unmarshal(data, &r); err != nil {
		return JoinReply{}, fmt.Errorf("open join reply: %w", err)
	}
	if err := r.check(); err != nil {
		return JoinReply{}, fmt.Errorf("open join reply: %w", err)
	}
	return r, nil
}

func (r *JoinReply) check() error {
	if len(r.Links) > maxLinks {
		return fmt.Errorf("%d links", len(r.Links))
	}
	for _, l := range r.Links {
		if err := errors.Join(checkText("kind of link", l.Kind, 0, 32), checkText("address", l.Addr, 0, maxAddr),
			checkText("host id", l.HostID, 0, 64)); err != nil {
			return err
		}
	}
	if err := checkText("clone id", r.Clone, 0, 64); err != nil {
		return err
	}
	return checkText("reason", string(r.Refused), 0, 64)
}

// Admit decides on a request that came from a bare JID under tag: it uses up the
// invitation and adds the device, or says why not. The same device may ask again
// while the invitation lives, for the answer may be lost. ErrNotInvited is to be met
// with silence: whoever sent it does not know the secret.
func (g *Grove) Admit(tag, from string, sealed []byte, now time.Time) (Admission, error) {
	var a Admission
	err := g.change(func(s *state) error {
		i := slices.IndexFunc(s.invitations, func(i invitation) bool { return Invitation{Secret: i.Secret}.Tag() == tag })
		if i < 0 {
			return ErrNotInvited
		}
		a = Admission{secret: s.invitations[i].Secret, request: sha256.Sum256(sealed)}
		info, err := openRequest(a.secret, tag, from, sealed)
		if err != nil {
			return err
		}
		a.Member = Member{
			Device: info.Device, HPKE: info.HPKE, JID: info.JID, Resource: info.Resource, Name: info.Name,
			Since: time.Unix(now.Unix(), 0), AddedBy: g.device.ID(),
		}
		return s.admit(g.device, &s.invitations[i], &a, now)
	})
	if errors.Is(err, ErrNotInvited) {
		return Admission{}, err
	}
	if err != nil {
		return Admission{}, fmt.Errorf("admit device: %w", err)
	}
	return a, nil
}

// admit fills in the decision. The invitation is marked as used in the same change
// in which the device is added; its file is written first, so after a crash in
// between the same device can come again and nobody else.
func (s *state) admit(d *Device, inv *invitation, a *Admission, now time.Time) error {
	members := s.log.current()
	if members[d.ID()] == nil {
		return ErrNotMember
	}
	all := s.log.all()
	revs := s.log.revoked(a.Member.Device, all)
	switch {
	case inv.UsedBy != nil && *inv.UsedBy != a.Member.Device:
		a.Refused = ReasonUsed
	case !inv.open(now):
		a.Refused = ReasonExpired
	case inv.UsedBy != nil && revs.len() > inv.Revocations:
		// Without this a recorded request would bring back a device that was
		// forgotten within the life of its invitation.
		a.Refused = ReasonRevoked
	case members[a.Member.Device] == nil && len(members) >= MaxMembers:
		a.Refused = ReasonFull
	case members[a.Member.Device] != nil:
		inv.use(a.Member.Device, revs.len())
	default:
		err := s.add(d, a.Member, now)
		if errors.Is(err, ErrFull) {
			a.Refused = ReasonFull
			return nil
		}
		if err != nil {
			return err
		}
		inv.use(a.Member.Device, revs.len())
		a.New = true
	}
	return nil
}

func (i *invitation) use(by DeviceID, revocations int) {
	i.UsedBy, i.Revocations = &by, revocations
}

// openRequest reads and proves a request.
func openRequest(secret [16]byte, tag, from string, sealed []byte) (memberInfo, error) {
	signature, data, err := openJoin(secret, domainRequestKey, boundJID(from), sealed)
	if err != nil {
		return memberInfo{}, ErrNotInvited
	}
	var info memberInfo
	if decMode.Unmarshal(data, &info) != nil || info.check() != nil || !strings.EqualFold(info.JID, from) ||
		!ed25519.Verify(info.Device[:], slices.Concat([]byte(domainRequestSign), []byte(tag), data), signature) {
		return memberInfo{}, ErrNotInvited
	}
	return info, nil
}

// SealReply returns the answer to send back under the tag of the request. from is the
// bare JID of this device's account. Of reply, Clone and Links are taken, and only
// when the device was admitted. Log is left out when it does not fit.
func (g *Grove) SealReply(a Admission, from string, reply JoinReply) ([]byte, error) {
	r := JoinReply{Refused: a.Refused, Grove: g.ID()}
	if a.Refused == "" {
		r.Clone, r.Links, r.Log = reply.Clone, reply.Links, g.Marshal()
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("seal join reply: %w", err)
	}
	data, err := encMode.Marshal(r)
	if err == nil && len(data) > maxJoin-joinOverhead {
		r.Log = nil
		data, err = encMode.Marshal(r)
	}
	if err != nil {
		return nil, fmt.Errorf("seal join reply: %w", err)
	}
	signature := ed25519.Sign(g.device.key, slices.Concat([]byte(domainReplySign), a.request[:], data))
	return sealJoin(a.secret, domainReplyKey, slices.Concat(a.request[:], boundJID(from)), signature, data)
}

// boundJID returns the form of a JID to which a message is bound: in lower case, because
// people write theirs in any case and servers compare without it (RFC 7622).
func boundJID(jid string) []byte { return []byte(strings.ToLower(jid)) }

// joinAEAD returns the cipher for one direction. Its key comes from the one-time
// secret, whose 128 random bits need no stretching.
func joinAEAD(secret [16]byte, domain string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, secret[:], nil, domain, chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive join key: %w", err)
	}
	return chacha20poly1305.NewX(key)
}

// sealJoin returns version, nonce and ciphertext of signature, length and data,
// padded to a power of two.
func sealJoin(secret [16]byte, domain string, bound, signature, data []byte) ([]byte, error) {
	size := max(minJoin, 1<<bits.Len(uint(joinOverhead+len(data)-1)))
	if size > maxJoin {
		return nil, fmt.Errorf("seal join message: %d bytes are too many", len(data))
	}
	aead, err := joinAEAD(secret, domain)
	if err != nil {
		return nil, err
	}
	inner := make([]byte, size-joinOverhead+ed25519.SignatureSize+4)
	n := copy(inner, signature)
	binary.BigEndian.PutUint32(inner[n:], uint32(len(data)))
	copy(inner[n+4:], data)
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	return aead.Seal(append([]byte{joinVersion}, nonce...), nonce, inner, bound), nil
}

// openJoin is the reverse of sealJoin.
func openJoin(secret [16]byte, domain string, bound, sealed []byte) (signature, data []byte, err error) {
	if len(sealed) < minJoin || len(sealed) > maxJoin || sealed[0] != joinVersion {
		return nil, nil, errors.New("not a join message")
	}
	aead, err := joinAEAD(secret, domain)
	if err != nil {
		return nil, nil, err
	}
	nonce, ciphertext := sealed[1:1+aead.NonceSize()], sealed[1+aead.NonceSize():]
	inner, err := aead.Open(nil, nonce, ciphertext, bound)
	if err != nil {
		return nil, nil, errors.New("seal does not hold")
	}
	signature, rest := inner[:ed25519.SignatureSize], inner[ed25519.SignatureSize:]
	n, rest := binary.BigEndian.Uint32(rest), rest[4:]
	if uint64(n) > uint64(len(rest)) || len(bytes.Trim(rest[n:], "\x00")) != 0 {
		return nil, nil, errors.New("malformed join message")
	}
	return signature, rest[:n], nil
}
