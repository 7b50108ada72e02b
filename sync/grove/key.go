package grove

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A Key is a symmetric key of the grove. It converts to signal.GroveKey. ID is
// derived from Secret and says nothing about it.
type Key struct {
	ID     [8]byte
	Secret [32]byte
}

const (
	domainKeyID = "arbor grove key id v1"
	domainWrap  = "arbor grove key wrap v1\x00"
	maxSecrets  = 8 // keys that are kept to open what members seal who were offline
)

// newKey returns the key with a secret.
func newKey(secret [32]byte) (Key, error) {
	id, err := hkdf.Key(sha256.New, secret[:], nil, domainKeyID, 8)
	if err != nil {
		return Key{}, fmt.Errorf("derive key id: %w", err)
	}
	return Key{ID: [8]byte(id), Secret: secret}, nil
}

// publicHPKE returns the key that others seal to.
func (d *Device) publicHPKE() [32]byte { return [32]byte(d.hpke.PublicKey().Bytes()) }

// wrapInfo binds a wrapped key to all that its entry says of it. HPKE is RFC 9180 in
// base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305: the
// author is proven by the signature of the entry. Not the post-quantum KEM of Go,
// whose keys make the log of 20 devices too long for a signal (1,120 bytes each).
func wrapInfo(grove ID, author DeviceID, id keyID, recipient DeviceID) []byte {
	return slices.Concat([]byte(domainWrap), grove[:], author[:], id[:], recipient[:])
}

// unwrap returns the key that a rekey entry hands to this device.
func unwrap(d *Device, e entry) (Key, error) {
	own := d.ID()
	for _, w := range e.body.Key.Wraps {
		if w.Device != own {
			continue
		}
		secret, err := hpke.Open(d.hpke, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(),
			wrapInfo(e.body.Grove, e.body.Author, e.body.Key.ID, own), w.Sealed[:])
		if err != nil {
			return Key{}, fmt.Errorf("unwrap grove key: %w", err)
		}
		k, err := newKey([32]byte(secret))
		if err != nil {
			return Key{}, err
		}
		if k.ID != e.body.Key.ID {
			return Key{}, fmt.Errorf("unwrap grove key: not the key %x", e.body.Key.ID)
		}
		return k, nil
	}
	return Key{}, errors.New("unwrap grove key: none for this device")
}

// rekey makes sure that the current key is one that exactly the members have. A key
// that only lacks a member is handed out again; one that somebody else may have is
// replaced.
func (s *state) rekey(d *Device, now time.Time) error {
	members := s.log.current()
	if self := members[d.ID()]; self != nil && self.body.Member.HPKE != d.publicHPKE() {
		// Somebody wrote another key for this device. Its own word is final.
		m := self.member()
		m.HPKE = d.publicHPKE()
		return s.add(d, m, now)
	}
	if members[d.ID()] == nil || s.log.keyIsCurrent(members) {
		s.order()
		return nil
	}
	k, known := Key{}, false
	if s.log.key != nil && s.log.keySafe(members) {
		k, known = s.secret(s.log.key.body.Key.ID)
	}
	if !known {
		var secret [32]byte
		rand.Read(secret[:])
		var err error
		if k, err = newKey(secret); err != nil {
			return err
		}
	}
	info := &rekeyInfo{ID: k.ID}
	recipients := slices.SortedFunc(maps.Keys(members), func(a, b DeviceID) int { return bytes.Compare(a[:], b[:]) })
	for _, device := range recipients {
		w := wrap{Device: device}
		// A member that was added with a key nobody can seal to gets none, and
		// stops nobody else from getting theirs.
		if public, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(members[device].body.Member.HPKE[:]); err == nil {
			sealed, err := hpke.Seal(public, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(),
				wrapInfo(s.log.grove, d.ID(), k.ID, device), k.Secret[:])
			if err == nil {
				w.Sealed = wrapped(sealed)
			}
		}
		info.Wraps = append(info.Wraps, w)
	}
	e, err := signEntry(d.key, entryBody{
		Kind: kindRekey, Grove: s.log.grove, Author: d.ID(), Time: now.Unix(), Key: info, Parents: ids(s.log.heads()...),
	})
	if err != nil {
		return fmt.Errorf("make grove key: %w", err)
	}
	if s.log.insert(e) != taken {
		return errors.New("make grove key: own entry does not count")
	}
	s.keep(k)
	s.order()
	return nil
}

// secret returns the key with this ID, if it is known.
func (s *state) secret(id [8]byte) (Key, bool) {
	for _, k := range s.secrets {
		if k.ID == id {
			return k, true
		}
	}
	return Key{}, false
}

// learn keeps the key of a rekey entry if there is one for this device in it.
func (s *state) learn(d *Device, e entry) {
	if _, known := s.secret(e.body.Key.ID); known {
		return
	}
	if k, err := unwrap(d, e); err == nil {
		s.keep(k)
	}
}

func (s *state) keep(k Key) {
	if _, known := s.secret(k.ID); !known {
		s.secrets = slices.Insert(s.secrets, 0, k)
	}
}

// order puts the current key first and forgets the oldest.
func (s *state) order() {
	if s.log.key != nil {
		if k, known := s.secret(s.log.key.body.Key.ID); known {
			s.secrets = slices.DeleteFunc(s.secrets, func(o Key) bool { return o.ID == k.ID })
			s.secrets = slices.Insert(s.secrets, 0, k)
		}
	}
	s.secrets = s.secrets[:min(len(s.secrets), maxSecrets)]
}

// marshalSecrets returns the file of keys: the secrets, from which the IDs follow.
func (s *state) marshalSecrets() ([]byte, error) {
	list := make([][]byte, 0, len(s.secrets))
	for _, k := range s.secrets {
		list = append(list, bytes.Clone(k.Secret[:]))
	}
	data, err := encMode.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("encode keys: %w", err)
	}
	return data, nil
}

// loadSecrets takes in what marshalSecrets wrote. Keys that only the state has stay.
func (s *state) loadSecrets(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	var list []bytes32
	if err := decMode.Unmarshal(data, &list); err != nil {
		return err
	}
	for _, secret := range slices.Backward(list) {
		k, err := newKey(secret)
		if err != nil {
			return err
		}
		s.keep(k)
	}
	s.order()
	return nil
}
