package annex

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// compileGlob reads a glob as git-annex does (Utility/Glob.hs): "*" and "?" match slashes too, brackets are POSIX
// with "!" for not, and a whole line must match. In paths one slash of the glob stands for several.
func compileGlob(glob string, path bool) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString("(?m)^")
	for rest := glob; rest != ""; {
		c, size := utf8.DecodeRuneInString(rest)
		if c == utf8.RuneError && size == 1 {
			return nil, fmt.Errorf("glob %q is not UTF-8", glob)
		}
		switch {
		case c == '*':
			b.WriteString(".*")
		case c == '?':
			b.WriteByte('.')
		case c == '/' && path:
			b.WriteString("/+")
		case c == '[':
			class, n, err := globClass(rest)
			if err != nil {
				return nil, fmt.Errorf("glob %q: %w", glob, err)
			}
			b.WriteString(class)
			size = n
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
		rest = rest[size:]
	}
	b.WriteByte('$')
	expr, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fmt.Errorf("glob %q: %w", glob, err)
	}
	return expr, nil
}

// globClass gives the regular expression for the bracket expression at the front of glob, and its length in bytes.
func globClass(glob string) (class string, length int, err error) {
	var b strings.Builder
	b.WriteByte('[')
	at := 1
	if at < len(glob) && (glob[at] == '!' || glob[at] == '^') {
		b.WriteByte('^')
		at++
	}
	for first := true; at < len(glob); first = false {
		if named, ok := namedClass(glob[at:]); ok {
			b.WriteString(named)
			at += len(named)
			continue
		}
		c, size := utf8.DecodeRuneInString(glob[at:])
		switch {
		case c == ']' && !first:
			b.WriteByte(']')
			return b.String(), at + size, nil
		case c == '-' && !first && at+1 < len(glob) && glob[at+1] != ']':
			b.WriteByte('-')
		case unicode.IsLetter(c) || unicode.IsDigit(c):
			b.WriteRune(c)
		default:
			fmt.Fprintf(&b, `\x{%x}`, c)
		}
		at += size
	}
	return "", 0, fmt.Errorf("bracket without its end")
}

// namedClass gives the POSIX class, such as [:alpha:], at the front of s.
func namedClass(s string) (string, bool) {
	if !strings.HasPrefix(s, "[:") {
		return "", false
	}
	end := strings.Index(s, ":]")
	if end < 2 {
		return "", false
	}
	switch s[2:end] {
	case "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit":
		return s[:end+2], true
	}
	return "", false
}
