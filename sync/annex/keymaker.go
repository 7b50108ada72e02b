package annex

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// keyMaker makes the key of one file, whose content goes through its hash.
type keyMaker struct {
	hash               hash.Hash
	backend            string
	path               string
	old                Key
	maxExtLen, maxExts int
}

// keyMaker reads which key a file is to have: that of annex.backend, in its attributes or git's configuration, with the limits on extensions. A file
// whose content already has the key old (zero for none) keeps that, and its backend where Arbor can compute it.
func (r *Repo) keyMaker(path string, attrs fileAttributes, old Key) (*keyMaker, error) {
	m := &keyMaker{
		path:      path,
		old:       old,
		maxExtLen: r.configInt("annex.maxextensionlength", DefaultMaxExtensionLength),
		maxExts:   r.configInt("annex.maxextensions", defaultMaxExtensions),
	}
	var ok bool
	if m.hash, ok = newBackendHash(old.Backend()); ok {
		m.backend = old.Backend()
		return m, nil
	}
	m.backend = cmp.Or(attrs.backend, r.git.Config("annex.backend"), "SHA256E")
	if m.hash, ok = newBackendHash(m.backend); !ok {
		return nil, &Refused{
			What: fmt.Sprintf("annex.backend is %s for %s", m.backend, path),
			Hint: "SHA256E is git-annex's default; the other SHA ones, SHA3, BLAKE2B, BLAKE2S256 and MD5 work too, with and without E",
		}
	}
	return m, nil
}

// key gives the key of the content, of this size in bytes, that went through the hash.
func (m *keyMaker) key(size int64) Key {
	sum := hex.EncodeToString(m.hash.Sum(nil))
	if m.old.Backend() == m.backend {
		f, _ := splitKey(m.old.text)
		if digits, _, _ := strings.Cut(f.name, "."); digits == sum && (f.size == size || f.size < 0) {
			return m.old
		}
	}
	text := m.backend + "-s" + strconv.FormatInt(size, 10) + "--" + sum
	if strings.HasSuffix(m.backend, "E") {
		text += keyExtension(m.path, m.maxExtLen, m.maxExts)
	}
	return Key{text}
}

func (r *Repo) configInt(key string, otherwise int) int {
	n, err := strconv.Atoi(r.git.Config(key))
	if err != nil || n < 0 {
		return otherwise
	}
	return n
}
