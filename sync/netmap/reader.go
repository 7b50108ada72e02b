package netmap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// reader walks over JSON that is known to be well formed, and knows the place. Unlike encoding/json it takes no field twice,
// no field in another case, and no null.
type reader struct {
	data []byte
	next int
	path []string
	ids  map[string]string // the same text is kept once
}

func newReader(data []byte) (*reader, error) {
	if i := invalidUTF8(data); i >= 0 {
		return nil, wrong(lineColumn(data, i), "this is not UTF-8")
	}
	if !json.Valid(data) {
		var value json.RawMessage
		err := json.Unmarshal(data, &value)
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, wrong(lineColumn(data, int(syntax.Offset)-1), "%v", err)
		}
		return nil, wrong("", "%v", err)
	}
	return &reader{data: data, ids: make(map[string]string)}, nil
}

// invalidUTF8 is where data stops to be UTF-8, or -1.
func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

func lineColumn(data []byte, offset int) string {
	before := data[:max(0, min(offset, len(data)))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Sprintf("line %d, column %d", line, column)
}

// at is the place of an element of a list.
func at(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

func (r *reader) wrong(format string, args ...any) error {
	return wrong(strings.TrimPrefix(strings.Join(r.path, ""), "."), format, args...)
}

func (r *reader) unknown() error { return r.wrong("unknown field") }

// object calls field with the name of each field, to read the value.
func (r *reader) object(field func(name string) error) error {
	if err := r.expect('{', "an object"); err != nil {
		return err
	}
	var seen [16]string // no object here has as many fields
	names := seen[:0]
	for first := true; ; first = false {
		if r.peek() == '}' {
			r.next++
			return nil
		}
		if !first {
			r.next++ // the comma
		}
		var name string
		if err := r.text(&name); err != nil {
			return err
		}
		r.path = append(r.path, "."+name)
		if slices.Contains(names, name) {
			return r.wrong("the field is there twice")
		}
		names = append(names, name)
		r.peek()
		r.next++ // the colon
		if err := field(name); err != nil {
			return err
		}
		r.path = r.path[:len(r.path)-1]
	}
}

// array calls element with each index, to read the element.
func (r *reader) array(element func(i int) error) error {
	if err := r.expect('[', "a list"); err != nil {
		return err
	}
	for i := 0; ; i++ {
		if r.peek() == ']' {
			r.next++
			return nil
		}
		if i > 0 {
			r.next++ // the comma
		}
		r.path = append(r.path, at("", i))
		if err := element(i); err != nil {
			return err
		}
		r.path = r.path[:len(r.path)-1]
	}
}

func (r *reader) text(to *string) error {
	if r.peek() != '"' {
		return r.wrong("want a string, not %s", r.kind())
	}
	begin, escaped := r.next, false
	for r.next++; r.data[r.next] != '"'; r.next++ {
		if r.data[r.next] == '\\' {
			escaped = true
			r.next++
		}
	}
	r.next++
	if escaped {
		return json.Unmarshal(r.data[begin:r.next], to)
	}
	raw := r.data[begin+1 : r.next-1]
	id, ok := r.ids[string(raw)]
	if !ok {
		id = string(raw)
		r.ids[id] = id
	}
	*to = id
	return nil
}

func (r *reader) number(to *float64) error {
	if c := r.peek(); c != '-' && (c < '0' || c > '9') {
		return r.wrong("want a number, not %s", r.kind())
	}
	begin := r.next
	for r.next < len(r.data) && strings.IndexByte("+-.eE0123456789", r.data[r.next]) >= 0 {
		r.next++
	}
	n, err := strconv.ParseFloat(string(r.data[begin:r.next]), 64)
	if err != nil {
		return r.wrong("%s is too large a number", r.data[begin:r.next])
	}
	*to = n
	return nil
}

func (r *reader) boolean(to *bool) error {
	c := r.peek()
	if c != 't' && c != 'f' {
		return r.wrong("want true or false, not %s", r.kind())
	}
	*to = c == 't'
	r.next += len(strconv.FormatBool(*to))
	return nil
}

func (r *reader) expect(c byte, what string) error {
	if r.peek() != c {
		return r.wrong("want %s, not %s", what, r.kind())
	}
	r.next++
	return nil
}

// peek skips white space and gives the byte that comes.
func (r *reader) peek() byte {
	for r.data[r.next] == ' ' || r.data[r.next] == '\t' || r.data[r.next] == '\n' || r.data[r.next] == '\r' {
		r.next++
	}
	return r.data[r.next]
}

// kind names the value that comes.
func (r *reader) kind() string {
	switch r.peek() {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}
