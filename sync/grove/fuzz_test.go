package grove

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"testing"
)

func FuzzParseLog(f *testing.F) {
	l := newLab(f, 3, 3)
	l.revoke(0, 1)
	f.Add(marshalLog(l.states[0].log.sorted()))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseLog(data, func(entryID) bool { return false })
		if err != nil {
			return
		}
		if !bytes.Equal(marshalLog(entries), data) {
			t.Fatal("written again, the log differs")
		}
	})
}

// FuzzEntry signs any bytes with the key of a member and merges them.
func FuzzEntry(f *testing.F) {
	l := newLab(f, 3, 3)
	l.revoke(0, 1)
	for _, e := range l.states[0].log.sorted() {
		f.Add(e.raw[ed25519.SignatureSize:])
	}
	member := l.devices[0]
	f.Fuzz(func(t *testing.T, body []byte) {
		signature := ed25519.Sign(member.key, append([]byte(domainEntry), body...))
		e, err := parseEntry(append(signature, body...))
		if err != nil {
			return
		}
		s := l.states[0].clone()
		if _, err := s.merge(member, []entry{e}, testTime); err != nil {
			t.Fatal(err)
		}
		s.log.current()
	})
}

// FuzzJoinMessage seals any bytes with the secret of an invitation, as its holder can.
func FuzzJoinMessage(f *testing.F) {
	d, inviter := testDevice(f, 1), testDevice(f, 2)
	inv := Invitation{Inviter: inviter.ID()}
	info, err := encMode.Marshal(testMember(d).info())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(info)
	reply, err := encMode.Marshal(JoinReply{Clone: "c", Links: []JoinLink{{Kind: "lan"}}, Log: []byte("l")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reply)
	f.Fuzz(func(t *testing.T, data []byte) {
		sign := func(key ed25519.PrivateKey, parts ...[]byte) []byte {
			return ed25519.Sign(key, append(bytes.Join(parts, nil), data...))
		}
		sealed, err := sealJoin(inv.Secret, domainRequestKey, []byte("u@example.org"), sign(d.key, []byte(domainRequestSign), []byte(inv.Tag())), data)
		if err != nil {
			return
		}
		if m, err := openRequest(inv.Secret, inv.Tag(), "u@example.org", sealed); err == nil && m.Device != d.ID() {
			t.Fatal("request of another device")
		}
		request := []byte("request")
		hash := sha256.Sum256(request)
		if sealed, err = sealJoin(inv.Secret, domainReplyKey, append(hash[:], "i@x"...), sign(inviter.key, []byte(domainReplySign), hash[:]), data); err == nil {
			_, _ = inv.OpenReply("i@x", request, sealed)
		}
	})
}
