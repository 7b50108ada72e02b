package grove

import (
	"bytes"
	"cmp"
	"maps"
	"math/bits"
	"slices"
)

// The log is a set of entries that refer to their parents by hash, so each entry
// says what its author knew: its past. Merging is the union of sets, and every
// question is answered from the set alone, so devices with the same entries agree
// whatever the order in which they came.
//
//   - An entry counts only if its author was a member by the author's own past.
//     That never changes; entries that do not count are not kept.
//   - A revocation that counts holds for ever. Only an add that has it in its past
//     makes the device a member again.
//   - An add falls when its author is revoked by a revocation that neither has it in
//     its past nor is in its past: the author may have made it, with any date, after
//     being found out. What was added by a device added that way falls with it.
//
// So revocation wins over every concurrent add, and two devices that revoke each
// other at the same time are both out: a stolen device must not survive because
// it is the older one, and who is left can invite again. What a revoked device can
// still do is to revoke others, as long as it meets a member that has not heard.
//
// Rekey entries are no part of that history, nobody's past has them, and of all
// that count only one is kept: that with the largest past, then the highest hash.

// Bounds of the set. Adds leave room for revocations, so that a member that fills
// the log can still be revoked.
const (
	maxEntries = 512
	maxAdds    = 384
)

// set is a set of nodes by index.
type set [maxEntries / 64]uint64

func (s *set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *set) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

func (s *set) union(t *set) {
	for i := range s {
		s[i] |= t[i]
	}
}

func (s *set) intersect(t *set) set {
	var r set
	for i := range s {
		r[i] = s[i] & t[i]
	}
	return r
}

// within reports whether all of s is in t.
func (s *set) within(t *set) bool {
	for i := range s {
		if s[i]&^t[i] != 0 {
			return false
		}
	}
	return true
}

func (s *set) len() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// node is an entry of kind found, add or revoke with its place in the history.
type node struct {
	entry
	index int
	past  set
	depth int // number of entries in past
}

// key is a rekey entry with its place in the history.
type key struct {
	entry
	past  set
	depth int
}

// memberLog is the set. It is a value for one goroutine.
type memberLog struct {
	grove ID
	nodes []*node // parents before children
	byID  map[entryID]*node
	adds  map[DeviceID][]*node // found and add entries, by the device they add
	revs  map[DeviceID]*set    // revocations, by the device they revoke
	added int                  // number of adds
	key   *key
}

func newLog(grove ID) *memberLog {
	return &memberLog{grove: grove, byID: map[entryID]*node{}, adds: map[DeviceID][]*node{}, revs: map[DeviceID]*set{}}
}

// verdict is what insert did with an entry.
type verdict int

const (
	taken   verdict = iota // the set changed
	present                // nothing new
	missing                // a parent is not here
	refused                // it does not count, or there is no room
)

// insert takes an entry in. Whether it counts depends on its past alone.
func (l *memberLog) insert(e entry) verdict {
	if _, known := l.byID[e.id]; known || l.key != nil && l.key.id == e.id {
		return present
	}
	if e.body.Kind == kindFound {
		if ID(e.id[:16]) != l.grove {
			return refused
		}
		l.append(e, set{})
		return taken
	}
	if e.body.Grove != l.grove {
		return refused
	}
	var past set
	for _, id := range e.body.Parents {
		p := l.byID[id]
		if p == nil {
			return missing
		}
		past.union(&p.past)
		past.add(p.index)
	}
	members := l.members(&past)
	if members[e.body.Author] == nil {
		return refused
	}
	switch e.body.Kind {
	case kindAdd:
		full := members[e.body.Member.Device] == nil && len(members) >= MaxMembers
		if full || l.added >= maxAdds || len(l.nodes) >= maxEntries {
			return refused
		}
	case kindRevoke:
		if members[*e.body.Target] == nil || len(l.nodes) >= maxEntries {
			return refused
		}
	case kindRekey:
		return l.elect(key{entry: e, past: past, depth: past.len()}, members)
	}
	l.append(e, past)
	return taken
}

func (l *memberLog) append(e entry, past set) {
	n := &node{entry: e, index: len(l.nodes), past: past, depth: past.len()}
	l.nodes = append(l.nodes, n)
	l.byID[e.id] = n
	if e.body.Kind == kindRevoke {
		if l.revs[*e.body.Target] == nil {
			l.revs[*e.body.Target] = new(set)
		}
		l.revs[*e.body.Target].add(n.index)
		return
	}
	l.adds[e.body.Member.Device] = append(l.adds[e.body.Member.Device], n)
	l.added++
}

// elect keeps the higher of two rekeys. A rekey counts only if it is for exactly
// the members by its past.
func (l *memberLog) elect(k key, members map[DeviceID]*node) verdict {
	if len(k.body.Key.Wraps) != len(members) {
		return refused
	}
	for _, w := range k.body.Key.Wraps {
		if members[w.Device] == nil {
			return refused
		}
	}
	if l.key != nil && cmp.Or(cmp.Compare(k.depth, l.key.depth), bytes.Compare(k.id[:], l.key.id[:])) < 0 {
		return present
	}
	l.key = &k
	return taken
}

// revoked returns the revocations of a device that are in s.
func (l *memberLog) revoked(d DeviceID, s *set) set {
	revs := l.revs[d]
	if revs == nil {
		return set{}
	}
	return revs.intersect(s)
}

// members returns, by the entries in s, which must hold the past of each of them,
// the members and for each the entry that says most recently who it is: the
// member's own word before that of others, then the one that knew most.
func (l *memberLog) members(s *set) map[DeviceID]*node {
	standing := l.standing(s)
	members := map[DeviceID]*node{}
	for device, adds := range l.adds {
		revs := l.revoked(device, s)
		for _, n := range adds {
			if !standing.has(n.index) || !revs.within(&n.past) {
				continue
			}
			if m := members[device]; m == nil || m.saysLess(n) {
				members[device] = n
			}
		}
	}
	return members
}

func (n *node) saysLess(o *node) bool {
	own := func(n *node) int {
		if n.body.Author == n.body.Member.Device {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(own(n), own(o)), cmp.Compare(n.depth, o.depth), bytes.Compare(n.id[:], o.id[:])) < 0
}

// standing returns the adds in s that have not fallen.
func (l *memberLog) standing(s *set) set {
	var standing set
	for _, n := range l.nodes {
		if !s.has(n.index) || n.body.Kind == kindRevoke {
			continue
		}
		if n.body.Kind == kindFound || l.supported(n, &standing) && !l.contested(n, s) {
			standing.add(n.index)
		}
	}
	return standing
}

// supported reports whether an add that stands made the author of n a member.
func (l *memberLog) supported(n *node, standing *set) bool {
	revs := l.revoked(n.body.Author, &n.past)
	return slices.ContainsFunc(l.adds[n.body.Author], func(a *node) bool {
		return standing.has(a.index) && n.past.has(a.index) && revs.within(&a.past)
	})
}

// contested reports whether somebody in s revoked the author of n without knowing
// of n, and without n knowing of that.
func (l *memberLog) contested(n *node, s *set) bool {
	revs := l.revoked(n.body.Author, s)
	if revs.within(&n.past) {
		return false
	}
	return slices.ContainsFunc(l.nodes, func(r *node) bool {
		return revs.has(r.index) && !n.past.has(r.index) && !r.past.has(n.index)
	})
}

// all returns the set of all nodes.
func (l *memberLog) all() *set {
	var s set
	for _, n := range l.nodes {
		s.add(n.index)
	}
	return &s
}

// heads returns the nodes that are in nobody's past.
func (l *memberLog) heads() []*node {
	var inner set
	for _, n := range l.nodes {
		inner.union(&n.past)
	}
	return slices.DeleteFunc(slices.Clone(l.nodes), func(n *node) bool { return inner.has(n.index) })
}

// keyIsCurrent reports whether the kept key is for exactly the members, was made by
// one of them, and knew of every revocation: then nobody else has it.
func (l *memberLog) keyIsCurrent(members map[DeviceID]*node) bool {
	if l.key == nil || !l.keySafe(members) {
		return false
	}
	return len(l.key.body.Key.Wraps) == len(members)
}

// keySafe reports whether the kept key is known to nobody but members.
func (l *memberLog) keySafe(members map[DeviceID]*node) bool {
	if members[l.key.body.Author] == nil {
		return false
	}
	for _, revs := range l.revs {
		if !revs.within(&l.key.past) {
			return false
		}
	}
	return !slices.ContainsFunc(l.key.body.Key.Wraps, func(w wrap) bool { return members[w.Device] == nil })
}

// sorted returns all entries in the order in which they are written: parents first.
func (l *memberLog) sorted() []entry {
	nodes := slices.SortedFunc(maps.Values(l.byID), func(a, b *node) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), bytes.Compare(a.id[:], b.id[:]))
	})
	entries := make([]entry, 0, len(nodes)+1)
	for _, n := range nodes {
		entries = append(entries, n.entry)
	}
	if l.key != nil {
		entries = append(entries, l.key.entry)
	}
	return entries
}

// merge takes in entries in whatever order they are. Entries that do not count are
// left out, as every other device leaves them out. keys are the rekeys among them
// that count, kept or not: somebody may use such a key before knowing of a higher.
func (l *memberLog) merge(entries []entry) (changed bool, keys []entry) {
	for {
		progress := false
		entries = slices.DeleteFunc(slices.Clone(entries), func(e entry) bool {
			v := l.insert(e)
			progress = progress || v == taken
			if e.body.Kind == kindRekey && (v == taken || v == present) {
				keys = append(keys, e)
			}
			return v != missing
		})
		if !progress {
			return changed, keys
		}
		changed = true
	}
}

// clone returns a copy that can be changed on its own.
func (l *memberLog) clone() *memberLog {
	c := newLog(l.grove)
	c.nodes, c.byID, c.added, c.key = slices.Clone(l.nodes), maps.Clone(l.byID), l.added, l.key
	for device, adds := range l.adds {
		c.adds[device] = slices.Clone(adds)
	}
	for device, revs := range l.revs {
		c.revs[device] = new(*revs)
	}
	return c
}
