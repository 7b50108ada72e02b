package grove

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// InvitationLife is how long an invitation can be used.
const InvitationLife = 10 * time.Minute

const (
	// invitationMemory is how long an invitation is remembered after it ended, so
	// that whoever comes late is told why.
	invitationMemory = 24 * time.Hour
	maxInvitations   = 32

	domainInviteTag   = "arbor invitation tag v1"
	domainInviteToken = "arbor invitation token v1"
)

// An Invitation is what one person tells another, or themselves, out of band: who
// to ask, how to know that it is them, and a secret that proves the invitation.
type Invitation struct {
	JID      string // bare JID of the inviter
	Resource string // resource its agent binds, so that it is asked directly; may be empty
	Secret   [16]byte
	Inviter  DeviceID
	Expires  time.Time // not in the URI: only the inviter's clock decides
}

// URI returns the invitation as an RFC 5122 URI in the form of XEP-0379:
// xmpp:alice@example.org/arbor?roster;preauth=SECRET;arbor=DEVICE.
func (inv Invitation) URI() string {
	local, domain, _ := cutJID(inv.JID)
	// url.PathEscape leaves the sub-delims of RFC 3986, "@" and ":" as they are;
	// RFC 5122 wants "@", "/" and "?" escaped inside of parts, ";" ends a query key.
	escape := func(s string) string {
		return strings.NewReplacer("@", "%40", ";", "%3B", "&", "%26", "=", "%3D").Replace(url.PathEscape(s))
	}
	uri := "xmpp:" + escape(local) + "@" + escape(domain)
	if inv.Resource != "" {
		uri += "/" + escape(inv.Resource)
	}
	return uri + "?roster;preauth=" + base32Lower.EncodeToString(inv.Secret[:]) + ";arbor=" + inv.Inviter.String()
}

// ParseInvitation reads what URI wrote. The errors say what is wrong in words for
// the person who pasted it.
func ParseInvitation(uri string) (Invitation, error) {
	inv, err := parseInvitation(strings.TrimSpace(uri))
	if err != nil {
		return Invitation{}, fmt.Errorf("invitation: %w", err)
	}
	return inv, nil
}

func parseInvitation(uri string) (Invitation, error) {
	const scheme = "xmpp:"
	if len(uri) > 4096 {
		return Invitation{}, errors.New("too long")
	}
	if len(uri) < len(scheme) || !strings.EqualFold(uri[:len(scheme)], scheme) {
		return Invitation{}, errors.New(`it should begin with "xmpp:"`)
	}
	address, query, ok := strings.Cut(uri[len(scheme):], "?")
	if !ok {
		return Invitation{}, errors.New(`it ends before the "?": was it copied whole?`)
	}
	var inv Invitation
	bare, resource, _ := strings.Cut(address, "/")
	jid, err := url.PathUnescape(bare)
	if err != nil {
		return Invitation{}, fmt.Errorf("address %q: %w", bare, err)
	}
	if err := checkJID(jid); err != nil {
		return Invitation{}, fmt.Errorf("address: %w", err)
	}
	inv.JID = jid
	if inv.Resource, err = url.PathUnescape(resource); err != nil {
		return Invitation{}, fmt.Errorf("resource %q: %w", resource, err)
	}
	if err := checkText("resource", inv.Resource, 0, maxResource); err != nil {
		return Invitation{}, err
	}
	parts := strings.Split(query, ";")
	if parts[0] != "roster" {
		return Invitation{}, fmt.Errorf("it asks for %q and not to be added to a roster", parts[0])
	}
	var secret, inviter bool
	for _, part := range parts[1:] {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "preauth":
			b, err := base32Lower.DecodeString(strings.ToLower(value))
			if err != nil || len(b) != len(inv.Secret) {
				return Invitation{}, errors.New("its secret (preauth) is not 26 letters and digits: was it copied whole?")
			}
			inv.Secret, secret = [16]byte(b), true
		case "arbor":
			if inv.Inviter, err = ParseDeviceID(value); err != nil {
				return Invitation{}, fmt.Errorf("its end is damaged, was it copied whole? %w", err)
			}
			inviter = true
		}
	}
	if !secret || !inviter {
		return Invitation{}, errors.New("it is of a chat program, or was not copied whole: preauth or arbor is missing")
	}
	return inv, nil
}

// derive returns 8 bytes in hex that the secret gives for a purpose.
func (inv Invitation) derive(domain string) string {
	b, err := hkdf.Key(sha256.New, inv.Secret[:], nil, domain, 8)
	if err != nil {
		panic(err) // constant lengths, within the limits of HKDF
	}
	return hex.EncodeToString(b)
}

// Tag names the invitation in clear on the wire, in the messages of both sides. It
// does not tell the secret.
func (inv Invitation) Tag() string { return inv.derive(domainInviteTag) }

// Token goes with the subscription request to the inviter's server, in clear. It
// does not tell the secret, which no server must learn.
func (inv Invitation) Token() string { return inv.derive(domainInviteToken) }

// invitation is what the inviter keeps.
type invitation struct {
	Secret      secret16  `cbor:"1,keyasint"`
	Made        int64     `cbor:"2,keyasint"` // Unix seconds
	UsedBy      *DeviceID `cbor:"3,keyasint,omitempty"`
	Revocations int       `cbor:"4,keyasint"` // of UsedBy that were known when it was used
}

type secret16 [16]byte

func (s *secret16) UnmarshalCBOR(raw []byte) error { return byteString(s[:], raw) }

// open reports whether the invitation is in time. A clock that was set back by more
// than a minute ends it, else it could live again.
func (i *invitation) open(now time.Time) bool {
	made := time.Unix(i.Made, 0)
	return now.After(made.Add(-time.Minute)) && now.Before(made.Add(InvitationLife))
}

// Invite makes an invitation and keeps it on disk. Only as many as 32 are kept, the
// newest.
func (g *Grove) Invite(now time.Time) (Invitation, error) {
	var inv Invitation
	err := g.change(func(s *state) error {
		self := s.log.current()[g.device.ID()]
		if self == nil {
			return ErrNotMember
		}
		inv = Invitation{
			JID: self.body.Member.JID, Resource: self.body.Member.Resource, Inviter: g.device.ID(),
			Expires: time.Unix(now.Unix(), 0).Add(InvitationLife),
		}
		rand.Read(inv.Secret[:])
		s.invitations = slices.DeleteFunc(s.invitations, func(i invitation) bool {
			return now.After(time.Unix(i.Made, 0).Add(InvitationLife + invitationMemory))
		})
		s.invitations = append(s.invitations, invitation{Secret: inv.Secret, Made: now.Unix()})
		s.invitations = s.invitations[max(0, len(s.invitations)-maxInvitations):]
		return nil
	})
	if err != nil {
		return Invitation{}, fmt.Errorf("invite: %w", err)
	}
	return inv, nil
}

// Expects reports whether token is that of an invitation that can still be used, or
// was used by a device that is a member: then a subscription that comes with it
// may be approved.
func (g *Grove) Expects(token string, now time.Time) bool {
	return view(g, func(s *state) bool {
		return slices.ContainsFunc(s.invitations, func(i invitation) bool {
			return i.open(now) && Invitation{Secret: i.Secret}.Token() == token &&
				(i.UsedBy == nil || s.log.current()[*i.UsedBy] != nil)
		})
	})
}
