package grove_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/grove"
)

const bob = "bob@example.org"

// guest is a device that was told an invitation.
type guest struct {
	t       *testing.T
	device  *grove.Device
	inv     grove.Invitation
	request []byte
}

func newGuest(t *testing.T, inv grove.Invitation) *guest {
	t.Helper()
	told, err := grove.ParseInvitation(inv.URI())
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, device: device(t), inv: told}
	if g.request, err = told.SealRequest(g.device, memberOf(g.device, bob)); err != nil {
		t.Fatal(err)
	}
	return g
}

// ask returns the answer of the inviter.
func (q *guest) ask(g *grove.Grove, at time.Time) grove.JoinReply {
	q.t.Helper()
	a, err := g.Admit(q.inv.Tag(), bob, q.request, at)
	if err != nil {
		q.t.Fatal(err)
	}
	sealed, err := g.SealReply(a, "alice@example.org", grove.JoinReply{Clone: "c", Links: []grove.JoinLink{{Kind: "lan", Addr: "192.0.2.1:1"}}})
	if err != nil {
		q.t.Fatal(err)
	}
	r, err := q.inv.OpenReply("alice@example.org", q.request, sealed)
	if err != nil {
		q.t.Fatal(err)
	}
	return r
}

func invite(t *testing.T, g *grove.Grove) grove.Invitation {
	t.Helper()
	inv, err := g.Invite(now)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func TestInvitationIsUsedOnce(t *testing.T) {
	a := device(t)
	g, dir := found(t, a)
	inv := invite(t, g)
	first, thief := newGuest(t, inv), newGuest(t, inv)
	if !g.Expects(inv.Token(), now) || g.Expects("", now) || g.Expects(inv.Tag(), now) {
		t.Error("Expects is wrong")
	}
	g, err := grove.Open(dir, g.ID(), a) // the agent is restarted
	if err != nil {
		t.Fatal(err)
	}
	r := first.ask(g, now)
	if r.Refused != "" || r.Grove != g.ID() || r.Clone != "c" || len(r.Links) != 1 {
		t.Fatalf("reply %+v", r)
	}
	j, err := grove.Join(t.TempDir(), first.device, r.Grove, r.Log, now)
	if err != nil {
		t.Fatal(err)
	}
	if sealKey(t, j) != sealKey(t, g) {
		t.Error("no key was handed over")
	}
	g, err = grove.Open(dir, g.ID(), a)
	if err != nil {
		t.Fatal(err)
	}
	if r := thief.ask(g, now); r.Refused != grove.ReasonUsed || r.Log != nil || r.Clone != "" || r.Links != nil {
		t.Errorf("second device got %+v", r)
	}
	if _, ok := g.Member(thief.device.ID()); ok {
		t.Error("second device is a member")
	}
	digest := g.Digest()
	if r := first.ask(g, now); r.Refused != "" || g.Digest() != digest { // the answer was lost
		t.Errorf("same device again got %+v", r)
	}
	// Whoever recorded the request cannot bring back a device that was forgotten.
	if err := g.Revoke(first.device.ID(), now); err != nil {
		t.Fatal(err)
	}
	if g.Expects(inv.Token(), now) {
		t.Error("the subscription of a revoked device is expected")
	}
	if r := first.ask(g, now); r.Refused != grove.ReasonRevoked {
		t.Errorf("revoked device got %+v", r)
	}
	// A new invitation does.
	again := newGuest(t, invite(t, g))
	again.device = first.device
	if again.request, err = again.inv.SealRequest(first.device, memberOf(first.device, bob)); err != nil {
		t.Fatal(err)
	}
	if r := again.ask(g, now); r.Refused != "" {
		t.Errorf("invited again, it got %+v", r)
	}
}

func TestInvitationEnds(t *testing.T) {
	g, _ := found(t, device(t))
	for _, at := range []time.Time{now.Add(grove.InvitationLife), now.Add(time.Hour), now.Add(-time.Hour)} {
		q := newGuest(t, invite(t, g))
		if g.Expects(q.inv.Token(), at) {
			t.Errorf("at %v its subscription is expected", at)
		}
		if r := q.ask(g, at); r.Refused != grove.ReasonExpired {
			t.Errorf("at %v: %+v", at, r)
		}
	}
	old := newGuest(t, invite(t, g))
	for range 40 {
		invite(t, g)
	}
	if _, err := g.Admit(old.inv.Tag(), bob, old.request, now); !errors.Is(err, grove.ErrNotInvited) {
		t.Errorf("forgotten invitation: %v", err)
	}
}

func TestWrongSecretIsMetWithSilence(t *testing.T) {
	g, _ := found(t, device(t))
	inv := invite(t, g)
	good := newGuest(t, inv)
	wrong := inv
	wrong.Secret[0] ^= 1
	guess := newGuest(t, wrong)
	for name, err := range map[string]error{
		"other secret":          admit(g, inv.Tag(), bob, guess.request),
		"unknown tag":           admit(g, wrong.Tag(), bob, guess.request),
		"another sender's":      admit(g, inv.Tag(), "mallory@example.org", good.request),
		"garbage":               admit(g, inv.Tag(), bob, []byte("garbage")),
		"empty":                 admit(g, inv.Tag(), bob, nil),
		"huge":                  admit(g, inv.Tag(), bob, make([]byte, 1<<20)),
		"cut":                   admit(g, inv.Tag(), bob, good.request[:len(good.request)-1]),
		"a reply as if request": admit(g, inv.Tag(), bob, reply(t, g, newGuest(t, invite(t, g)))),
	} {
		if !errors.Is(err, grove.ErrNotInvited) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := 0; i < len(good.request)*8; i += 41 {
		b := bytes.Clone(good.request)
		b[i/8] ^= 1 << (i % 8)
		if err := admit(g, inv.Tag(), bob, b); !errors.Is(err, grove.ErrNotInvited) {
			t.Errorf("bit %d flipped: %v", i, err)
		}
	}
	if r := good.ask(g, now); r.Refused != "" {
		t.Errorf("after all that the good one got %+v", r)
	}
}

func admit(g *grove.Grove, tag, from string, sealed []byte) error {
	_, err := g.Admit(tag, from, sealed, now)
	return err
}

func reply(t *testing.T, g *grove.Grove, q *guest) []byte {
	t.Helper()
	a, err := g.Admit(q.inv.Tag(), bob, q.request, now)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := g.SealReply(a, "alice@example.org", grove.JoinReply{})
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestReplyIsTheInvitersToThisRequest(t *testing.T) {
	g, _ := found(t, device(t))
	q := newGuest(t, invite(t, g))
	sealed := reply(t, g, q)
	open := func(q *guest, from string, sealed []byte) error {
		_, err := q.inv.OpenReply(from, q.request, sealed)
		return err
	}
	if err := open(q, "alice@example.org", sealed); err != nil {
		t.Fatal(err)
	}
	if open(q, "mallory@example.org", sealed) == nil {
		t.Error("reply of another account was taken")
	}
	second, err := q.inv.SealRequest(q.device, memberOf(q.device, bob))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.inv.OpenReply("alice@example.org", second, sealed); err == nil {
		t.Error("reply to another request was taken")
	}
	for i := 0; i < len(sealed)*8; i += 41 {
		b := bytes.Clone(sealed)
		b[i/8] ^= 1 << (i % 8)
		if open(q, "alice@example.org", b) == nil {
			t.Errorf("accepted with bit %d flipped", i)
		}
	}
	// Somebody who photographed the invitation answers in the inviter's place.
	photo := *q
	photo.inv.Inviter = device(t).ID()
	if open(&photo, "alice@example.org", sealed) == nil {
		t.Error("reply of a device that is not in the invitation was taken")
	}
}

func TestInvitationURI(t *testing.T) {
	id := device(t).ID()
	for _, tt := range []struct{ jid, resource, want string }{
		{"alice@example.org", "arbor-1", "xmpp:alice@example.org/arbor-1?roster;preauth=aeaqcaibaeaqcaibaeaqcaibae;arbor=" + id.String()},
		{"alice@example.org", "", "xmpp:alice@example.org?roster;preauth=aeaqcaibaeaqcaibaeaqcaibae;arbor=" + id.String()},
		{"a;b?c#d@[::1]", "r/é @;=&?", ""},
		{"ü%41@exämple.org", "%", ""},
	} {
		inv := grove.Invitation{JID: tt.jid, Resource: tt.resource, Secret: [16]byte(bytes.Repeat([]byte{1}, 16)), Inviter: id}
		uri := inv.URI()
		if tt.want != "" && uri != tt.want {
			t.Errorf("URI is %s, want %s", uri, tt.want)
		}
		got, err := grove.ParseInvitation(" " + strings.Replace(uri, "xmpp:", "XMPP:", 1) + "\n")
		if err != nil || got != inv {
			t.Errorf("%s: parsed %+v, %v", uri, got, err)
		}
	}
}

func TestParseInvitationSaysWhatIsWrong(t *testing.T) {
	good := grove.Invitation{JID: "a@b", Inviter: device(t).ID()}.URI()
	for bad, hint := range map[string]string{
		"":                               "begin with",
		"https://example.org":            "begin with",
		"xmpp:a@b":                       "copied whole",
		"xmpp:a@b?message":               "roster",
		"xmpp:a@b?roster;preauth=xyz":    "preauth",
		"xmpp:a@b?roster;name=x":         "chat program",
		"xmpp://a@b/?roster":             "user@server",
		"xmpp:b?roster":                  "user@server",
		"xmpp:a%zz@b?roster":             "%zz",
		"xmpp:a%0a@b?roster":             "unprintable",
		"xmpp:a@b/%1b[31m?roster":        "unprintable",
		good[:len(good)-1]:               "copied whole",
		good + "a":                       "copied whole",
		good + strings.Repeat("x", 5000): "too long",
	} {
		if _, err := grove.ParseInvitation(bad); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%q: %v, want a word of %q", bad, err, hint)
		}
	}
}

func TestLongLogIsLeftOutOfTheReply(t *testing.T) {
	g, _ := found(t, device(t))
	for range 30 {
		m := memberOf(device(t), strings.Repeat("j", 500)+"@example.org")
		m.Resource = strings.Repeat("r", 256)
		if err := g.Add(m, now); err != nil {
			t.Fatal(err)
		}
	}
	if r := newGuest(t, invite(t, g)).ask(g, now); r.Refused != "" || r.Log != nil {
		t.Errorf("reply with a log of %d bytes, refused %q", len(r.Log), r.Refused)
	}
}

func FuzzParseInvitation(f *testing.F) {
	f.Add("xmpp:a@b/c?roster;preauth=aeaqcaibaeaqcaibaeaqcaibae;arbor=" + strings.Repeat("a", 52))
	f.Add("xmpp:a%40@b?roster")
	f.Fuzz(func(t *testing.T, uri string) {
		inv, err := grove.ParseInvitation(uri)
		if err != nil {
			return
		}
		again, err := grove.ParseInvitation(inv.URI())
		if err != nil || again != inv {
			t.Fatalf("%q parses to %+v, whose URI %q parses to %+v, %v", uri, inv, inv.URI(), again, err)
		}
	})
}
