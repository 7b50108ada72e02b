package gitrepo

import (
	"bufio"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/go-git/go-git/v5/plumbing"
)

// errPackedDelta says that an object is packed as what is different from another.
var errPackedDelta = errors.New("object is a delta")

// plainReader reads objects that are packed as a whole, which most small ones are. go-git's decoder would do it too, but it
// keeps each in its cache of delta bases, where a small object costs many times its size, and asks first for the size, for
// which it makes a second index.
type plainReader struct {
	in      *bufio.Reader
	inflate io.ReadCloser
}

// read reads the object at an offset of a pack, see gitformat-pack(5); errPackedDelta, ErrTooBig.
func (r *plainReader) read(pack io.ReaderAt, offset, max int64) (object, error) {
	section := io.NewSectionReader(pack, offset, math.MaxInt64-offset)
	if r.in == nil {
		r.in = bufio.NewReader(section)
	} else {
		r.in.Reset(section)
	}
	kind, size, err := readTypeAndSize(r.in)
	switch {
	case err != nil:
		return object{}, err
	case kind.IsDelta():
		return object{}, errPackedDelta
	case !kind.Valid():
		return object{}, errEntryHeader
	case size > max:
		return object{}, ErrTooBig
	}
	if r.inflate == nil {
		r.inflate, err = zlib.NewReader(r.in)
	} else {
		err = r.inflate.(zlib.Resetter).Reset(r.in, nil)
	}
	if err != nil {
		return object{}, fmt.Errorf("%w: packed object: %w", ErrMalformed, err)
	}
	data, err := readExactly(r.inflate, size)
	return object{kind, data}, err
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
