package grove

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A DeviceID is the Ed25519 public key of a device.
type DeviceID [32]byte

// base32Lower is RFC 4648 base32 in lower case, unpadded: 52 characters for a
// device, which can be read out, typed, and put into a URI as they are.
var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String returns the whole ID in base32: 52 lower-case letters and digits.
func (id DeviceID) String() string { return base32Lower.EncodeToString(id[:]) }

// Short returns the first eight characters, for people; not unique by force.
func (id DeviceID) Short() string { return id.String()[:8] }

// IsZero reports whether id names no device.
func (id DeviceID) IsZero() bool { return id == DeviceID{} }

// UnmarshalCBOR takes a byte string of exactly 32 bytes.
func (id *DeviceID) UnmarshalCBOR(raw []byte) error { return byteString(id[:], raw) }

// ParseDeviceID is the reverse of DeviceID.String; it takes upper case as well.
func ParseDeviceID(s string) (DeviceID, error) {
	b, err := base32Lower.DecodeString(strings.ToLower(s))
	if err != nil || len(b) != len(DeviceID{}) || !strings.EqualFold(base32Lower.EncodeToString(b), s) {
		return DeviceID{}, fmt.Errorf("device id %q: not 52 letters and digits of base32", s)
	}
	return DeviceID(b), nil
}

// A Device is one machine's install of Arbor. Its methods may be called by any
// goroutine.
type Device struct {
	dir  string
	key  ed25519.PrivateKey
	hpke hpke.PrivateKey
}

const (
	deviceFile = "device.key"
	epochFile  = "epoch"
	// domainHPKE makes the second key of a device out of the first, so that
	// there is one secret to keep.
	domainHPKE = "arbor device hpke v1"
)

// LoadDevice reads the device's key from dir/device.key (PKCS #8 in PEM, mode
// 0600) and creates directory and key on first use. A key file that others may
// read is an error: it may have been copied.
func LoadDevice(dir string) (*Device, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	path := filepath.Join(dir, deviceFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createDevice(dir); err != nil {
			return nil, fmt.Errorf("create device key: %w", err)
		}
		info, err = os.Stat(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read device key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("device key %s has mode %04o, so others may have read it: "+
			"if nobody has, chmod 600 it; else remove it and join the groves anew", path, info.Mode().Perm())
	}
	data, err := readFile(dir, deviceFile, 4096)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("device key %s: not a PEM private key", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("device key %s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("device key %s: not an Ed25519 key", path)
	}
	return newDevice(dir, key)
}

// createDevice writes a new key. link(2) and not rename(2), so that of two
// processes that start together one wins and none replaces the other's key.
func createDevice(dir string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	temp := "." + deviceFile + "-" + rand.Text()
	if err := writeFile(dir, temp, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return err
	}
	defer os.Remove(filepath.Join(dir, temp))
	err = os.Link(filepath.Join(dir, temp), filepath.Join(dir, deviceFile))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

// newDevice derives what hangs on the key.
func newDevice(dir string, key ed25519.PrivateKey) (*Device, error) {
	ikm, err := hkdf.Key(sha256.New, key.Seed(), nil, domainHPKE, 32)
	if err != nil {
		return nil, fmt.Errorf("derive HPKE key: %w", err)
	}
	private, err := hpke.DHKEM(ecdh.X25519()).DeriveKeyPair(ikm)
	if err != nil {
		return nil, fmt.Errorf("derive HPKE key: %w", err)
	}
	return &Device{dir: dir, key: key, hpke: private}, nil
}

// ID returns the device's public key.
func (d *Device) ID() DeviceID { return DeviceID(d.key.Public().(ed25519.PublicKey)) }

// PrivateKey returns the Ed25519 key that signs signals, log entries and links.
func (d *Device) PrivateKey() ed25519.PrivateKey { return d.key }

// HPKE returns the X25519 key to which others seal what only this device may read.
func (d *Device) HPKE() hpke.PrivateKey { return d.hpke }

// NextEpoch returns a number higher than every number it ever returned for this
// device, also when the clock was set back or dir/epoch was lost: the higher of
// the last one plus one and now in Unix milliseconds. It is on disk before it
// returns. The agent calls it once at its start and numbers its signals under it.
func (d *Device) NextEpoch(now time.Time) (uint64, error) {
	data, err := readFile(d.dir, epochFile, 64)
	if err != nil {
		return 0, err
	}
	var last uint64
	if len(data) > 0 {
		if last, err = strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64); err != nil {
			return 0, fmt.Errorf("read epoch: %w", err)
		}
	}
	if last == math.MaxUint64 {
		return 0, errors.New("read epoch: no higher number is left")
	}
	next := max(last+1, uint64(max(now.UnixMilli(), 1)))
	if err := writeFile(d.dir, epochFile, strconv.AppendUint(nil, next, 10)); err != nil {
		return 0, err
	}
	return next, nil
}
