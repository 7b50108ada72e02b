package annex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/git-arbor/arbor/sync/wanted"
)

const (
	// magicBytes is how much of a file libmagic looks at, in bytes.
	magicBytes = 1 << 20
	// magicPatience is how long it may take to look at a file.
	magicPatience = 20 * time.Second
)

// withMagic gives a file what libmagic says about content of which head gives the first bytes. It is asked only by an expression that needs it.
func withMagic(ctx context.Context, f *wanted.File, head func() ([]byte, error)) *wanted.File {
	f.Encoding = func() (string, error) {
		b, err := head()
		if err != nil {
			return "", err
		}
		return magicEncoding(b), nil
	}
	f.Type = func() (string, error) {
		b, err := head()
		if err != nil {
			return "", err
		}
		return magicType(ctx, b)
	}
	return f
}

// magicType gives the MIME type that libmagic names for content that begins with head, as git-annex asks it, by its program. *Refused where that is not
// installed.
func magicType(ctx context.Context, head []byte) (string, error) {
	if len(head) == 0 {
		return "inode/x-empty", nil // which the program says of files alone
	}
	ctx, cancel := context.WithTimeout(ctx, magicPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "file", "--brief", "--mime", "-")
	cmd.Stdin = bytes.NewReader(head)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", &Refused{What: "mimetype= needs the program file, which is not installed", Hint: "install the package file (apt install file)"}
	}
	if err != nil {
		return "", fmt.Errorf("ask file for a MIME type: %w", err)
	}
	name, _, ok := strings.Cut(strings.TrimSpace(string(out)), ";")
	if !ok {
		return "", fmt.Errorf("ask file for a MIME type: it says %.100q", out)
	}
	return name, nil
}

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
