package p2p

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// escapeFile writes the name of a file as one word, as git-annex does (P2P/Protocol.hs, Serializable AssociatedFile):
// each white space character becomes %, and % becomes %%. That loses which white space it was, which does not matter:
// the name is only shown to people. The name of no file is the empty word.
func escapeFile(name string) string {
	var b strings.Builder
	eachRune(name, func(r rune, raw string) {
		switch {
		case r == '%':
			b.WriteString("%%")
		case unicode.IsSpace(r):
			b.WriteByte('%')
		default:
			b.WriteString(raw)
		}
	})
	return b.String()
}

// unescapeFile reads what escapeFile wrote, or a stranger: all white space is a blank, what comes out has no control characters,
// and an absolute name is read as no name.
func unescapeFile(word string) string {
	if strings.HasPrefix(word, "/") {
		return ""
	}
	var b strings.Builder
	escaped := false
	eachRune(word, func(r rune, raw string) {
		switch {
		case escaped && r == '%':
			b.WriteByte('%')
			escaped = false
			return
		case escaped:
			b.WriteByte(' ')
			escaped = false
		}
		switch {
		case r == '%':
			escaped = true
		case unicode.IsControl(r):
			b.WriteByte('_')
		default:
			b.WriteString(raw)
		}
	})
	if escaped {
		b.WriteByte(' ')
	}
	return b.String()
}

// eachRune calls f for each character and the bytes it is made of; bytes that are no UTF-8 come one at a time, as
// utf8.RuneError.
func eachRune(s string, f func(r rune, raw string)) {
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		f(r, s[:n])
		s = s[n:]
	}
}
