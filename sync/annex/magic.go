package annex

import (
	"bytes"
	"unicode/utf8"
)

// magicBytes is how much of a file libmagic looks at, in bytes.
const magicBytes = 1 << 20

// magicEncoding gives the character set that libmagic names for content that begins with head (file's encoding.c): what
// `mimeencoding=` is compared with. Whether it is "binary" is what expressions in use ask.
func magicEncoding(head []byte) string {
	switch {
	case len(head) == 0:
		return "binary"
	case bytes.HasPrefix(head, []byte("\xff\xfe\x00\x00")) && len(head)%4 == 0:
		return "utf-32le"
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		return "utf-16le"
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		return "utf-16be"
	}
	ascii, extended := true, false
	for _, c := range head {
		switch {
		case c >= 0xa0:
			ascii = false
		case c == 0x85:
			ascii = false
		case c >= 0x80:
			ascii, extended = false, true
		case c >= 0x20 && c < 0x7f, c >= '\a' && c <= '\r' && c != '\v', c == 0x1b:
		default:
			return "binary"
		}
	}
	switch {
	case ascii:
		return "us-ascii"
	case validUTF8Prefix(head):
		return "utf-8"
	case extended:
		return "unknown-8bit"
	}
	return "iso-8859-1"
}

// validUTF8Prefix says whether b is UTF-8 but for a character cut off at its end.
func validUTF8Prefix(b []byte) bool {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			return !utf8.FullRune(b)
		}
		b = b[size:]
	}
	return true
}
