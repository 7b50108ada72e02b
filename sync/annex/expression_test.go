package annex

import (
	"fmt"
	"strings"
	"testing"
)

// Each answer is that of git-annex 10.20230126 (`git annex matchexpression --largefiles`); TestExpressionsByGitAnnex asks it again.
var expressionCases = []struct {
	expr string
	want bool
}{
	{"anything or anything and nothing", false},
	{"nothing and nothing or anything", true},
	{"anything nothing", false},
	{"anything anything", true},
	{"not nothing", true},
	{"not nothing anything", true},
	{"not (nothing or anything)", false},
	{"not not anything", true},
	{"(nothing (nothing or anything))", true},
	{"nothing (nothing or anything)", false},
	{"(nothing and (nothing or anything))", false},
	{"(anything", true},
	{"nothing)", false},
	{"anything or", true},
	{"nothing or", true},
	{"and nothing", false},
	{"or nothing", true},
	{"not", false},
	{"()", true},
	{"( ) nothing", false},
	{"include=*.mp3", true},
	{"include=*.MP3", false},
	{"include=music/*", true},
	{"include=music//*", false},
	{"include=mus?c/s[no]ng.mp3", true},
	{"include=mus?c/s[!o]ng.mp3", false},
	{"include=*/song.[[:alpha:]]p3", true},
	{"include=song.mp3", false},
	{"exclude=*.mp3", false},
	{"exclude=*.ogg", true},
	{"largerthan=100kb", true},
	{"largerthan=150kb", false},
	{"smallerthan=150kb", false},
	{"smallerthan=150.001kb", true},
	{"largerthan=146kib", true},
	{"largerthan=147kib", false},
	{"include=*.mp3 and largerthan=1mb or include=*.mp3", true},
	{"largerthan=100kb and not (include=*.c or include=*.h)", true},
	{"((largerthan=0))and(anything)", true},
	{"", true},
}

func TestParseExpression(t *testing.T) {
	for _, c := range expressionCases {
		m, err := parseExpression(c.expr, fileTerm)
		if err != nil {
			t.Errorf("%q: %v", c.expr, err)
			continue
		}
		got := true
		if m != nil {
			if got, err = m(&candidate{path: "music/song.mp3", size: 150_000}); err != nil {
				t.Errorf("%q: %v", c.expr, err)
			}
		}
		if got != c.want {
			t.Errorf("%q matches: %v, want %v", c.expr, got, c.want)
		}
	}
	for _, expr := range []string{"mimetype=text/*", "include", "foo", "largerthan=big", "include=[a", "include=[z-a]", "include=\xff", strings.Repeat("not ", maxExpression)} {
		if m, err := parseExpression(expr, fileTerm); err == nil && expr != "include" {
			t.Errorf("%.40q: %v, want an error", expr, m)
		}
	}
}

func FuzzParseExpression(f *testing.F) {
	for _, c := range expressionCases {
		f.Add(c.expr, "a/b.c")
	}
	f.Fuzz(func(t *testing.T, expr, path string) {
		m, err := parseExpression(expr, fileTerm)
		if err != nil || m == nil {
			return
		}
		encoding := func() (string, error) { return "us-ascii", nil }
		if _, err := m(&candidate{path: path, size: 3, encoding: encoding}); err != nil {
			t.Error(err)
		}
	})
}

func FuzzCompileGlob(f *testing.F) {
	for _, glob := range []string{"*.mp3", "[!a-c]?", "[]a]", "[[:alpha:]-]", "a/b", "[a", "\\", "[\\]"} {
		f.Add(glob, "a/b.mp3")
	}
	f.Fuzz(func(_ *testing.T, glob, path string) {
		if expr, err := compileGlob(glob, true); err == nil {
			_ = fmt.Sprint(expr.MatchString(path))
		}
	})
}
