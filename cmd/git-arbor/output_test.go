package main

import (
	"testing"
	"time"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain é 木\n":     "plain é 木\n",
		"a\x1b[2Jb":       `a\u001b[2Jb`,
		"caf\xe9":         `caf\xe9`,
		"a\u202egpj.exe":  `a\u202egpj.exe`,
		"tab\there\r":     `tab\u0009here\u000d`,
		"\u2028 kept":     "\u2028 kept",
		"\x7f\u0085":      `\u007f\u0085`,
		"":                "",
		"\uFFFD is valid": "\uFFFD is valid",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
	if got, want := oneLine("a\nb"), `a\nb`; got != want {
		t.Errorf("oneLine: got %q, want %q", got, want)
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB", 20_000_000: "19.1 MiB",
		1 << 40: "1.0 TiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := size(in); got != want {
			t.Errorf("size(%d) = %q, want %q", in, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	for before, want := range map[time.Duration]string{
		-time.Second: "now", 0: "now", 5 * time.Second: "5 s ago", 119 * time.Second: "119 s ago", 2 * time.Minute: "2 min ago",
		3 * time.Hour: "3 h ago", 49 * time.Hour: "2 days ago",
	} {
		if got := ago(now, now.Add(-before)); got != want {
			t.Errorf("%v before: got %q, want %q", before, got, want)
		}
	}
	if got := ago(now, time.Time{}); got != "never" {
		t.Errorf("no time: got %q", got)
	}
}

func TestSpan(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0: "0 s", 400 * time.Millisecond: "0 s", 59 * time.Second: "59 s", 100 * time.Second: "1 min 40 s", 59*time.Minute + 59600*time.Millisecond: "1 h 0 min",
		200 * time.Minute: "3 h 20 min", 50 * time.Hour: "2 days",
	} {
		if got := span(in); got != want {
			t.Errorf("span(%v) = %q, want %q", in, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, test := range []struct {
		line, want string
		width      int
	}{{"abc", "abc", 3}, {"abcd", "ab>", 3}, {"äöüß", "äö>", 3}, {"abc", ">", 1}} {
		if got := cut(test.line, test.width); got != test.want {
			t.Errorf("cut(%q, %d) = %q, want %q", test.line, test.width, got, test.want)
		}
	}
}

func TestGitIsNew(t *testing.T) {
	for version, want := range map[string]bool{
		"2.37.9": false, "2.38.0": true, "2.39.5 (Apple Git-154)": true, "3.0": true, "1.99": false, "2": false, "": false,
		"2.50.GIT": true,
	} {
		if got := gitIsNew(version); got != want {
			t.Errorf("gitIsNew(%q) = %v", version, got)
		}
	}
}
