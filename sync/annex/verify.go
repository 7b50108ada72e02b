package annex

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/blake2s"
)

// ErrBadContent says that content is not what its key names.
var ErrBadContent = errors.New("content does not match its key")

// newBackendHash gives the hash of a backend of git-annex, with or without its final E; false for those that Arbor cannot compute.
func newBackendHash(backend string) (hash.Hash, bool) {
	switch strings.TrimSuffix(backend, "E") {
	case "SHA256":
		return &blockHash{Hash: sha256.New()}, true
	case "SHA512":
		return sha512.New(), true
	case "SHA384":
		return sha512.New384(), true
	case "SHA224":
		return sha256.New224(), true
	case "SHA1":
		return sha1.New(), true
	case "MD5":
		return md5.New(), true
	case "SHA3_224":
		return sha3.New224(), true
	case "SHA3_256":
		return sha3.New256(), true
	case "SHA3_384":
		return sha3.New384(), true
	case "SHA3_512":
		return sha3.New512(), true
	case "BLAKE2S256":
		return unkeyed(blake2s.New256(nil))
	case "BLAKE2B160":
		return unkeyed(blake2b.New(20, nil))
	case "BLAKE2B224":
		return unkeyed(blake2b.New(28, nil))
	case "BLAKE2B256":
		return unkeyed(blake2b.New256(nil))
	case "BLAKE2B384":
		return unkeyed(blake2b.New384(nil))
	case "BLAKE2B512":
		return unkeyed(blake2b.New512(nil))
	}
	return nil, false
}

// unkeyed is a hash that could have had a key, and fails with a wrong one only.
func unkeyed(h hash.Hash, err error) (hash.Hash, bool) { return h, err == nil }

// A Verifier is fed content, in order and from its first byte, and then tells whether it is that of a key.
type Verifier struct {
	key  Key
	size int64 // -1 when the key does not say
	got  int64
	hash hash.Hash // nil when only the size can be checked
	want []byte
}

// Verifier begins the check of content of k. Content of a backend that Arbor cannot compute is checked by size alone.
func (k Key) Verifier() *Verifier {
	f, _ := splitKey(k.text)
	v := &Verifier{key: k, size: f.size}
	if f.nameDashes != f.fieldsEnd {
		v.size = -1 // of a chunk; the size is that of the whole
		return v
	}
	digits, _, _ := strings.Cut(f.name, ".")
	h, ok := newBackendHash(f.backend)
	if !ok {
		return v
	}
	if want, err := hex.DecodeString(digits); err == nil && len(want) == h.Size() {
		v.hash, v.want = h, want
	}
	return v
}

// Write feeds content; it never fails.
func (v *Verifier) Write(p []byte) (int, error) {
	v.got += int64(len(p))
	if v.hash != nil {
		v.hash.Write(p)
	}
	return len(p), nil
}

// Check is ErrBadContent when what was written is not the whole content of the key.
func (v *Verifier) Check() error {
	if v.size >= 0 && v.got != v.size {
		return fmt.Errorf("%w: %d bytes instead of %d", ErrBadContent, v.got, v.size)
	}
	if v.hash != nil && !bytes.Equal(v.hash.Sum(nil), v.want) {
		return ErrBadContent
	}
	return nil
}

// Blocks gives the block list of the content, once Check has found it right; nil when the key has none.
func (v *Verifier) Blocks() *BlockList { return blockListOf(v.key, v.hash) }
