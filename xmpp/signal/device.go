package signal

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Layout of a signal sealed to one device: version, tag, then what HPKE makes:
// the encapsulated key (32 bytes) and the ciphertext with its tag (16 bytes).
const (
	deviceVersion  = 0x81
	deviceOverhead = headerSize + 32 + 16 + innerOverhead
)

// DeviceTag returns what names a device's HPKE public key in clear on the wire:
// 16 hex digits that do not tell the key.
func DeviceTag(public []byte) string { return hex.EncodeToString(deviceTag(public)) }

func deviceTag(public []byte) []byte {
	sum := sha256.Sum256(append([]byte(domainTag), public...))
	return sum[:8]
}

// SealDevice is Seal for the one device with the given HPKE public key (X25519, 32
// bytes). The device needs no grove key to open it, so a member that missed a
// rotation can still be told. RFC 9180 in base mode is enough, because the
// signature inside says who sealed it, and covers the recipient.
func SealDevice(public []byte, dev ed25519.PrivateKey, from string, s Signal) ([]byte, error) {
	payload, err := encode(s)
	if err != nil {
		return nil, err
	}
	if len(from) > maxFrom {
		return nil, fmt.Errorf("%w: JID of %d bytes", ErrTooBig, len(from))
	}
	recipient, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("read device's public key: %w", err)
	}
	inner, err := frame(dev, signed(domainSignTo, from, public, payload), payload, deviceOverhead, limit(s.Body))
	if err != nil {
		return nil, err
	}
	header := append([]byte{deviceVersion}, deviceTag(public)...)
	ciphertext, err := hpke.Seal(recipient, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), bind(domainSealTo, from, header), inner)
	if err != nil {
		return nil, fmt.Errorf("seal to device: %w", err)
	}
	return append(header, ciphertext...), nil
}

// OpenDevice is Open for what SealDevice made. priv is the HPKE private key of this
// device.
func OpenDevice(priv hpke.PrivateKey, from string, sealed []byte) (Signal, error) {
	if len(sealed) < minSealed || len(sealed) > MaxSealed || sealed[0] != deviceVersion || len(from) > maxFrom {
		return Signal{}, fmt.Errorf("%w: not a signal sealed to a device", ErrMalformed)
	}
	public := priv.PublicKey().Bytes()
	header, ciphertext := sealed[:headerSize], sealed[headerSize:]
	if !bytes.Equal(header[1:], deviceTag(public)) {
		return Signal{}, ErrUnknownKey
	}
	inner, err := hpke.Open(priv, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), bind(domainSealTo, from, header), ciphertext)
	if err != nil {
		return Signal{}, ErrForged
	}
	return unframe(inner, func(payload []byte) []byte { return signed(domainSignTo, from, public, payload) })
}
