package gitrepo

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
)

// Everything here reads what a peer sent. Memory follows the bytes that arrive and the caller's limit, never a number
// in the data.

// maxDeltaDepth bounds chains of deltas, as git does when it packs.
const maxDeltaDepth = 64

var (
	errEntryHeader = fmt.Errorf("%w: object header", ErrMalformed)
	errDelta       = fmt.Errorf("%w: delta", ErrMalformed)
)

// packEntry is one object of a pack while its delta, if it is one, is not resolved.
type packEntry struct {
	kind   plumbing.ObjectType // a delta type until resolved
	data   []byte              // content, or delta
	base   Hash                // of REF_DELTA
	at     int64               // of OFS_DELTA: where the base starts
	offset int64
	depth  int
	hash   Hash
}

// Unpack checks a pack from a peer strictly and writes its objects, which together have at most max bytes when
// inflated. It returns their names. A thin pack's bases are taken from the objects here. Nothing may point at the
// objects before Complete. ErrMalformed, ErrTooBig, or ErrNotFound for a base that is not here. Any goroutine may call it.
func (r *Repo) Unpack(ctx context.Context, pack []byte, max int64) ([]Hash, error) {
	entries, err := parsePack(pack, max)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	u := &unpacker{r: r, budget: max, byOffset: make(map[int64]*packEntry), byHash: make(map[Hash]*packEntry)}
	for _, e := range entries {
		u.budget -= int64(len(e.data))
	}
	if err := u.resolve(ctx, entries); err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	for _, e := range entries {
		if err := checkObject(e.kind, e.data); err != nil {
			return nil, fmt.Errorf("unpack %s %s: %w", e.kind, e.hash, err)
		}
	}
	// Blobs before trees before commits: a crash in between leaves nothing that points into the void.
	hashes := make([]Hash, 0, len(entries))
	for _, kind := range []plumbing.ObjectType{plumbing.BlobObject, plumbing.TreeObject, plumbing.CommitObject, plumbing.TagObject} {
		for _, e := range entries {
			if e.kind != kind {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if _, err := r.objects.write(e.kind, e.data); err != nil {
				return nil, err
			}
			hashes = append(hashes, e.hash)
		}
	}
	return hashes, nil
}

// parsePack splits a pack into its entries and inflates them, at most max bytes together.
func parsePack(pack []byte, max int64) ([]*packEntry, error) {
	if len(pack) < packOverhead || string(pack[:4]) != "PACK" {
		return nil, fmt.Errorf("%w: no pack", ErrMalformed)
	}
	if v := binary.BigEndian.Uint32(pack[4:]); v != 2 && v != 3 {
		return nil, fmt.Errorf("%w: pack version %d", ErrMalformed, v)
	}
	body := pack[:len(pack)-sha1.Size]
	if sum := sha1.Sum(body); !bytes.Equal(sum[:], pack[len(body):]) {
		return nil, fmt.Errorf("%w: pack checksum", ErrMalformed)
	}
	count := binary.BigEndian.Uint32(pack[8:])
	rd := bytes.NewReader(body)
	if _, err := rd.Seek(packHeader, io.SeekStart); err != nil {
		return nil, err
	}
	var entries []*packEntry
	for range count {
		e, size, err := parseEntryHeader(rd)
		if err != nil {
			return nil, err
		}
		if size > max {
			return nil, ErrTooBig
		}
		max -= size
		if e.data, err = inflate(rd, size); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	if rd.Len() > 0 {
		return nil, fmt.Errorf("%w: bytes behind the last object", ErrMalformed)
	}
	return entries, nil
}

// parseEntryHeader reads type and size of an entry and the base of a delta.
func parseEntryHeader(rd *bytes.Reader) (e *packEntry, size int64, err error) {
	e = &packEntry{offset: rd.Size() - int64(rd.Len())}
	if e.kind, size, err = readTypeAndSize(rd); err != nil {
		return nil, 0, err
	}
	switch e.kind {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
	case plumbing.REFDeltaObject:
		if _, err := io.ReadFull(rd, e.base[:]); err != nil {
			return nil, 0, errEntryHeader
		}
	case plumbing.OFSDeltaObject:
		var head [9]byte
		n, _ := rd.Read(head[:])
		back, used := offsetVarint(string(head[:n]))
		if used == 0 || back == 0 || back > uint64(e.offset) {
			return nil, 0, errEntryHeader
		}
		if _, err := rd.Seek(int64(used-n), io.SeekCurrent); err != nil {
			return nil, 0, err
		}
		e.at = e.offset - int64(back)
	default:
		return nil, 0, fmt.Errorf("%w: object type %d", ErrMalformed, e.kind)
	}
	return e, size, nil
}

// inflate reads one zlib stream of exactly size bytes. bytes.Reader is read byte by byte, so nothing behind the
// stream is consumed.
func inflate(rd *bytes.Reader, size int64) ([]byte, error) {
	zr, err := zlib.NewReader(rd)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	data, err := readExactly(zr, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return data, nil
}

// unpacker resolves the deltas of one pack.
type unpacker struct {
	r        *Repo
	budget   int64 // bytes that objects may still take
	byOffset map[int64]*packEntry
	byHash   map[Hash]*packEntry
}

// resolve turns deltas into objects, round by round: a base may come after what needs it.
func (u *unpacker) resolve(ctx context.Context, entries []*packEntry) error {
	for _, e := range entries {
		u.byOffset[e.offset] = e
		if !e.isDelta() {
			if err := u.name(e); err != nil {
				return err
			}
		}
	}
	waiting := entries
	for {
		var still []*packEntry
		for _, e := range waiting {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !e.isDelta() {
				continue
			}
			ok, err := u.resolveOne(e, false)
			if err != nil {
				return err
			}
			if !ok {
				still = append(still, e)
			}
		}
		if len(still) == 0 {
			return nil
		}
		if len(still) == len(waiting) {
			// None of the bases is in the pack as far as it is resolved: they must be here.
			progress := false
			for _, e := range still {
				ok, err := u.resolveOne(e, true)
				if err != nil {
					return err
				}
				progress = progress || ok
			}
			if !progress {
				return fmt.Errorf("%w: deltas without a base", ErrNotFound)
			}
		}
		waiting = still
	}
}

func (e *packEntry) isDelta() bool {
	return e.kind == plumbing.REFDeltaObject || e.kind == plumbing.OFSDeltaObject
}

// name names a resolved object. go-git's SHA-1 notices the known collision attacks and gives such bytes another name.
func (u *unpacker) name(e *packEntry) error {
	e.hash = hashObject(e.kind, e.data)
	if Hash(plumbing.ComputeHash(e.kind, e.data)) != e.hash {
		return fmt.Errorf("%w: object %s is part of a SHA-1 collision", ErrMalformed, e.hash)
	}
	u.byHash[e.hash] = e
	return nil
}

// resolveOne resolves a delta whose base is resolved; outside allows bases that are not in the pack.
func (u *unpacker) resolveOne(e *packEntry, outside bool) (ok bool, err error) {
	var kind plumbing.ObjectType
	var data []byte
	depth := 1
	base := u.byOffset[e.at]
	if e.kind == plumbing.REFDeltaObject {
		base = u.byHash[e.base]
	} else if base == nil {
		return false, fmt.Errorf("%w: delta against no object", ErrMalformed)
	}
	switch {
	case base != nil && base.isDelta():
		return false, nil
	case base != nil:
		kind, data, depth = base.kind, base.data, base.depth+1
	case !outside:
		return false, nil
	default:
		o, err := u.r.objects.read(e.base, u.budget)
		if errors.Is(err, ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		kind, data = o.kind, o.data
	}
	if depth > maxDeltaDepth {
		return false, fmt.Errorf("%w: chain of more than %d deltas", ErrMalformed, maxDeltaDepth)
	}
	result, err := applyDelta(data, e.data, u.budget)
	if err != nil {
		return false, err
	}
	u.budget -= int64(len(result))
	e.kind, e.data, e.depth = kind, result, depth
	return true, u.name(e)
}

// applyDelta builds an object from a base and a delta: sizes of both, then commands that copy from the base or insert
// literal bytes.
func applyDelta(base, delta []byte, max int64) ([]byte, error) {
	baseSize, n := binary.Uvarint(delta)
	if n <= 0 || baseSize != uint64(len(base)) {
		return nil, errDelta
	}
	delta = delta[n:]
	size, n := binary.Uvarint(delta)
	if n <= 0 {
		return nil, errDelta
	}
	if size > uint64(max) {
		return nil, ErrTooBig
	}
	delta = delta[n:]
	out := make([]byte, 0, min(size, 1<<20))
	for len(delta) > 0 {
		cmd := delta[0]
		delta = delta[1:]
		var piece []byte
		switch {
		case cmd&0x80 != 0:
			var off, length uint64
			for i := range 4 {
				if cmd&(1<<i) != 0 {
					if len(delta) == 0 {
						return nil, errDelta
					}
					off |= uint64(delta[0]) << (8 * i)
					delta = delta[1:]
				}
			}
			for i := range 3 {
				if cmd&(0x10<<i) != 0 {
					if len(delta) == 0 {
						return nil, errDelta
					}
					length |= uint64(delta[0]) << (8 * i)
					delta = delta[1:]
				}
			}
			if length == 0 {
				length = 0x10000
			}
			if off+length > uint64(len(base)) {
				return nil, errDelta
			}
			piece = base[off : off+length]
		case cmd == 0 || int(cmd) > len(delta):
			return nil, errDelta
		default:
			piece, delta = delta[:cmd], delta[cmd:]
		}
		if uint64(len(out)+len(piece)) > size {
			return nil, errDelta
		}
		out = append(out, piece...)
	}
	if uint64(len(out)) != size {
		return nil, errDelta
	}
	return out, nil
}
