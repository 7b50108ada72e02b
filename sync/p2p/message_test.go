package p2p

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/git-arbor/arbor/sync/annex"
)

func mustKey(t interface{ Fatal(...any) }, s string) annex.Key {
	k, err := annex.ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestMessageLines(t *testing.T) {
	key := mustKey(t, "WORM-s3-m123--foo bar")
	for _, test := range []struct {
		line string
		m    message
	}{
		{"AUTH u t", message{verb: verbAuth, words: []string{"u", "t"}}},
		{"AUTH-SUCCESS u", message{verb: verbAuthSuccess, words: []string{"u"}}},
		{"VERSION 4", message{verb: verbVersion, number: 4}},
		{"BYPASS a b c", message{verb: verbBypass, words: []string{"a", "b", "c"}}},
		{"CHECKPRESENT WORM-s3-m123--foo bar", message{verb: verbCheckPresent, key: key}},
		{"GET 7  WORM-s3-m123--foo bar", message{verb: verbGet, number: 7, key: key}},
		{"GET 0 a%b%%c WORM-s3-m123--foo bar", message{verb: verbGet, file: "a b%c", key: key}},
		{"PUT  WORM-s3-m123--foo bar", message{verb: verbPut, key: key}},
		{"REMOVE-BEFORE 99 WORM-s3-m123--foo bar", message{verb: verbRemoveBefore, number: 99, key: key}},
		{"UNLOCKCONTENT", message{verb: verbUnlockContent}},
		{"SUCCESS-PLUS a b", message{verb: verbSuccessPlus, words: []string{"a", "b"}}},
		{"CONNECTDONE 128", message{verb: verbConnectDone, number: 128}},
		{"CONNECT git-upload-pack", message{verb: verbConnect, words: []string{UploadPack}}},
		{"ERROR two words", message{verb: verbError, text: "two words"}},
		{"DATA-PRESENT", message{verb: verbDataPresent}},
	} {
		if got := string(test.m.appendTo(nil)); got != test.line+"\n" {
			t.Errorf("written: %q, want %q", got, test.line)
		}
		m, err := parseMessage(test.line)
		if err != nil {
			t.Errorf("%q: %v", test.line, err)
			continue
		}
		if again := string(m.appendTo(nil)); m.file == "" && again != test.line+"\n" {
			t.Errorf("%q was read as %q", test.line, again)
		}
	}
}

func TestUnknownMessages(t *testing.T) {
	for _, line := range []string{
		"", " ", "HELLO", "success", "DATA", "DATA ", "DATA x", "DATA -1", "DATA +1", "DATA 0x1", "DATA 9223372036854775808",
		"GET 0 WORM--x", "GET 0", "GET x  WORM--x", "PUT WORM--x", "PUT  nokey", "CHECKPRESENT", "CHECKPRESENT ", "AUTH u",
		"AUTH u t more", "SUCCESS yes", "UNLOCKCONTENT WORM--x", "CONNECT", "CONNECT a b", "VERSION", "LOCKCONTENT a\x00b",
	} {
		if m, err := parseMessage(line); !errors.Is(err, errUnknownMessage) {
			t.Errorf("%q was read as %+v, %v", line, m, err)
		}
	}
}

func TestErrorTextIsOneLine(t *testing.T) {
	m := message{verb: verbError, text: "a\nSUCCESS\r" + strings.Repeat("x", 100_000)}
	line := string(m.appendTo(nil))
	if strings.Count(line, "\n") != 1 || strings.Contains(line, "\r") || len(line) > maxLine {
		t.Errorf("%d bytes: %.40q", len(line), line)
	}
}

func TestFileName(t *testing.T) {
	for name, want := range map[string]string{
		"":              "",
		"a b":           "a%b",
		"100%":          "100%%",
		"%%":            "%%%%",
		"a\tb\nc":       "a%b%c",
		"a\u00a0\u3000": "a%%", // white space of more than one byte, which git-annex would split at
		"\xff x":        "\xff%x",
		"é/日本":          "é/日本",
	} {
		if got := escapeFile(name); got != want {
			t.Errorf("escapeFile(%q) = %q, want %q", name, got, want)
		}
	}
	for word, want := range map[string]string{
		"":            "",
		"a%b":         "a b",
		"100%%":       "100%",
		"%%%":         "% ",
		"%":           " ",
		"a%%%%b%c%%d": "a%%b c%d",
		"\x1b[31m":    "_[31m",
		"/etc/passwd": "",
	} {
		if got := unescapeFile(word); got != want {
			t.Errorf("unescapeFile(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestFileNameIsAWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := string(rapid.SliceOf(rapid.Byte()).Draw(t, "name"))
		word := escapeFile(name)
		if strings.ContainsFunc(word, unicode.IsSpace) {
			t.Fatalf("%q became %q", name, word)
		}
		back := unescapeFile(word)
		if strings.ContainsFunc(back, unicode.IsControl) {
			t.Fatalf("%q came back as %q", name, back)
		}
		if !strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) &&
			!strings.HasPrefix(name, "/") && back != name {
			t.Fatalf("%q came back as %q", name, back)
		}
	})
}

// FuzzParseMessage: any line is read without panic; one that is understood is written as a line that is understood the same.
func FuzzParseMessage(f *testing.F) {
	for v := range shapes {
		f.Add(string(v))
		f.Add(string(v) + " 1 a%b SHA256E-s4--3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7.txt")
		f.Add(string(v) + " WORM-s3-m123--foo bar")
		f.Add(string(v) + " 17")
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "\n") {
			return
		}
		m, err := parseMessage(line)
		if err != nil {
			return
		}
		written := string(m.appendTo(nil))
		if strings.Count(written, "\n") != 1 {
			t.Fatalf("%q was written as %q", line, written)
		}
		again, err := parseMessage(strings.TrimSuffix(written, "\n"))
		if err != nil {
			t.Fatalf("%q was written as %q: %v", line, written, err)
		}
		if again.verb != m.verb || again.number != m.number || again.key != m.key || len(again.words) != len(m.words) {
			t.Fatalf("%q was read as %+v, then as %+v", line, m, again)
		}
	})
}
