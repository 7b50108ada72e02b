package config

import (
	"fmt"
	"strings"
)

// Error is a mistake in a configuration file, or in a file that it names.
type Error struct {
	Path string // of the file; may be empty
	Line int    // counted from 1; 0 when the whole file is meant
	Key  string // dotted, as "account.jid"; may be empty
	Msg  string
	Fix  string // the next step for the person; may be empty
	Err  error  // the cause; may be nil
}

// Error gives "path:line: key: message" without the parts that are not known.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Path != "" {
		b.WriteString(e.Path)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Msg)
	return b.String()
}

// Hint says how to mend it; it may be empty.
func (e *Error) Hint() string { return e.Fix }

// Unwrap returns the cause, so that errors.Is finds fs.ErrNotExist for a missing file.
func (e *Error) Unwrap() error { return e.Err }
