package wanted

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// glob is a compiled glob.
type glob struct {
	expr *regexp.Regexp
	// plain are the texts between the stars of a glob that has no other wildcards; nil for any other.
	plain []string
}

// globMode says what a glob is compared with.
type globMode byte

const (
	pathGlob  globMode = iota // a path, where one slash of the glob stands for several
	textGlob                  // anything else
	valueGlob                 // a value of metadata, in either case
)

// match says whether the glob matches. Most globs are plain, and most paths have no line break and no double slash: a regular expression is
// needed for the rest only.
func (g *glob) match(s string) bool {
	if g.plain == nil || strings.Contains(s, "//") || strings.Contains(s, "\n") {
		return g.expr.MatchString(s)
	}
	first, rest := g.plain[0], g.plain[1:]
	if len(rest) == 0 {
		return s == first
	}
	s, ok := strings.CutPrefix(s, first)
	if !ok {
		return false
	}
	last := len(rest) - 1
	for _, part := range rest[:last] {
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s = s[at+len(part):]
	}
	return strings.HasSuffix(s, rest[last])
}

// compileGlob reads a glob as git-annex does (Utility/Glob.hs): "*" and "?" match slashes too, brackets are POSIX
// with "!" for not, and a whole line must match.
func compileGlob(text string, mode globMode) (*glob, error) {
	var b strings.Builder
	if mode == valueGlob {
		b.WriteString("(?i)")
	}
	b.WriteString("(?m)^")
	for rest := text; rest != ""; {
		c, size := utf8.DecodeRuneInString(rest)
		if c == utf8.RuneError && size == 1 {
			return nil, fmt.Errorf("glob %q is not UTF-8", text)
		}
		switch {
		case c == '*':
			b.WriteString(".*")
		case c == '?':
			b.WriteByte('.')
		case c == '/' && mode == pathGlob:
			b.WriteString("/+")
		case c == '[':
			class, n, err := globClass(rest)
			if err != nil {
				return nil, fmt.Errorf("glob %q: %w", text, err)
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
		return nil, fmt.Errorf("glob %q: %w", text, err)
	}
	g := &glob{expr: expr}
	if mode == pathGlob && !strings.ContainsAny(text, "?[\n") && !strings.Contains(text, "//") {
		g.plain = strings.Split(text, "*")
	}
	return g, nil
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
