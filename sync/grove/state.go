package grove

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Files of a grove's directory. Members and keys can be read by every version that
// reads the wire; keys and invitations are secret.
const (
	membersFile     = "members"     // the log, as on the wire
	keysFile        = "keys"        // CBOR list of the secrets of keys, newest first
	invitationsFile = "invitations" // CBOR list of invitations
)

// state is what a Grove knows. It is a value for one goroutine.
type state struct {
	log         *memberLog
	secrets     []Key // current first
	invitations []invitation

	disk [3][]byte // what the files held when they were last read or written
}

func (s *state) clone() state {
	return state{log: s.log.clone(), secrets: slices.Clone(s.secrets), invitations: slices.Clone(s.invitations), disk: s.disk}
}

// load takes in what the files hold and the state does not.
func (s *state) load(dir string, d *Device) error {
	members, err := readFile(dir, membersFile, MaxLog)
	if err != nil {
		return err
	}
	if len(members) > 0 && !bytes.Equal(members, s.disk[0]) {
		entries, err := parseLog(members, s.log.has)
		if err != nil {
			return fmt.Errorf("read %s: %w", membersFile, err)
		}
		s.log.merge(entries)
	}
	keys, err := readFile(dir, keysFile, MaxLog)
	if err != nil {
		return err
	}
	if !bytes.Equal(keys, s.disk[1]) {
		if err := s.loadSecrets(keys); err != nil {
			return fmt.Errorf("read %s: %w", keysFile, err)
		}
	}
	invitations, err := readFile(dir, invitationsFile, MaxLog)
	if err != nil {
		return err
	}
	if !bytes.Equal(invitations, s.disk[2]) {
		s.invitations = nil
		if len(invitations) > 0 {
			if err := decMode.Unmarshal(invitations, &s.invitations); err != nil {
				return fmt.Errorf("read %s: %w", invitationsFile, err)
			}
		}
	}
	s.disk = [3][]byte{members, keys, invitations}
	if s.log.key != nil {
		s.learn(d, s.log.key.entry) // the file of keys may have been lost
	}
	return nil
}

// save writes the files that changed. Keys come before the log that names them;
// were the log lost in between, the next key would only be made anew. Invitations
// come first: one that is used up must not come back.
func (s *state) save(dir string) error {
	invitations, err := encMode.Marshal(s.invitations)
	if err != nil {
		return fmt.Errorf("encode invitations: %w", err)
	}
	keys, err := s.marshalSecrets()
	if err != nil {
		return err
	}
	members := marshalLog(s.log.sorted())
	for _, f := range []struct {
		name string
		data []byte
		disk *[]byte
	}{
		{invitationsFile, invitations, &s.disk[2]}, {keysFile, keys, &s.disk[1]}, {membersFile, members, &s.disk[0]},
	} {
		if bytes.Equal(f.data, *f.disk) {
			continue
		}
		if err := writeFile(dir, f.name, f.data); err != nil {
			return err
		}
		*f.disk = f.data
	}
	return nil
}

// merge takes in entries, learns the keys in them, and makes a key where one is due.
func (s *state) merge(d *Device, entries []entry, now time.Time) (changed bool, err error) {
	before := s.log.key
	changed, keys := s.log.merge(entries)
	for _, e := range keys {
		s.learn(d, e)
	}
	if err := s.rekey(d, now); err != nil {
		return false, err
	}
	return changed || s.log.key != before, nil
}

// add makes m a member, unless the log says just that already.
func (s *state) add(d *Device, m Member, now time.Time) error {
	info := m.info()
	if err := info.check(); err != nil {
		return fmt.Errorf("add member: %w", err)
	}
	if n := s.log.current()[m.Device]; n != nil && *n.body.Member == *info {
		return nil
	}
	// One entry is enough, unless more than maxParents concurrent revocations of
	// the device must be known to it.
	for range 4 {
		members := s.log.current()
		self := members[d.ID()]
		if self == nil {
			return ErrNotMember
		}
		e, err := signEntry(d.key, entryBody{
			Kind: kindAdd, Grove: s.log.grove, Author: d.ID(), Time: now.Unix(), Member: info,
			Parents: s.log.parents(m.Device, self),
		})
		if err != nil {
			return fmt.Errorf("add member: %w", err)
		}
		if s.log.insert(e) != taken {
			return ErrFull
		}
		if s.log.current()[m.Device] != nil {
			return s.rekey(d, now)
		}
	}
	return ErrFull
}

func (s *state) revoke(d *Device, target DeviceID, now time.Time) error {
	members := s.log.current()
	self, other := members[d.ID()], members[target]
	if self == nil {
		return fmt.Errorf("this device: %w", ErrNotMember)
	}
	if other == nil {
		return fmt.Errorf("device %s: %w", target.Short(), ErrNotMember)
	}
	parents := s.log.parents(target, self, other)
	if s.log.added >= maxAdds {
		// A member may have filled the logs of others with other entries than ours:
		// what this entry needs must fit into all of them. What that member added
		// falls with it.
		parents = ids(self, other)
	}
	e, err := signEntry(d.key, entryBody{
		Kind: kindRevoke, Grove: s.log.grove, Author: d.ID(), Time: now.Unix(), Target: &target, Parents: parents,
	})
	if err != nil {
		return fmt.Errorf("revoke member: %w", err)
	}
	if s.log.insert(e) != taken {
		return ErrFull
	}
	return s.rekey(d, now)
}

// has reports whether the entry with this ID is in the log.
func (l *memberLog) has(id entryID) bool { return l.byID[id] != nil || l.key != nil && l.key.id == id }

// current returns the members by all entries.
func (l *memberLog) current() map[DeviceID]*node { return l.members(l.all()) }

// parents returns the parents of a new entry about a device: the heads, of which
// those that know its revocations come first, and what proves that it counts.
func (l *memberLog) parents(about DeviceID, proof ...*node) []entryID {
	chosen := slices.Clone(proof)
	heads := l.heads()
	knows := func(n *node) int {
		past := n.past
		past.add(n.index)
		revs := l.revoked(about, &past)
		return revs.len()
	}
	slices.SortFunc(heads, func(a, b *node) int {
		return cmp.Or(cmp.Compare(knows(b), knows(a)), cmp.Compare(b.depth, a.depth), bytes.Compare(a.id[:], b.id[:]))
	})
	for _, h := range heads {
		if len(chosen) < maxParents && !slices.Contains(chosen, h) {
			chosen = append(chosen, h)
		}
	}
	var inner set
	for _, n := range chosen {
		inner.union(&n.past)
	}
	return ids(slices.DeleteFunc(chosen, func(n *node) bool { return inner.has(n.index) })...)
}

func ids(nodes ...*node) []entryID {
	var ids []entryID
	for _, n := range nodes {
		if !slices.Contains(ids, n.id) {
			ids = append(ids, n.id)
		}
	}
	return ids
}
