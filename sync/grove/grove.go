// Package grove owns who belongs to a grove: devices and their keys, the signed
// and mergeable log of members, the grove's symmetric keys, and invitations, in
// memory and on disk. It never talks to a network: it makes and reads the bytes
// that others carry. docs/protocol.md is the specification of those bytes, and of
// the rules by which a log of any origin yields the same members everywhere.
package grove

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Errors to be tested with errors.Is.
var (
	// ErrNotMember says that this device is no member (any more), or that the
	// device in question is not.
	ErrNotMember = errors.New("not a member of the grove")
	// ErrNoKey says that no grove key is known that only current members have.
	ErrNoKey = errors.New("no current grove key")
	// ErrFull says that the log or the grove has no room: see MaxMembers.
	ErrFull = errors.New("member log is full")
	// ErrInvalid says that bytes are no member log of this grove.
	ErrInvalid = errors.New("invalid member log")
	// ErrNotInvited says that a join request is for no known invitation or was
	// made without its secret. The right answer is silence.
	ErrNotInvited = errors.New("no such invitation")
)

// Limits of a grove.
const (
	// MaxMembers is the largest number of members at one time.
	MaxMembers = 64
	// MaxLog is the largest size of a member log, in bytes.
	MaxLog = 1 << 20
)

// An ID names a grove: the first 16 bytes of the SHA-256 of its founding entry.
type ID [16]byte

// ParseID is the reverse of ID.String.
func ParseID(s string) (ID, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(ID{}) {
		return ID{}, fmt.Errorf("grove id %q: not 32 hex digits", s)
	}
	return ID(b), nil
}

// String returns the ID as 32 hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// A Member is what the grove knows of a device.
type Member struct {
	Device   DeviceID
	HPKE     [32]byte // X25519 public key
	JID      string   // bare JID of its account
	Resource string   // XMPP resource its agent binds
	Name     string   // for people
	Since    time.Time
	AddedBy  DeviceID
}

// A Grove is the state of one grove on one device. Its methods may be called by
// any goroutine; those that change it have written it to disk when they return,
// and leave it as it was when they return an error. Several processes may use
// the same grove: each sees the changes of others when it changes something itself.
type Grove struct {
	dir    string
	device *Device

	mu    sync.Mutex
	state state
}

// Found makes a new grove with this device as its only member, in a directory of
// dir (<state>/groves) named by the grove's ID. self gives JID, Resource and Name.
func Found(dir string, d *Device, self Member, now time.Time) (*Grove, error) {
	self.Device, self.HPKE = d.ID(), d.publicHPKE()
	nonce := make([]byte, 16)
	rand.Read(nonce)
	first, err := signEntry(d.key, entryBody{
		Kind: kindFound, Author: d.ID(), Time: now.Unix(), Member: self.info(), Nonce: nonce,
	})
	if err != nil {
		return nil, fmt.Errorf("found grove: %w", err)
	}
	return create(dir, d, ID(first.id[:16]), []entry{first}, now)
}

// Join starts the state of a grove that another device founded and that has
// admitted this one, from a member log of it. The ID is what a JoinReply said. When
// the grove is here already the log is merged.
func Join(dir string, d *Device, id ID, log []byte, now time.Time) (*Grove, error) {
	entries, err := parseLog(log, func(entryID) bool { return false })
	if err != nil {
		return nil, fmt.Errorf("join grove: %w", err)
	}
	g, err := create(dir, d, id, entries, now)
	if err != nil {
		return nil, fmt.Errorf("join grove: %w", err)
	}
	return g, nil
}

// create makes the directory of a grove, or opens it, and puts entries into it.
func create(dir string, d *Device, id ID, entries []entry, now time.Time) (*Grove, error) {
	g := &Grove{dir: filepath.Join(dir, id.String()), device: d, state: state{log: newLog(id)}}
	check := g.state.log.clone()
	check.merge(slices.Clone(entries))
	if check.members(check.all())[d.ID()] == nil {
		return nil, ErrNotMember
	}
	if err := os.MkdirAll(g.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make grove directory: %w", err)
	}
	return g, g.change(func(s *state) error {
		_, err := s.merge(d, entries, now)
		return err
	})
}

// Open reads a grove from dir. The error is fs.ErrNotExist when it is not there.
func Open(dir string, id ID, d *Device) (*Grove, error) {
	g := &Grove{dir: filepath.Join(dir, id.String()), device: d, state: state{log: newLog(id)}}
	if _, err := os.Stat(filepath.Join(g.dir, membersFile)); err != nil {
		return nil, fmt.Errorf("open grove %s: %w", id, err)
	}
	if err := g.state.load(g.dir, d); err != nil {
		return nil, fmt.Errorf("open grove %s: %w", id, err)
	}
	if len(g.state.log.nodes) == 0 {
		return nil, fmt.Errorf("open grove %s: %w: no founding entry in %s", id, ErrInvalid, membersFile)
	}
	return g, nil
}

// List returns the IDs of the groves in dir.
func List(dir string) ([]ID, error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list groves: %w", err)
	}
	var ids []ID
	for _, n := range names {
		if id, err := ParseID(n.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// change runs f on a copy of the state, with what other processes wrote meanwhile,
// and makes the copy the state when it is on disk.
func (g *Grove) change(f func(*state) error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	unlock, err := lockDir(g.dir)
	if err != nil {
		return err
	}
	defer unlock()
	s := g.state.clone()
	if err := s.load(g.dir, g.device); err != nil {
		return err
	}
	if err := f(&s); err != nil {
		return err
	}
	if err := s.save(g.dir); err != nil {
		return err
	}
	g.state = s
	return nil
}

// view runs f on the state.
func view[T any](g *Grove, f func(*state) T) T {
	g.mu.Lock()
	defer g.mu.Unlock()
	return f(&g.state)
}

// ID returns the grove's ID.
func (g *Grove) ID() ID { return view(g, func(s *state) ID { return s.log.grove }) }

// Merge takes in a member log. changed reports whether anything was new: then
// members, Digest or keys differ, and others should be told. When the log shows
// that the current key is known to a device that is no member any more, or is not
// known to one that is, Merge makes and adds a new one. Bytes that are no log of
// this grove are ErrInvalid and change nothing.
func (g *Grove) Merge(log []byte, now time.Time) (changed bool, err error) {
	entries, err := parseLog(log, func(id entryID) bool {
		return view(g, func(s *state) bool { return s.log.has(id) })
	})
	if err != nil {
		return false, err
	}
	if len(entries) == 0 {
		return false, nil
	}
	err = g.change(func(s *state) error {
		changed, err = s.merge(g.device, entries, now)
		return err
	})
	return changed && err == nil, err
}

// Marshal returns the whole member log for Merge and Join of others. It holds no
// secret that its readers could use unless they are members.
func (g *Grove) Marshal() []byte {
	return view(g, func(s *state) []byte { return marshalLog(s.log.sorted()) })
}

// Digest names the state of the log: equal on two devices if and only if their
// logs are.
func (g *Grove) Digest() [32]byte {
	return view(g, func(s *state) [32]byte {
		h := sha256.New()
		h.Write([]byte("arbor members digest v1\x00"))
		for _, e := range s.log.sorted() {
			h.Write(e.id[:])
		}
		return [32]byte(h.Sum(nil))
	})
}

// Members returns the current members, by device ID.
func (g *Grove) Members() []Member {
	return view(g, func(s *state) []Member {
		var members []Member
		for _, n := range s.log.current() {
			members = append(members, n.member())
		}
		slices.SortFunc(members, func(a, b Member) int { return bytes.Compare(a.Device[:], b.Device[:]) })
		return members
	})
}

// Member returns the current member with this device ID.
func (g *Grove) Member(id DeviceID) (Member, bool) {
	type result struct {
		m  Member
		ok bool
	}
	r := view(g, func(s *state) result {
		n := s.log.current()[id]
		if n == nil {
			return result{}
		}
		return result{n.member(), true}
	})
	return r.m, r.ok
}

// Revoked reports whether the device was a member and is none now.
func (g *Grove) Revoked(id DeviceID) bool {
	return view(g, func(s *state) bool { return s.log.revs[id] != nil && s.log.current()[id] == nil })
}

// Add makes m a member, or changes what is known of a member (also of this device
// itself). The HPKE key belongs to the device for ever.
func (g *Grove) Add(m Member, now time.Time) error {
	return g.change(func(s *state) error { return s.add(g.device, m, now) })
}

// Revoke ends the membership of a device, this one included, and makes a new key
// that it does not get. The caller closes its links and tells the others.
func (g *Grove) Revoke(id DeviceID, now time.Time) error {
	return g.change(func(s *state) error { return s.revoke(g.device, id, now) })
}

// SealKey returns the key to seal signals with. It is ErrNotMember when this device
// was revoked, and ErrNoKey when it holds none that only members have.
func (g *Grove) SealKey() (Key, error) {
	type result struct {
		k   Key
		err error
	}
	r := view(g, func(s *state) result {
		members := s.log.current()
		if members[g.device.ID()] == nil {
			return result{err: ErrNotMember}
		}
		if !s.log.keyIsCurrent(members) {
			return result{err: ErrNoKey}
		}
		k, ok := s.secret(s.log.key.body.Key.ID)
		if !ok {
			return result{err: fmt.Errorf("%w: that of device %s cannot be read here", ErrNoKey, s.log.key.body.Author.Short())}
		}
		return result{k: k}
	})
	return r.k, r.err
}

// OpenKeys returns the keys to open signals with: the current one first, then those
// it replaced, because a member that was offline still seals with one.
func (g *Grove) OpenKeys() []Key {
	return view(g, func(s *state) []Key { return slices.Clone(s.secrets) })
}
