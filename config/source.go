package config

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// source is the text of a configuration file with the places of its keys, which the TOML decoder does not tell.
type source struct {
	data  []byte
	items []item
}

// item is a table header or a key with its value.
type item struct {
	key    toml.Key // whole path
	header bool
	// element counts the [[headers]] of the same name, from 0: the header's own number, or that of the header a key
	// stands under.
	element int
	line    int // of the key, from 1
	// data[start:end] is all lines of the item with the final newline; data[value:valueEnd] the value of a key.
	start, end      int
	value, valueEnd int
}

// scan finds the items of data, which must be valid TOML. On anything else the result is of no use, but the scan ends.
func scan(data []byte) *source {
	s := &source{data: data}
	var table toml.Key
	element := 0
	elements := make(map[string]int)
	line := 1
	for at := 0; at < len(data); {
		start := at
		at = skipBlank(data, at)
		it := item{line: line, start: start, element: element}
		switch {
		case at == len(data) || data[at] == '\n' || data[at] == '#':
			at = endOfLine(data, at)
			line++
			continue
		case data[at] == '[':
			it.header = true
			list := at+1 < len(data) && data[at+1] == '['
			at++
			if list {
				at++
			}
			table, at = scanKey(data, at, ']')
			it.key = table
			element = 0
			if list {
				element = elements[table.String()]
				elements[table.String()]++
			}
			it.element = element
		default:
			var key toml.Key
			key, at = scanKey(data, at, '=')
			it.key = append(append(toml.Key{}, table...), key...)
			it.value = skipBlank(data, min(at+1, len(data)))
			it.valueEnd = scanValue(data, it.value)
			at = it.valueEnd
		}
		at = endOfLine(data, at)
		it.end = at
		line += max(1, bytes.Count(data[start:at], []byte{'\n'}))
		s.items = append(s.items, it)
	}
	return s
}

// line returns the line of the key, or of the nearest item around it; 0 when there is none. element says under which of
// the [[headers]] of the same name the key stands, counted from 0.
func (s *source) line(key string, element int) int {
	for {
		for _, it := range s.items {
			if it.key.String() == key && it.element == element {
				return it.line
			}
		}
		dot := strings.LastIndexByte(key, '.')
		if dot < 0 {
			return 0
		}
		key = key[:dot]
	}
}

// scanKey reads a dotted key up to the byte end, and returns the offset of that.
func scanKey(data []byte, at int, end byte) (toml.Key, int) {
	var key toml.Key
	for at < len(data) && data[at] != end && data[at] != '\n' {
		switch c := data[at]; c {
		case ' ', '\t', '.':
			at++
		case '"', '\'':
			stop := scanString(data, at)
			part := string(data[at:stop])
			if name, err := strconv.Unquote(part); err == nil && c == '"' {
				part = name
			} else {
				part = strings.Trim(part, `'"`)
			}
			key = append(key, part)
			at = stop
		default:
			stop := at
			for stop < len(data) && data[stop] != end && !strings.ContainsRune(" \t.\"'\n", rune(data[stop])) {
				stop++
			}
			key = append(key, string(data[at:stop]))
			at = stop
		}
	}
	return key, at
}

// scanValue returns the offset after the value that starts at at; the value may span lines.
func scanValue(data []byte, at int) int {
	depth := 0
	end := at
	for at < len(data) {
		switch data[at] {
		case '"', '\'':
			at = scanString(data, at)
			end = at
			continue
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case '#':
			if depth <= 0 {
				return end
			}
			at = endOfLine(data, at)
			continue
		case '\n':
			if depth <= 0 {
				return end
			}
		}
		at++
		if c := data[at-1]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			end = at
		}
	}
	return end
}

// scanString returns the offset after the string whose opening quote is at at: basic or literal, on one line or many.
func scanString(data []byte, at int) int {
	quote := data[at]
	triple := bytes.Repeat([]byte{quote}, 3)
	long := bytes.HasPrefix(data[at:], triple)
	if long {
		at += 3
	} else {
		at++
	}
	for at < len(data) {
		switch {
		case data[at] == '\\' && quote == '"':
			at++
		case long && bytes.HasPrefix(data[at:], triple):
			at += 3
			for range 2 { // up to two quotes may stand before the closing three
				if at < len(data) && data[at] == quote {
					at++
				}
			}
			return at
		case !long && (data[at] == quote || data[at] == '\n'):
			return at + 1
		}
		at++
	}
	return len(data)
}

func skipBlank(data []byte, at int) int {
	for at < len(data) && (data[at] == ' ' || data[at] == '\t' || data[at] == '\r') {
		at++
	}
	return at
}

// endOfLine returns the offset after the newline that ends the line of at.
func endOfLine(data []byte, at int) int {
	if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(data)
}
