package gitrepo

import (
	"bufio"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

const (
	// maxBaseSize bounds what is read to apply a delta to. git makes no deltas of what is larger (core.bigFileThreshold).
	maxBaseSize = 512 << 20
	// maxPackDepth bounds chains of deltas in packs of our own, as git does.
	maxPackDepth = 4095
	// baseCacheSize bounds the memory for bases of deltas.
	baseCacheSize = 8 << 20
)

// packReader reads objects of packs, see gitformat-pack(5). go-git's decoder would do it too, but a small object costs it many times its size,
// and it makes a second index.
type packReader struct {
	p       *pack // that in reads
	section *io.SectionReader
	in      *bufio.Reader
	inflate io.ReadCloser
	bases   map[packPlace]object // that deltas were applied to
	cached  int                  // bytes
}

// packPlace is where in a pack an object is.
type packPlace struct {
	p      *pack
	offset int64
}

// packedEntry is an object as it is packed.
type packedEntry struct {
	kind plumbing.ObjectType
	size int64 // of what is to be inflated
	base int64 // the offset of what a delta applies to
}

func (e packedEntry) isDelta() bool { return e.kind.IsDelta() }

// read reads the object at an offset of a pack; ErrTooBig.
func (r *packReader) read(p *pack, offset, max int64) (object, error) {
	var deltas [][]byte
	at := []packPlace{{p, offset}} // of the objects that the deltas make
	var o object
	for {
		limit := max
		if len(deltas) > 0 {
			limit = maxBaseSize
		}
		if cached, ok := r.bases[at[len(deltas)]]; ok && int64(len(cached.data)) <= limit {
			o = cached
			break
		}
		e, data, err := r.entry(p, at[len(deltas)].offset, limit)
		if err != nil {
			return object{}, err
		}
		if !e.isDelta() {
			o = object{e.kind, data}
			break
		}
		if len(deltas) == maxPackDepth {
			return object{}, fmt.Errorf("%w: chain of more than %d deltas", ErrMalformed, maxPackDepth)
		}
		deltas = append(deltas, data)
		at = append(at, packPlace{p, e.base})
	}
	for i, delta := range slices.Backward(deltas) {
		r.keep(at[i+1], o)
		limit := int64(maxBaseSize)
		if i == 0 {
			limit = max
		}
		data, err := applyDelta(o.data, delta, limit)
		if err != nil {
			return object{}, err
		}
		o.data = data
	}
	return o, nil
}

// keep remembers a base, for others may be made of it. When the memory is full all is forgotten.
func (r *packReader) keep(at packPlace, o object) {
	size := len(o.data) + objectOverhead
	if _, known := r.bases[at]; known || size > baseCacheSize/8 {
		return
	}
	if r.bases == nil || r.cached+size > baseCacheSize {
		r.forget()
	}
	r.bases[at] = o
	r.cached += size
}

// forget gives the memory for bases back.
func (r *packReader) forget() {
	r.bases, r.cached = make(map[packPlace]object), 0
}

// leave forgets a pack.
func (r *packReader) leave(p *pack) {
	r.forget()
	if r.p == p {
		r.p = nil
	}
}

// entry reads what is packed at an offset; ErrTooBig.
func (r *packReader) entry(p *pack, offset, max int64) (packedEntry, []byte, error) {
	e, err := r.header(p, offset)
	if err != nil {
		return e, nil, err
	}
	if e.size > max { // a delta is smaller than what it makes
		return e, nil, ErrTooBig
	}
	if err := r.open(); err != nil {
		return e, nil, err
	}
	data, err := readExactly(r.inflate, e.size)
	return e, data, err
}

// header reads what is before the bytes of a packed object, which r.in gives next.
func (r *packReader) header(p *pack, offset int64) (e packedEntry, err error) {
	if err := r.seek(p, offset); err != nil {
		return e, err
	}
	if e.kind, e.size, err = readTypeAndSize(r.in); err != nil {
		return e, err
	}
	switch {
	case e.kind == plumbing.OFSDeltaObject:
		head, _ := r.in.Peek(9)
		back, used := offsetVarint(string(head))
		if used == 0 || back == 0 || back > uint64(offset) {
			return e, errEntryHeader
		}
		e.base = offset - int64(back)
		_, err = r.in.Discard(used)
	case e.kind == plumbing.REFDeltaObject:
		var base Hash
		_, err = io.ReadFull(r.in, base[:])
		at, ok := p.idx.find(base)
		if err != nil || !ok {
			return e, errEntryHeader
		}
		e.base = at
	case !e.kind.Valid():
		err = errEntryHeader
	}
	return e, err
}

// seek has r.in read from an offset of a pack on. What it has read ahead already is not read again.
func (r *packReader) seek(p *pack, offset int64) error {
	if r.p == p {
		end, err := r.section.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		ahead := offset - (end - int64(r.in.Buffered()))
		if ahead >= 0 && ahead <= int64(r.in.Buffered()) {
			_, err := r.in.Discard(int(ahead))
			return err
		}
	} else {
		r.p, r.section = p, io.NewSectionReader(p.data, 0, math.MaxInt64)
	}
	if _, err := r.section.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	if r.in == nil {
		r.in = bufio.NewReader(r.section)
	} else {
		r.in.Reset(r.section)
	}
	return nil
}

// open begins to inflate what r.in gives.
func (r *packReader) open() (err error) {
	if r.inflate == nil {
		r.inflate, err = zlib.NewReader(r.in)
	} else {
		err = r.inflate.(zlib.Resetter).Reset(r.in, nil)
	}
	if err != nil {
		return fmt.Errorf("%w: packed object: %w", ErrMalformed, err)
	}
	return nil
}

// size gives the size of the object at an offset without reading all of it.
func (r *packReader) size(p *pack, offset int64) (int64, error) {
	e, err := r.header(p, offset)
	if err != nil || !e.isDelta() {
		return e.size, err
	}
	if err := r.open(); err != nil {
		return 0, err
	}
	var head [2 * binary.MaxVarintLen64]byte // a delta begins with the sizes of its base and of what it makes
	n, err := io.ReadFull(r.inflate, head[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, err
	}
	_, used := binary.Uvarint(head[:n])
	if used <= 0 {
		return 0, errDelta
	}
	size, used := binary.Uvarint(head[used:n])
	if used <= 0 || size > math.MaxInt64 {
		return 0, errDelta
	}
	return int64(size), nil
}

// readTypeAndSize reads what is before a packed object: three bits of type and four of the size, then seven bits a byte, as long as
// the highest is set.
func readTypeAndSize(rd io.ByteReader) (kind plumbing.ObjectType, size int64, err error) {
	c, err := rd.ReadByte()
	if err != nil {
		return 0, 0, errEntryHeader
	}
	kind, size = plumbing.ObjectType(c>>4&7), int64(c&15)
	for shift := 4; c&0x80 != 0; shift += 7 {
		if c, err = rd.ReadByte(); err != nil || shift > 53 {
			return 0, 0, errEntryHeader
		}
		size |= int64(c&0x7f) << shift
	}
	return kind, size, nil
}
