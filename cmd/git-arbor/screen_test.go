package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal of this size, and gives what is on its other end as well.
func terminal(t *testing.T, columns, rows uint16) (far, near *os.File) {
	t.Helper()
	far, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatalf("open a pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { far.Close() })
	fd := int(far.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
	near, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	return far, near
}

// TestScreenOnATerminal: each block takes the place of the one before, and none is larger than the terminal.
func TestScreenOnATerminal(t *testing.T) {
	far, near := terminal(t, 10, 4)
	a := &app{getenv: func(string) string { return "" }}
	s := &screen{app: a, out: near, transient: true}
	shown := func() string {
		t.Helper()
		buf := make([]byte, 4096)
		n, err := far.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(buf[:n]), "\r\n", "\n")
	}
	for i, step := range []struct {
		lines []string
		want  string
	}{
		{[]string{"one\n", "longer than ten\n"}, "\x1b[?7l\rone\x1b[K\nlonger th>\x1b[K\n\x1b[J\x1b[?7h"},
		{[]string{"1\n", "2\n", "3\n", "4\n", "5\n"}, "\x1b[?7l\r\x1b[2A1\x1b[K\n2\x1b[K\n3\x1b[K\n\x1b[J\x1b[?7h"},
		{[]string{"end\n"}, "\x1b[?7l\r\x1b[3Aend\x1b[K\n\x1b[J\x1b[?7h"},
	} {
		if err := s.show(step.lines); err != nil {
			t.Fatal(err)
		}
		if got := shown(); got != step.want {
			t.Errorf("block %d: got %q, want %q", i, got, step.want)
		}
	}
	s.clear()
	if got, want := shown(), "\x1b[?7l\r\x1b[1A\x1b[J\x1b[?7h"; got != want {
		t.Errorf("cleared: got %q, want %q", got, want)
	}
	a.getenv = func(string) string { return "dumb" }
	if err := s.show([]string{"x\n"}); err != nil || s.rows != 0 {
		t.Errorf("a dumb terminal is redrawn (%v)", err)
	}
}

// TestScreenElsewhere: blocks follow each other without a control character, and what is shown in passing is not shown.
func TestScreenElsewhere(t *testing.T) {
	var out bytes.Buffer
	for _, transient := range []bool{false, true} {
		s := &screen{app: &app{getenv: func(string) string { return "" }}, out: &out, transient: transient}
		for range 2 {
			if err := s.show([]string{"a\n", "b\n"}); err != nil {
				t.Fatal(err)
			}
		}
		s.clear()
	}
	if got, want := out.String(), "a\nb\n\na\nb\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
