package wanted

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A plain glob needs no regular expression, and matches what the regular expression does.
func TestPlainGlob(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.SampledFrom([]string{"a", "b", "ab", "/", ".", "ü", "*", "\xff", "\n", "+"})
		text := strings.ToValidUTF8(strings.Join(rapid.SliceOfN(part, 0, 6).Draw(t, "glob"), ""), "")
		path := strings.ReplaceAll(strings.Join(rapid.SliceOfN(part, 0, 8).Draw(t, "path"), ""), "*", "c")
		g, err := compileGlob(text, pathGlob)
		if err != nil {
			t.Fatal(err)
		}
		if g.match(path) != g.expr.MatchString(path) {
			t.Fatalf("%q matches %q: %v, by its expression %v", text, path, g.match(path), !g.match(path))
		}
	})
}

func FuzzCompileGlob(f *testing.F) {
	for _, glob := range []string{"*.mp3", "[!a-c]?", "[]a]", "[[:alpha:]-]", "a/b", "[a", "\\", "[\\]", "*a*"} {
		f.Add(glob, "a/b.mp3")
	}
	f.Fuzz(func(t *testing.T, glob, path string) {
		for _, mode := range []globMode{pathGlob, textGlob, valueGlob} {
			if g, err := compileGlob(glob, mode); err == nil && g.match(path) != g.expr.MatchString(path) {
				t.Errorf("%q matches %q: %v, by its expression %v", glob, path, g.match(path), !g.match(path))
			}
		}
	})
}
