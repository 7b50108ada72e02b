package grove

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// play runs random steps of honest and hostile devices and returns the lab and all
// entries ever made.
func play(t *rapid.T) (*lab, map[entryID]entry) {
	const n = 4
	l := newLab(t, n, rapid.IntRange(1, n).Draw(t, "members"))
	made := map[entryID]entry{}
	collect := func() {
		for _, s := range l.states {
			for _, e := range s.log.sorted() {
				made[e.id] = e
			}
		}
	}
	device := rapid.IntRange(0, n-1)
	for range rapid.IntRange(1, 16).Draw(t, "steps") {
		by, who := device.Draw(t, "by"), device.Draw(t, "who")
		s := l.states[by]
		switch rapid.IntRange(0, 5).Draw(t, "step") {
		case 0:
			if s.log.current()[l.devices[by].ID()] != nil {
				l.add(by, who)
			}
		case 1:
			current := s.log.current()
			if current[l.devices[by].ID()] != nil && current[l.devices[who].ID()] != nil {
				l.revoke(by, who)
			}
		case 2, 3:
			if by != who {
				l.merge(by, who)
			}
		default: // hostile: any parents, any kind, and others are made to read it
			if len(s.log.nodes) == 0 {
				continue
			}
			parents := rapid.SliceOfNDistinct(rapid.SampledFrom(s.log.nodes), 1, min(3, len(s.log.nodes)), func(n *node) int { return n.index }).Draw(t, "parents")
			body := entryBody{Kind: kindAdd, Parents: ids(parents...), Member: testMember(l.devices[who]).info()}
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				body = entryBody{Kind: kindRevoke, Parents: ids(parents...), Target: new(l.devices[who].ID())}
			case 1:
				body = entryBody{Kind: kindRekey, Parents: ids(parents...), Key: &rekeyInfo{Wraps: []wrap{{Device: l.devices[by].ID()}}}}
			}
			e := l.forge(by, body)
			made[e.id] = e
			s.log.merge([]entry{e})
		}
		collect()
	}
	return l, made
}

func TestRandomGroves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, made := play(t)
		entries := slices.SortedFunc(maps.Values(made), func(a, b entry) int { return bytes.Compare(a.id[:], b.id[:]) })
		whole := newLog(l.states[0].log.grove)
		whole.merge(entries)
		orderNeverMatters(t, whole, entries)
		revokedNeverResurrect(t, whole)
		l.settle()
		settled(t, l)
	})
}

func orderNeverMatters(t *rapid.T, want *memberLog, entries []entry) {
	for range 2 {
		got := newLog(want.grove)
		shuffled := rapid.Permutation(entries).Draw(t, "order")
		for len(shuffled) > 0 {
			n := rapid.IntRange(1, len(shuffled)).Draw(t, "part")
			got.merge(shuffled[:n])
			shuffled = shuffled[n:]
		}
		got.merge(entries) // what came before its parents was dropped
		if !bytes.Equal(marshalLog(got.sorted()), marshalLog(want.sorted())) {
			t.Fatal("the logs differ")
		}
		a, b := got.current(), want.current()
		if !maps.EqualFunc(a, b, func(x, y *node) bool { return x.id == y.id }) {
			t.Fatal("the members differ")
		}
	}
}

// revokedNeverResurrect: whoever is a member was found, or added by a device that was
// a member then, with every revocation known to that add.
func revokedNeverResurrect(t *rapid.T, log *memberLog) {
	for device, n := range log.current() {
		for _, r := range log.nodes {
			if r.body.Kind != kindRevoke || *r.body.Target != device {
				continue
			}
			if !n.past.has(r.index) {
				t.Fatalf("member by an add that does not know revocation %x", r.id[:4])
			}
			if log.members(&n.past)[n.body.Author] == nil {
				t.Fatal("added by a device that was no member")
			}
			if n.body.Author == device && !slices.ContainsFunc(log.adds[device], func(a *node) bool {
				return a.body.Author != device && a.past.has(r.index)
			}) {
				t.Fatal("added by itself only")
			}
		}
	}
}

// settled: after all have talked to all, they agree, members have a key, and others
// do not have it.
func settled(t *rapid.T, l *lab) {
	want := l.states[0]
	current := want.log.current()
	for i, s := range l.states {
		if !bytes.Equal(marshalLog(s.log.sorted()), marshalLog(want.log.sorted())) {
			t.Fatalf("device %d has another log", i)
		}
		if len(current) == 0 {
			continue
		}
		if !s.log.keyIsCurrent(current) {
			t.Fatalf("device %d sees no current key", i)
		}
		_, known := s.secret(s.log.key.body.Key.ID)
		if member := current[l.devices[i].ID()] != nil; known != member {
			// A hostile member may hand out a key that nobody can read.
			if !known && s.log.key.body.Key.Wraps[0].Sealed == (wrapped{}) {
				continue
			}
			t.Fatalf("device %d is member: %v, but knows the current key: %v", i, member, known)
		}
	}
}
