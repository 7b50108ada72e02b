package gitrepo

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sort"
)

// packIndex finds the objects of a pack: the file of version 2 as it is, see gitformat-pack(5). It has, after a header and for each first byte
// how many names are not above it, the names, their checksums, their offsets, and those of the offsets that need more than 31 bits.
type packIndex struct {
	fanout, names, offsets, large []byte

	pack [sha1.Size]byte // the checksum of the pack
}

const (
	indexMagic  = "\xfftOc\x00\x00\x00\x02"
	indexFanout = 256 * 4
)

func readPackIndex(path string) (*packIndex, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	malformed := fmt.Errorf("read %s: %w: pack index", filepath.Base(path), ErrMalformed)
	rest, ok := bytes.CutPrefix(data, []byte(indexMagic))
	if !ok || len(rest) < indexFanout+2*sha1.Size {
		return nil, malformed
	}
	body := data[:len(data)-sha1.Size]
	if sum := sha1.Sum(body); !bytes.Equal(sum[:], data[len(body):]) {
		return nil, malformed
	}
	x := &packIndex{fanout: rest[:indexFanout]}
	rest = rest[indexFanout : len(rest)-2*sha1.Size]
	copy(x.pack[:], body[len(body)-sha1.Size:])
	objects := x.upTo(255)
	if len(rest) < objects*(len(Hash{})+4+4) {
		return nil, malformed
	}
	for first := range 255 {
		if x.upTo(first) > x.upTo(first+1) {
			return nil, malformed
		}
	}
	x.names, rest = rest[:objects*len(Hash{})], rest[objects*(len(Hash{})+4):]
	x.offsets, x.large = rest[:objects*4], rest[objects*4:]
	return x, nil
}

// upTo gives how many names have at most this first byte.
func (x *packIndex) upTo(first int) int { return int(binary.BigEndian.Uint32(x.fanout[4*first:])) }

func (x *packIndex) name(i int) []byte { return x.names[i*len(Hash{}) : (i+1)*len(Hash{})] }

// find gives the offset of an object in the pack.
func (x *packIndex) find(h Hash) (offset int64, ok bool) {
	begin := 0
	if h[0] > 0 {
		begin = x.upTo(int(h[0]) - 1)
	}
	end := x.upTo(int(h[0]))
	i := begin + sort.Search(end-begin, func(i int) bool { return bytes.Compare(x.name(begin+i), h[:]) >= 0 })
	if i == end || !bytes.Equal(x.name(i), h[:]) {
		return 0, false
	}
	const more = 1 << 31 // the rest is the number of the large offset
	at := binary.BigEndian.Uint32(x.offsets[4*i:])
	if at&more == 0 {
		return int64(at), true
	}
	if at = 8 * (at &^ more); int(at)+8 > len(x.large) {
		return 0, false
	}
	offset = int64(binary.BigEndian.Uint64(x.large[at:]))
	return offset, offset >= 0
}
