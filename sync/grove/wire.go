package grove

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// magic is the beginning of a written log. After it, each entry is its length (4
// bytes, big-endian) and its bytes.
const magic = "arbor members 1\n"

func marshalLog(entries []entry) []byte {
	b := []byte(magic)
	for _, e := range entries {
		b = appendEntry(b, e)
	}
	return b
}

// Parts returns the member log in parts of at most a number of bytes, each of which
// Merge takes. In order, none needs a later one. An entry that is larger than most is
// a part of its own.
func (g *Grove) Parts(most int) [][]byte {
	return view(g, func(s *state) [][]byte {
		var parts [][]byte
		size := most
		for _, e := range s.log.sorted() {
			if size += 4 + len(e.raw); size > most {
				parts = append(parts, []byte(magic))
				size = len(magic) + 4 + len(e.raw)
			}
			last := &parts[len(parts)-1]
			*last = appendEntry(*last, e)
		}
		return parts
	})
}

func appendEntry(b []byte, e entry) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.raw)))
	return append(b, e.raw...)
}

// parseLog reads a written log of any origin. known tells which entries need not be
// verified again.
func parseLog(b []byte, known func(entryID) bool) ([]entry, error) {
	if len(b) > MaxLog {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrInvalid, len(b), MaxLog)
	}
	rest, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok {
		return nil, fmt.Errorf("%w: begins otherwise", ErrInvalid)
	}
	var entries []entry
	for len(rest) > 0 {
		if len(rest) < 4 || uint64(binary.BigEndian.Uint32(rest)) > uint64(len(rest)-4) {
			return nil, fmt.Errorf("%w: cut off", ErrInvalid)
		}
		if len(entries) > maxEntries+1 {
			return nil, fmt.Errorf("%w: more than %d entries", ErrInvalid, maxEntries+1)
		}
		end := 4 + int(binary.BigEndian.Uint32(rest))
		raw := rest[4:end]
		rest = rest[end:]
		if known(sha256.Sum256(raw)) {
			continue
		}
		e, err := parseEntry(bytes.Clone(raw))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}
