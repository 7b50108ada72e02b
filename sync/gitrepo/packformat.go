package gitrepo

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"

	"github.com/go-git/go-git/v5/plumbing"
)

// The pack format, gitformat-pack(5): "PACK", version 2, number of objects; per object a header of type and size, for
// deltas the base, and zlib data; the SHA-1 of all that.
const (
	packHeader   = 12
	packOverhead = packHeader + sha1.Size
)

// packWriter builds a pack in memory.
type packWriter struct {
	buf   bytes.Buffer
	count uint32
	zw    *zlib.Writer
}

func newPackWriter(level int) (*packWriter, error) {
	w := &packWriter{}
	w.buf.WriteString("PACK\x00\x00\x00\x02\x00\x00\x00\x00")
	zw, err := zlib.NewWriterLevel(&w.buf, level)
	w.zw = zw
	return w, err
}

// add appends an object, as a delta against base when base is not zero.
func (w *packWriter) add(kind plumbing.ObjectType, base Hash, data []byte) error {
	if !base.IsZero() {
		kind = plumbing.REFDeltaObject
	}
	size := uint64(len(data))
	c := byte(kind)<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		w.buf.WriteByte(c | 0x80)
		c = byte(size & 0x7f)
	}
	w.buf.WriteByte(c)
	if !base.IsZero() {
		w.buf.Write(base[:])
	}
	w.zw.Reset(&w.buf)
	if _, err := w.zw.Write(data); err != nil {
		return err
	}
	w.count++
	return w.zw.Close()
}

// size is the length the pack has so far.
func (w *packWriter) size() int { return w.buf.Len() + sha1.Size }

// finish returns the pack.
func (w *packWriter) finish() []byte {
	data := w.buf.Bytes()
	binary.BigEndian.PutUint32(data[8:], w.count)
	sum := sha1.Sum(data)
	return append(data, sum[:]...)
}
