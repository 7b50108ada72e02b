package grove

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var testTime = time.Unix(1764000000, 0)

type tb interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func testDevice(t tb, n int) *Device {
	t.Helper()
	seed := bytes.Repeat([]byte{byte(n + 1)}, ed25519.SeedSize)
	d, err := newDevice("", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func testMember(d *Device) Member {
	return Member{Device: d.ID(), HPKE: d.publicHPKE(), JID: "u@example.org", Resource: "r", Name: "n"}
}

// lab is a grove of devices, each with its own state, that reach each other only
// by exchange.
type lab struct {
	t       tb
	devices []*Device
	states  []*state
}

// newLab makes a grove of n devices, founded by device 0, which added the first
// members of them.
func newLab(t tb, n, members int) *lab {
	t.Helper()
	return newLabOf(t, make([]byte, 16), n, members)
}

func newLabOf(t tb, nonce []byte, n, members int) *lab {
	t.Helper()
	l := &lab{t: t}
	for i := range n {
		l.devices = append(l.devices, testDevice(t, i))
	}
	e, err := signEntry(l.devices[0].key, entryBody{
		Kind: kindFound, Author: l.devices[0].ID(), Time: testTime.Unix(), Member: testMember(l.devices[0]).info(), Nonce: nonce,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		l.states = append(l.states, &state{log: newLog(ID(e.id[:16]))})
	}
	if _, err := l.states[0].merge(l.devices[0], []entry{e}, testTime); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < members; i++ {
		l.add(0, i)
	}
	for i := 1; i < n; i++ {
		l.exchange(0, i)
	}
	return l
}

func (l *lab) add(by, who int) {
	l.t.Helper()
	if err := l.states[by].add(l.devices[by], testMember(l.devices[who]), testTime); err != nil {
		l.t.Fatalf("device %d adds %d: %v", by, who, err)
	}
}

func (l *lab) revoke(by, who int) {
	l.t.Helper()
	if err := l.states[by].revoke(l.devices[by], l.devices[who].ID(), testTime); err != nil {
		l.t.Fatalf("device %d revokes %d: %v", by, who, err)
	}
}

// merge hands the log of one device to another, as it would travel.
func (l *lab) merge(from, to int) (changed bool) {
	l.t.Helper()
	entries, err := parseLog(marshalLog(l.states[from].log.sorted()), l.states[to].log.has)
	if err != nil {
		l.t.Fatal(err)
	}
	changed, err = l.states[to].merge(l.devices[to], entries, testTime)
	if err != nil {
		l.t.Fatal(err)
	}
	return changed
}

func (l *lab) exchange(a, b int) {
	l.t.Helper()
	l.merge(a, b)
	l.merge(b, a)
}

// settle exchanges until nothing changes.
func (l *lab) settle() {
	l.t.Helper()
	for range 20 {
		changed := false
		for a := range l.states {
			for b := range l.states {
				if a != b && l.merge(a, b) {
					changed = true
				}
			}
		}
		if !changed {
			return
		}
	}
	l.t.Fatal("does not settle")
}

func (l *lab) members(of int) string {
	var s []string
	current := l.states[of].log.current()
	for i, d := range l.devices {
		if current[d.ID()] != nil {
			s = append(s, fmt.Sprint(i))
		}
	}
	return strings.Join(s, " ")
}

func (l *lab) expect(want string) {
	l.t.Helper()
	for i := range l.states {
		if got := l.members(i); got != want {
			l.t.Fatalf("device %d sees members %q, want %q", i, got, want)
		}
	}
}

func TestConcurrency(t *testing.T) {
	tests := []struct {
		name string
		do   func(l *lab)
		want string
	}{
		{"revoked", func(l *lab) { l.revoke(0, 1) }, "0 2"},
		{"by a later member", func(l *lab) { l.revoke(2, 0) }, "1 2"},
		{"leaves by itself", func(l *lab) { l.revoke(1, 1) }, "0 2"},
		{"two revoke a third", func(l *lab) { l.revoke(0, 1); l.revoke(2, 1) }, "0 2"},
		{"mutual", func(l *lab) { l.revoke(0, 1); l.revoke(1, 0) }, "2"},
		{"in a ring", func(l *lab) { l.revoke(0, 1); l.revoke(1, 2); l.revoke(2, 0) }, ""},
		{"all by all", func(l *lab) {
			l.revoke(0, 1)
			l.revoke(0, 2)
			l.revoke(1, 0)
			l.revoke(1, 2)
			l.revoke(2, 0)
			l.revoke(2, 1)
		}, ""},
		{"add beside revoke of the adder", func(l *lab) { l.revoke(0, 1); l.add(1, 3) }, "0 2"},
		{"add before revoke of the adder", func(l *lab) { l.add(1, 3); l.merge(1, 0); l.revoke(0, 1) }, "0 2 3"},
		{"accomplice of an accomplice", func(l *lab) { l.add(1, 3); l.merge(1, 3); l.add(3, 4); l.revoke(0, 1) }, "0 2"},
		{"add again beside revoke", func(l *lab) {
			m := testMember(l.devices[1])
			m.Name = "new name"
			if err := l.states[2].add(l.devices[2], m, testTime); err != nil {
				l.t.Fatal(err)
			}
			l.revoke(0, 1)
		}, "0 2"},
		{"add after revoke", func(l *lab) { l.revoke(0, 1); l.merge(0, 2); l.add(2, 1) }, "0 1 2"},
		{"add after one of two revokes", func(l *lab) { l.revoke(0, 1); l.merge(0, 2); l.add(2, 1); l.revoke(3, 1) }, "0 2 3"},
		{"mutual, then invited by the third", func(l *lab) {
			l.revoke(0, 1)
			l.revoke(1, 0)
			l.merge(0, 2)
			l.merge(1, 2)
			l.add(2, 0)
		}, "0 2"},
		{"revoked, added, revoked", func(l *lab) { l.revoke(0, 1); l.add(0, 1); l.revoke(0, 1) }, "0 2"},
		{"revoked, added, its old add stands", func(l *lab) {
			l.add(1, 3)
			l.merge(1, 0)
			l.revoke(0, 1)
			l.add(0, 1)
		}, "0 1 2 3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			members := 3
			if strings.Contains(tt.name, "one of two") {
				members = 4
			}
			l := newLab(t, 5, members)
			tt.do(l)
			l.settle()
			l.expect(tt.want)
		})
	}
}

// forge inserts nothing: it is what a device can sign with its key, whatever its own
// log says.
func (l *lab) forge(by int, body entryBody) entry {
	l.t.Helper()
	body.Grove, body.Author, body.Time = l.states[by].log.grove, l.devices[by].ID(), testTime.Unix()
	e, err := signEntry(l.devices[by].key, body)
	if err != nil {
		l.t.Fatal(err)
	}
	return e
}

func TestRevokedDeviceCannotComeBack(t *testing.T) {
	l := newLab(t, 5, 3)
	before := ids(l.states[1].log.heads()...)
	l.revoke(0, 1)
	l.settle()
	after := ids(l.states[0].log.heads()...)
	one, accomplice := l.devices[1].ID(), l.devices[3].ID()
	for name, e := range map[string]entry{
		"adds itself, backdated":   l.forge(1, entryBody{Kind: kindAdd, Parents: before, Member: testMember(l.devices[1]).info()}),
		"adds itself":              l.forge(1, entryBody{Kind: kindAdd, Parents: after, Member: testMember(l.devices[1]).info()}),
		"adds another, backdated":  l.forge(1, entryBody{Kind: kindAdd, Parents: before, Member: testMember(l.devices[3]).info()}),
		"adds another":             l.forge(1, entryBody{Kind: kindAdd, Parents: after, Member: testMember(l.devices[3]).info()}),
		"revokes":                  l.forge(1, entryBody{Kind: kindRevoke, Parents: after, Target: new(l.devices[0].ID())}),
		"stranger adds itself":     l.forge(3, entryBody{Kind: kindAdd, Parents: after, Member: testMember(l.devices[3]).info()}),
		"makes a key for itself":   l.forge(1, entryBody{Kind: kindRekey, Parents: before, Key: &rekeyInfo{Wraps: []wrap{{Device: one}}}}),
		"makes a key for the rest": l.forge(1, entryBody{Kind: kindRekey, Parents: after, Key: &rekeyInfo{Wraps: []wrap{{Device: l.devices[0].ID()}}}}),
	} {
		t.Run(name, func(t *testing.T) {
			s := l.states[2].clone()
			if _, err := s.merge(l.devices[2], []entry{e}, testTime); err != nil {
				t.Fatal(err)
			}
			current := s.log.current()
			if current[one] != nil || current[accomplice] != nil || len(current) != 2 {
				t.Errorf("%d members", len(current))
			}
			if !s.log.keyIsCurrent(current) {
				t.Error("key is not current")
			}
		})
	}
}

// A device that was revoked while others had not heard may revoke; the rest goes on.
func TestLateRevocationByRevoked(t *testing.T) {
	l := newLab(t, 4, 4)
	l.revoke(0, 1)
	l.revoke(1, 2)
	l.merge(1, 3)
	l.settle()
	l.expect("0 3")
}

func TestForeignEntries(t *testing.T) {
	l := newLab(t, 3, 2)
	other := newLabOf(t, []byte("another grove   "), 3, 1)
	other.add(0, 2)
	foreign := other.states[0].log.nodes[1].entry
	found := l.forge(1, entryBody{Kind: kindAdd, Parents: ids(l.states[1].log.heads()...), Member: testMember(l.devices[2]).info()})
	found.body.Grove = ID{1}
	for name, e := range map[string]entry{"of another grove's history": foreign, "of another grove": found} {
		if v := l.states[0].log.clone().insert(e); v == taken {
			t.Errorf("entry %s was taken", name)
		}
	}
	second, err := signEntry(l.devices[1].key, entryBody{
		Kind: kindFound, Author: l.devices[1].ID(), Member: testMember(l.devices[1]).info(), Nonce: make([]byte, 16),
	})
	if err != nil {
		t.Fatal(err)
	}
	if v := l.states[0].log.insert(second); v != refused {
		t.Error("a second founding entry was taken")
	}
}

func TestLogIsBounded(t *testing.T) {
	l := newLab(t, 3, 3)
	s := l.states[1]
	heads := ids(s.log.heads()...)
	var flood []entry
	for i := range maxAdds + 50 { // concurrent, so that no rule about the past stops them
		m := testMember(testDevice(t, 100))
		m.Name = fmt.Sprint(i)
		flood = append(flood, l.forge(1, entryBody{Kind: kindAdd, Parents: heads, Member: m.info()}))
	}
	if _, err := l.states[0].merge(l.devices[0], flood[:maxAdds], testTime); err != nil {
		t.Fatal(err)
	}
	if _, err := l.states[2].merge(l.devices[2], flood[50:], testTime); err != nil {
		t.Fatal(err)
	}
	if n := l.states[0].log.added; n != maxAdds {
		t.Fatalf("%d adds in the log, want %d", n, maxAdds)
	}
	l.revoke(0, 1)
	l.merge(0, 2)
	for _, i := range []int{0, 2} {
		if got := l.members(i); got != "0 2" {
			t.Errorf("device %d sees members %q: the member that filled the logs was not revoked", i, got)
		}
		if n := len(l.states[i].log.current()); n != 2 {
			t.Errorf("device %d sees %d members: what the revoked member added stayed", i, n)
		}
		if n := len(marshalLog(l.states[i].log.sorted())); n > MaxLog {
			t.Errorf("log of %d bytes", n)
		}
	}
}

func TestMemberLimit(t *testing.T) {
	l := newLab(t, 1, 1)
	s := l.states[0]
	add := func(i int) verdict {
		m := testMember(testDevice(t, i)).info()
		return s.log.insert(l.forge(0, entryBody{Kind: kindAdd, Parents: ids(s.log.heads()...), Member: m}))
	}
	for i := 1; i < MaxMembers; i++ {
		if v := add(i); v != taken {
			t.Fatalf("member %d: %v", i, v)
		}
	}
	if v := add(MaxMembers); v != refused {
		t.Errorf("adding one more: %v", v)
	}
	if err := s.add(l.devices[0], testMember(testDevice(t, MaxMembers)), testTime); !errors.Is(err, ErrFull) {
		t.Errorf("adding one more: %v, want ErrFull", err)
	}
	if err := s.rekey(l.devices[0], testTime); err != nil {
		t.Fatal(err)
	}
	if n := len(marshalLog(s.log.sorted())); n > 28<<10 { // so that it fits a signal
		t.Errorf("log of %d members has %d bytes", MaxMembers, n)
	}
}

func TestAddTwiceIsOneEntry(t *testing.T) {
	l := newLab(t, 2, 2)
	n := len(l.states[0].log.nodes)
	l.add(0, 1)
	if len(l.states[0].log.nodes) != n {
		t.Error("the log grew")
	}
}

// The own word of a device is final, even against a member that writes other keys
// for it.
func TestOwnWordWins(t *testing.T) {
	l := newLab(t, 3, 3)
	m := testMember(l.devices[1])
	m.HPKE = l.devices[2].publicHPKE()
	m.JID = "mallory@example.org"
	if err := l.states[2].add(l.devices[2], m, testTime); err != nil {
		t.Fatal(err)
	}
	l.settle()
	for i := range l.states {
		if got := l.states[i].log.current()[l.devices[1].ID()].body.Member.HPKE; got != l.devices[1].publicHPKE() {
			t.Errorf("device %d has another key for device 1", i)
		}
	}
	own := testMember(l.devices[1])
	if err := l.states[1].add(l.devices[1], own, testTime); err != nil {
		t.Fatal(err)
	}
	l.settle()
	if got := l.states[0].log.current()[l.devices[1].ID()].body.Member.JID; got != own.JID {
		t.Errorf("JID is %q", got)
	}
}

// A key to which nothing can be sealed (a point of low order) must not keep the grove
// from making keys.
func TestMemberWithUnusableKey(t *testing.T) {
	l := newLab(t, 3, 2)
	m := testMember(testDevice(t, 50))
	m.HPKE = [32]byte{1}
	if err := l.states[1].add(l.devices[1], m, testTime); err != nil {
		t.Fatal(err)
	}
	l.settle()
	l.revoke(0, 1)
	if !l.states[0].log.keyIsCurrent(l.states[0].log.current()) {
		t.Error("no key")
	}
}
