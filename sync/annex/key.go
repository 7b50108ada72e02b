package annex

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxKeyLength bounds a key's serialised form. The name of a key is a file name, and no file system Arbor runs on takes
// more than 255 bytes of it; the rest is room for what File escapes.
const maxKeyLength = 255

// maxKeyExtension bounds the extensions in the name of a key of a backend that keeps them, as Types/Key.hs does: a
// longer one could carry the blocks of a SHA-1 collision into signed commits.
const maxKeyExtension = 64

// A Key names content: BACKEND[-sSIZE][-mMTIME][-SCHUNKSIZE-CCHUNKNUM]--NAME, in this order and nothing else
// (https://git-annex.branchable.com/internals/key_format/). Keys are comparable; the zero Key names nothing.
type Key struct {
	text string
}

// keyFields are the parts of a key's serialised form.
type keyFields struct {
	backend, name string
	size          int64 // -1 when the key does not say
	fieldsEnd     int   // offset in the text at which the chunk fields begin
	nameDashes    int   // offset of the "--" before the name
}

// ErrNotKey is the error of ParseKey and ParseKeyFile.
var ErrNotKey = errors.New("not a git-annex key")

// ParseKey reads a key in its serialised form. It is as strict as git-annex, and takes only the spelling that git-annex
// would write itself (no leading zeros), so that equal keys are equal strings. Backends it does not know are passed through.
func ParseKey(s string) (Key, error) {
	if len(s) > maxKeyLength {
		return Key{}, fmt.Errorf("%w: %d bytes long", ErrNotKey, len(s))
	}
	if strings.ContainsAny(s, "\x00\r\n") {
		return Key{}, fmt.Errorf("%w: %q holds a line break or NUL", ErrNotKey, s)
	}
	f, ok := splitKey(s)
	if !ok || f.name == "" {
		return Key{}, fmt.Errorf("%w: %q", ErrNotKey, s)
	}
	if strings.HasSuffix(f.backend, "E") {
		if dot := strings.IndexByte(f.name, '.'); dot >= 0 && len(f.name)-dot > maxKeyExtension {
			return Key{}, fmt.Errorf("%w: %q has too long an extension", ErrNotKey, s)
		}
	}
	return Key{s}, nil
}

func splitKey(s string) (keyFields, bool) {
	f := keyFields{size: -1}
	end := strings.IndexByte(s, '-')
	if end <= 0 {
		return f, false
	}
	f.backend = s[:end]
	at := end
	number := func(letter byte) (int64, bool, bool) {
		if len(s) < at+3 || s[at] != '-' || s[at+1] != letter {
			return 0, false, true
		}
		digits := at + 2
		stop := digits
		for stop < len(s) && s[stop] >= '0' && s[stop] <= '9' {
			stop++
		}
		n, err := strconv.ParseInt(s[digits:stop], 10, 64)
		if err != nil || stop-digits > 1 && s[digits] == '0' {
			return 0, true, false
		}
		at = stop
		return n, true, true
	}
	size, found, ok := number('s')
	if !ok {
		return f, false
	}
	if found {
		f.size = size
	}
	if _, _, ok = number('m'); !ok {
		return f, false
	}
	f.fieldsEnd = at
	if _, _, ok = number('S'); !ok {
		return f, false
	}
	if _, _, ok = number('C'); !ok {
		return f, false
	}
	if !strings.HasPrefix(s[at:], "--") {
		return f, false
	}
	f.nameDashes = at
	f.name = s[at+2:]
	return f, true
}

// KeyFor makes the SHA256E key of content with this SHA-256 sum and size in bytes, for a file of this name. maxExtLen is
// annex.maxextensionlength; git-annex's own default is DefaultMaxExtensionLength.
func KeyFor(sum [sha256.Size]byte, size int64, filename string, maxExtLen int) Key {
	return Key{"SHA256E-s" + strconv.FormatInt(size, 10) + "--" + hex.EncodeToString(sum[:]) + keyExtension(filename, maxExtLen, defaultMaxExtensions)}
}

// String gives the serialised form, which ParseKey reads.
func (k Key) String() string { return k.text }

// IsZero says whether k names nothing.
func (k Key) IsZero() bool { return k.text == "" }

// Backend gives the name of the key's backend, such as SHA256E.
func (k Key) Backend() string {
	backend, _, _ := strings.Cut(k.text, "-")
	return backend
}

// Size gives the size of the content in bytes; false when the key does not say (URL keys of unknown size).
func (k Key) Size() (int64, bool) {
	f, _ := splitKey(k.text)
	return f.size, f.size >= 0
}

// VerifiableHash gives the SHA-256 sum that content of this key must have; false for keys of other backends, which Arbor
// passes on but cannot prove.
func (k Key) VerifiableHash() (sum [sha256.Size]byte, ok bool) {
	f, _ := splitKey(k.text)
	if f.backend != "SHA256E" && f.backend != "SHA256" || f.nameDashes != f.fieldsEnd {
		return sum, false
	}
	digits, _, _ := strings.Cut(f.name, ".")
	if len(digits) != 2*sha256.Size || strings.ToLower(digits) != digits {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(digits))
	return sum, err == nil
}

// Digest gives what keys of the same content have in common, whatever the extension: backend, size and hash; "" for keys that are not made of a hash.
func (k Key) Digest() string {
	if _, hashed := newBackendHash(k.Backend()); !hashed {
		return ""
	}
	f, _ := splitKey(k.text)
	hash, _, _ := strings.Cut(f.name, ".")
	return strings.TrimSuffix(k.text, f.name) + hash
}

var (
	escapeKeyFile   = strings.NewReplacer("&", "&a", "%", "&s", ":", "&c", "/", "%")
	unescapeKeyFile = strings.NewReplacer("&a", "&", "&s", "%", "&c", ":", "%", "/")
)

// File gives the key as the single file name git-annex uses for it in object paths, link targets, pointers and logs.
func (k Key) File() string { return escapeKeyFile.Replace(k.text) }

// ParseKeyFile reads a key in the form that File gives.
func ParseKeyFile(name string) (Key, error) {
	text := name
	if strings.ContainsAny(name, "&%") {
		text = unescapeKeyFile.Replace(name)
	}
	k, err := ParseKey(text)
	if err != nil {
		return Key{}, err
	}
	if k.File() != name {
		return Key{}, fmt.Errorf("%w: %q is not how its file is named", ErrNotKey, name)
	}
	return k, nil
}

// hashSource gives what the hash directories are made of: the key, for a chunk that of the whole.
func (k Key) hashSource() [md5.Size]byte {
	f, ok := splitKey(k.text)
	if !ok {
		return md5.Sum([]byte(k.text))
	}
	return md5.Sum([]byte(k.text[:f.fieldsEnd] + k.text[f.nameDashes:]))
}

// HashDirLower gives the two directories, "abc/def/", that hold the key in bare repositories, in the git-annex branch
// and in most special remotes.
func (k Key) HashDirLower() string {
	sum := k.hashSource()
	digits := hex.EncodeToString(sum[:3])
	return digits[:3] + "/" + digits[3:] + "/"
}

// HashDirMixed gives the two directories, "aB/cD/", that hold the key in repositories with a work tree.
func (k Key) HashDirMixed() string {
	const alphabet = "0123456789zqjxkmvwgpfZQJXKMVWGPF"
	sum := k.hashSource()
	word := binary.LittleEndian.Uint32(sum[:4])
	var c [4]byte
	for i := range c {
		c[i] = alphabet[word>>(6*i)&31]
	}
	return string([]byte{c[1], c[0], '/', c[3], c[2], '/'})
}

// logPath gives the path of the key's location log in the git-annex branch.
func (k Key) logPath() string { return k.HashDirLower() + k.File() + ".log" }
