package main

import (
	"fmt"
	"io"
	"strings"
)

// screen shows blocks of lines, each in place of the one before where that can be done.
type screen struct {
	app       *app
	out       io.Writer
	transient bool // show nothing where lines cannot be replaced
	rows      int  // of the block shown last
}

// show replaces the block. On a terminal what does not fit is cut, and lines are overwritten rather than erased first, so
// that nothing flickers.
func (s *screen) show(lines []string) error {
	width, height, redraw := s.app.terminalSize(s.out)
	var b strings.Builder
	switch {
	case redraw:
		if len(lines) >= height { // the last row is the cursor's
			lines = lines[:max(0, height-1)]
		}
		b.WriteString("\x1b[?7l\r") // no wrapping: some characters are wider than one column
		if up := min(s.rows, height-1); up > 0 {
			fmt.Fprintf(&b, "\x1b[%dA", up)
		}
		for _, line := range lines {
			b.WriteString(cut(strings.TrimSuffix(line, "\n"), width) + "\x1b[K\n")
		}
		b.WriteString("\x1b[J\x1b[?7h") // erase what is left of a longer block
	case s.transient:
		return nil
	default:
		if s.rows > 0 {
			b.WriteByte('\n')
		}
		for _, line := range lines {
			b.WriteString(line)
		}
	}
	s.rows = len(lines)
	_, err := io.WriteString(s.out, b.String())
	return err
}

// clear takes away a block that was shown in passing.
func (s *screen) clear() {
	if s.transient && s.rows > 0 {
		_ = s.show(nil)
	}
}
