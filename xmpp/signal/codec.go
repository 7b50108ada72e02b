package signal

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// payload is what is signed: RFC 8949 CBOR in its core deterministic form, maps
// with small integers as keys, and every string a byte string, because names of
// references and keys need not be UTF-8.
type payload struct {
	Clone string          `cbor:"1,keyasint"`
	Epoch uint64          `cbor:"2,keyasint"`
	Seq   uint64          `cbor:"3,keyasint"`
	Time  int64           `cbor:"4,keyasint"` // Unix time in milliseconds
	Kind  kind            `cbor:"5,keyasint"`
	Body  cbor.RawMessage `cbor:"6,keyasint"`
}

// maxTime is the end of the year 9999, the last that time.Time can print.
const maxTime = 253402300799999

var (
	encMode = must(cbor.EncOptions{
		Sort:          cbor.SortCoreDeterministic,
		IndefLength:   cbor.IndefLengthForbidden,
		NilContainers: cbor.NilContainerAsEmpty,
		TagsMd:        cbor.TagsForbidden,
		String:        cbor.StringToByteString,
	}.EncMode())

	// Unknown fields are skipped, so that a later version can add some.
	decMode = must(cbor.DecOptions{
		DupMapKey:          cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:    8,
		MaxArrayElements:   maxKeys,
		MaxMapPairs:        maxHeads,
		IndefLength:        cbor.IndefLengthForbidden,
		TagsMd:             cbor.TagsForbidden,
		UTF8:               cbor.UTF8RejectInvalid,
		ByteStringToString: cbor.ByteStringToStringAllowed,
	}.DecMode())
)

// must is for options that are constants.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// encode returns the payload of s.
func encode(s Signal) ([]byte, error) {
	if s.Body == nil {
		return nil, fmt.Errorf("%w: no body", ErrMalformed)
	}
	if err := check(s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	body, err := encMode.Marshal(s.Body)
	if err != nil {
		return nil, fmt.Errorf("encode body: %w", err)
	}
	data, err := encMode.Marshal(payload{
		Clone: s.Clone, Epoch: s.Epoch, Seq: s.Seq, Time: s.Time.UnixMilli(), Kind: s.Body.kind(), Body: body,
	})
	if err != nil {
		return nil, fmt.Errorf("encode signal: %w", err)
	}
	return data, nil
}

// decode is the reverse of encode. data is at most MaxSealed bytes of a proven
// sender, who may be hostile.
func decode(data []byte) (Signal, error) {
	var p payload
	if err := decMode.Unmarshal(data, &p); err != nil {
		return Signal{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	s := Signal{Clone: p.Clone, Epoch: p.Epoch, Seq: p.Seq, Time: time.UnixMilli(p.Time)}
	if p.Time < 0 || p.Time > maxTime {
		return Signal{}, fmt.Errorf("%w: time out of range", ErrMalformed)
	}
	var err error
	switch p.Kind {
	case kindVector:
		s.Body, err = decodeBody[Vector](p.Body)
	case kindAnnounce:
		s.Body, err = decodeBody[Announce](p.Body)
	case kindHave:
		s.Body, err = decodeBody[Have](p.Body)
	case kindDrop:
		s.Body, err = decodeBody[Drop](p.Body)
	case kindDialBack:
		s.Body, err = decodeBody[DialBack](p.Body)
	case kindLogRequest:
		s.Body, err = decodeBody[LogRequest](p.Body)
	case kindLog:
		s.Body, err = decodeBody[Log](p.Body)
	case kindSyncRequest:
		s.Body, err = decodeBody[SyncRequest](p.Body)
	case kindNoDialBack:
		s.Body, err = decodeBody[NoDialBack](p.Body)
	case kindPushed:
		s.Body, err = decodeBody[Pushed](p.Body)
	default:
		return Signal{}, fmt.Errorf("%w: %d", ErrUnknownBody, p.Kind)
	}
	if err == nil {
		err = check(s)
	}
	if err != nil {
		return Signal{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return s, nil
}

func decodeBody[B Body](raw []byte) (Body, error) {
	var b B
	if err := decMode.Unmarshal(raw, &b); err != nil {
		return nil, err
	}
	return b, nil
}

// check holds for what is sealed as well as for what is opened.
func check(s Signal) error {
	if err := checkString("clone id", s.Clone, 1, maxClone); err != nil {
		return err
	}
	if s.Seq == 0 {
		return fmt.Errorf("sequence number 0")
	}
	return s.Body.check()
}

// RefsDigest returns the digest of a set of references that Vector.Refs carries:
// the SHA-256 of, for each name in byte order, the length of the name (4 bytes,
// big-endian), the name, and the 20 bytes of the hash.
func RefsDigest(refs map[string]Hash) Digest {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		hash := refs[name]
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(name))))
		h.Write([]byte(name))
		h.Write(hash[:])
	}
	return Digest(h.Sum(nil))
}

// Fit returns v reduced until its signal is at most MaxPresence bytes: wanted keys
// go first, then edges and paused clones beyond eight and links of low priority beyond four, then what has come if it leaves no room
// for a reference, then references other than the one HEAD points to, last in byte order first. Refs and Members are kept, so
// that a receiver still sees that there is more than what it was told. clone is
// the sender's clone id.
func (v Vector) Fit(clone string) Vector {
	size := func() int {
		data, err := encMode.Marshal(v)
		if err != nil {
			return MaxPresence
		}
		return len(data) + len(clone) + payloadOverhead
	}
	const room = MaxPresence - sealOverhead
	if size() <= room && v.check() == nil {
		return v
	}
	v.Want = nil
	if size() <= room && v.check() == nil {
		return v
	}
	v.Edges = v.Edges[:min(len(v.Edges), 8)]
	v.Paused = v.Paused[:min(len(v.Paused), 8)]
	v.Links = slices.Clone(v.Links)
	slices.SortStableFunc(v.Links, func(a, b Link) int { return cmp.Compare(b.Priority, a.Priority) })
	v.Links = v.Links[:min(len(v.Links), 4)]
	all := v.Heads
	v.Heads = map[string]Hash{}
	if size()+maxRef+headOverhead > room {
		v.Came = nil
	}
	left := room - size()
	add := func(name string) {
		cost := len(name) + headOverhead
		hash, ok := all[name]
		if !ok || len(name) > maxRef || cost > left || len(v.Heads) == maxHeads-1 {
			return
		}
		v.Heads[name] = hash
		left -= cost
	}
	add(v.Head)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if name != v.Head {
			add(name)
		}
	}
	return v
}

// headOverhead is what one of the heads takes beside its name: the hash, the heads of both strings, and a growing head of the map.
const headOverhead = 3 + 1 + len(Hash{}) + 2

// payloadOverhead bounds what encode adds to a body and a clone id: keys, the
// numbers at their largest, and the heads of the strings.
const payloadOverhead = 1 + 6 + 3 + 3*9 + 1 + 5

// Equal reports whether two vectors say the same.
func (v Vector) Equal(w Vector) bool {
	a, errA := encMode.Marshal(v)
	b, errB := encMode.Marshal(w)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}
