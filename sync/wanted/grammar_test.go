package wanted

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/git-arbor/arbor/sync/annex/annextest"
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

func TestParseLargeFiles(t *testing.T) {
	for _, c := range expressionCases {
		e, err := ParseLargeFiles(c.expr)
		if err != nil {
			t.Errorf("%q: %v", c.expr, err)
			continue
		}
		if got, err := e.Match(&File{Path: "music/song.mp3", Size: 150_000}); got != c.want || err != nil {
			t.Errorf("%q matches: %v, %v, want %v", c.expr, got, err, c.want)
		}
	}
	for _, expr := range []string{"mimetype=[a", "foo", "copies=1", "largerthan=big", "include=[a", "include=[z-a]", "include=\xff", strings.Repeat("not ", maxExpression)} {
		if e, err := ParseLargeFiles(expr); err == nil {
			t.Errorf("%.40q: %v, want an error", expr, e)
		}
	}
}

// What git-annex answers, asked again.
func TestExpressionsByGitAnnex(t *testing.T) { annextest.Each(t, testExpressionsByGitAnnex) }

func testExpressionsByGitAnnex(t *testing.T) {
	dir := t.TempDir()
	run := func(name string, args ...string) error {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=Tester", "GIT_AUTHOR_EMAIL=t@example.org", "GIT_COMMITTER_NAME=Tester", "GIT_COMMITTER_EMAIL=t@example.org")
		return cmd.Run()
	}
	for _, command := range [][]string{{"git", "init", "-q"}, {"git-annex", "init", "-q"}} {
		if err := run(command[0], command[1:]...); err != nil {
			t.Fatalf("%q: %v; this test needs git and git-annex (apt-get install git git-annex)", command, err)
		}
	}
	for _, c := range expressionCases {
		if c.expr == "" {
			continue // git-annex wants an expression
		}
		if err := run("git-annex", "matchexpression", "--largefiles", "--file=music/song.mp3", "--size=150000", c.expr); (err == nil) != c.want {
			t.Errorf("%q matches for git-annex: %v (%v)", c.expr, err == nil, err)
		}
	}
}

// preferredText gives the words of any expression, however unlikely.
var preferredText = rapid.Custom(func(t *rapid.T) string {
	word := rapid.SampledFrom([]string{
		"and", "or", "not", "(", ")", "present", "anything", "nothing", "include=a*", "exclude=*b", "copies=2", "copies=g:1", "standard", "groupwanted",
		"metadata=tag>=3", "largerthan=1kb", "lackingcopies=1", "inallgroup=g", "balanced=g:2", "sizebalanced=g", "fullysizebalanced=h:lackingcopies=g-client", "copies=g-h=1", "url=*", "securehash", "unused",
	})
	return strings.Join(rapid.SliceOfN(word, 0, 20).Draw(t, "words"), " ")
})

func parsePreferred(text string) (*node, error) {
	s := New(Logs{Groups: map[string][]string{"A": {"client", "g"}, "B": {"g"}}, GroupWanted: map[string]string{"g": "include=x* or standard"}})
	return s.parse("A", text, true, true)
}

// What an expression is written as is read as the same expression.
func TestStringIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkString(t, preferredText.Draw(t, "text")) })
}

func checkString(t rapid.TB, text string) {
	t.Helper()
	n, err := parsePreferred(text)
	if err != nil {
		return
	}
	again, err := parsePreferred(n.text(false))
	if err != nil || again.text(false) != n.text(false) || again.text(true) != n.text(true) {
		t.Fatalf("%q is written as %q, which is read as %q, %v", text, n.text(false), again.text(false), err)
	}
	expanded, err := parsePreferred(n.text(true))
	if err != nil || expanded.text(true) != n.text(true) {
		t.Fatalf("%q is expanded to %q, which is read as %q, %v", text, n.text(true), expanded.text(true), err)
	}
	f := &File{Path: "ab", Key: "SHA256E-s3--x.b", Size: 3, Locations: []string{"A", "C"}}
	f.Used = func() (map[string]Use, error) { return map[string]Use{"A": {3, 3}}, nil }
	for _, q := range []*question{{file: f}, {file: f, absent: "A"}} {
		want, err := n.match(q)
		if err != nil {
			t.Fatal(err)
		}
		for _, same := range []*node{again, expanded} {
			if got, err := same.match(q); got != want || err != nil {
				t.Fatalf("%q matches: %v, %v; written: %v", text, want, err, got)
			}
		}
		if got, reasons, err := n.explain(q, nil); got != want || err != nil || n != nil && n.kind == isTerm && len(reasons) != 1 {
			t.Fatalf("%q matches: %v, explained: %v, %v, %v", text, want, got, reasons, err)
		}
	}
}

func FuzzPreferred(f *testing.F) {
	for _, c := range expressionCases {
		f.Add(c.expr)
	}
	f.Add("(standard or groupwanted) not (copies=trusted+:2 metadata=a<=3)")
	f.Add(clientWants)
	f.Fuzz(func(t *testing.T, text string) { checkString(t, text) })
}

func FuzzParseLargeFiles(f *testing.F) {
	for _, c := range expressionCases {
		f.Add(c.expr, "a/b.c")
	}
	f.Fuzz(func(t *testing.T, expr, path string) {
		e, err := ParseLargeFiles(expr)
		if err != nil {
			return
		}
		kind := func() (string, error) { return "text/plain", nil }
		encoding := func() (string, error) { return "us-ascii", nil }
		if _, err := e.Match(&File{Path: path, Size: 3, Type: kind, Encoding: encoding}); err != nil {
			t.Error(err)
		}
	})
}
