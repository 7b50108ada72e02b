package grove

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// What is signed or sealed is RFC 8949 CBOR in its core deterministic form, maps
// with small integers as keys. Decoding is strict: a signed entry stays for ever,
// so nothing may be in it that this version does not understand.
var (
	encMode = must(cbor.EncOptions{
		Sort:          cbor.SortCoreDeterministic,
		IndefLength:   cbor.IndefLengthForbidden,
		NilContainers: cbor.NilContainerAsEmpty,
		TagsMd:        cbor.TagsForbidden,
	}.EncMode())

	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   8,
		MaxArrayElements:  maxEntries,
		MaxMapPairs:       16,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		UTF8:              cbor.UTF8RejectInvalid,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode())
)

// must is for options that are constants.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// byteString sets dst to the CBOR byte string raw, which must be of the same
// length: the decoder by itself pads, cuts, and takes arrays of numbers.
func byteString(dst, raw []byte) error {
	head := []byte{0x40 | byte(len(dst))} // RFC 8949, section 3, major type 2
	if len(dst) > 23 {
		head = []byte{0x58, byte(len(dst))}
	}
	value, ok := bytes.CutPrefix(raw, head)
	if !ok || len(value) != len(dst) {
		return fmt.Errorf("not a byte string of %d bytes", len(dst))
	}
	copy(dst, value)
	return nil
}

// checkText holds for what people are shown: it must not be able to steer their
// terminal.
func checkText(what, s string, least, most int) error {
	if len(s) < least || len(s) > most {
		return fmt.Errorf("%s of %d bytes, not %d to %d", what, len(s), least, most)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s is not UTF-8", what)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%s has the unprintable character %U", what, r)
		}
	}
	return nil
}
