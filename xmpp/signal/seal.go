package signal

import (
	"bytes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// Strings that keep each use of a key apart from every other. Those that are
// followed by data end with a NUL, so that none is the beginning of another.
const (
	domainKey    = "arbor signal key v1"
	domainAAD    = "arbor signal aad v1\x00"
	domainSign   = "arbor signal sign v1\x00"
	domainSealTo = "arbor signal device v1\x00"
	domainSignTo = "arbor signal device sign v1\x00"
	domainTag    = "arbor signal device tag v1\x00"
)

// Layout of a sealed signal: version, key id, nonce, ciphertext with its tag.
// Layout of what is encrypted: device, signature, length, payload, zeros.
const (
	headerSize    = 1 + 8
	innerOverhead = ed25519.PublicKeySize + ed25519.SignatureSize + 4
	sealOverhead  = headerSize + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead + innerOverhead
	maxFrom       = 2047 // bytes of a bare JID: two parts of 1023 and "@" (RFC 7622)
)

// Seal signs s with the device's key and encrypts it for all who have k. from is
// the sender's bare JID: Open succeeds only for the same, in any case of letters.
// The result is padded to 256 bytes or the next power of two, so that its length
// says little. It returns ErrTooBig when that is more than MaxSealed, or more
// than MaxPresence for a Vector, and ErrMalformed when a part breaks its limit.
func Seal(k GroveKey, dev ed25519.PrivateKey, from string, s Signal) ([]byte, error) {
	payload, err := encode(s)
	if err != nil {
		return nil, err
	}
	if len(from) > maxFrom {
		return nil, fmt.Errorf("%w: JID of %d bytes", ErrTooBig, len(from))
	}
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	header := append([]byte{Version}, k.ID[:]...)
	inner, err := frame(dev, signed(domainSign, from, k.ID[:], payload), payload, sealOverhead, limit(s.Body))
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	return aead.Seal(append(header, nonce...), nonce, inner, bind(domainAAD, from, header)), nil
}

// Open decrypts and verifies what Seal made for one of keys. from is the bare JID
// the server says it comes from. On success the Device of the signal has signed
// all of it, including from; whether that device is a member, and whether the
// signal is fresh (see Replay), is for the caller to check, in this order, before
// any other work. Errors are ErrUnknownKey, ErrForged, ErrMalformed and
// ErrUnknownBody.
func Open(keys []GroveKey, from string, sealed []byte) (Signal, error) {
	if len(sealed) < minSealed || len(sealed) > MaxSealed || sealed[0] != Version || len(from) > maxFrom {
		return Signal{}, fmt.Errorf("%w: not a sealed signal", ErrMalformed)
	}
	header, rest := sealed[:headerSize], sealed[headerSize:]
	for _, k := range keys {
		if !bytes.Equal(k.ID[:], header[1:]) {
			continue
		}
		aead, err := k.aead()
		if err != nil {
			return Signal{}, err
		}
		nonce, ciphertext := rest[:aead.NonceSize()], rest[aead.NonceSize():]
		inner, err := aead.Open(nil, nonce, ciphertext, bind(domainAAD, from, header))
		if err != nil {
			return Signal{}, ErrForged
		}
		return unframe(inner, func(payload []byte) []byte { return signed(domainSign, from, k.ID[:], payload) })
	}
	return Signal{}, ErrUnknownKey
}

// aead returns the cipher of the key. XChaCha20-Poly1305, because every device of
// the grove picks nonces under the same key without talking to the others: 192
// random bits never meet, the 96 of AES-GCM might. The cipher's key is derived,
// so that the secret may serve other purposes as well.
func (k GroveKey) aead() (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, k.Secret[:], nil, domainKey, chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive signal key: %w", err)
	}
	return chacha20poly1305.NewX(key)
}

// limit is the largest sealed size of a signal with body b.
func limit(b Body) int {
	if b.kind() == kindVector {
		return MaxPresence
	}
	return MaxSealed
}

// bind returns the associated data that ties a ciphertext to its sender and key.
// from is short: its length fits two bytes. It is bound in lower case, because people
// write their JID in any case and servers compare without it (RFC 7622).
func bind(domain, from string, header []byte) []byte {
	from = strings.ToLower(from)
	b := append([]byte(domain), byte(len(from)>>8), byte(len(from)))
	b = append(b, from...)
	return append(b, header...)
}

// signed returns the message that the device signs. Plain Ed25519 over a prefixed
// message and not Ed25519ctx, because more libraries have it; the same key signs
// TLS handshakes, whose messages begin with 64 spaces.
func signed(domain, from string, to, payload []byte) []byte {
	return append(bind(domain, from, to), payload...)
}

// frame returns device, signature, length and payload, followed by the zeros that
// make the sealed signal a power of two in size. The signature is inside the
// encryption: outsiders must not see who speaks.
func frame(dev ed25519.PrivateKey, message, payload []byte, overhead, most int) ([]byte, error) {
	size := max(minSealed, 1<<bits.Len(uint(overhead+len(payload)-1)))
	if size > most {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrTooBig, overhead+len(payload), most)
	}
	inner := make([]byte, 0, size-overhead+innerOverhead)
	inner = append(inner, dev.Public().(ed25519.PublicKey)...)
	inner = append(inner, ed25519.Sign(dev, message)...)
	inner = binary.BigEndian.AppendUint32(inner, uint32(len(payload)))
	inner = append(inner, payload...)
	return inner[:cap(inner)], nil
}

// unframe is the reverse of frame; message makes what was signed from the payload.
func unframe(inner []byte, message func(payload []byte) []byte) (Signal, error) {
	if len(inner) < innerOverhead {
		return Signal{}, fmt.Errorf("%w: short", ErrMalformed)
	}
	device, rest := inner[:ed25519.PublicKeySize], inner[ed25519.PublicKeySize:]
	signature, rest := rest[:ed25519.SignatureSize], rest[ed25519.SignatureSize:]
	n, rest := binary.BigEndian.Uint32(rest), rest[4:]
	if uint64(n) > uint64(len(rest)) {
		return Signal{}, fmt.Errorf("%w: length past the end", ErrMalformed)
	}
	payload, padding := rest[:n], rest[n:]
	if len(bytes.Trim(padding, "\x00")) != 0 {
		return Signal{}, fmt.Errorf("%w: padding is not zero", ErrMalformed)
	}
	if !ed25519.Verify(device, message(payload), signature) {
		return Signal{}, ErrForged
	}
	s, err := decode(payload)
	if err != nil {
		return Signal{}, err
	}
	s.Device = [32]byte(device)
	return s, nil
}
