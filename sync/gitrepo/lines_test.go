package gitrepo

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestMergeLines draws changes of two sides that do not touch: the result must have both.
func TestMergeLines(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		lines := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "{", "}", ""}), 8, 40).Draw(rt, "base")
		for i := range lines {
			// Some lines repeat, as in real text.
			if rapid.Bool().Draw(rt, "unique") {
				lines[i] += fmt.Sprint(" ", i)
			}
			lines[i] += "\n"
		}
		n := len(lines)
		i := rapid.IntRange(0, n/2-2).Draw(rt, "a from")
		j := rapid.IntRange(i, n/2-2).Draw(rt, "a to")
		k := rapid.IntRange(n/2+1, n).Draw(rt, "b from")
		l := rapid.IntRange(k, n).Draw(rt, "b to")
		// Lines that occur nowhere else keep the alignment beyond doubt.
		newA := []string{"new in a\n"}
		newB := []string{"new in b\n", "more\n"}
		lines[n/2-1], lines[n/2] = "fixed\n", "point\n"
		base := strings.Join(lines, "")
		a := strings.Join(slices.Replace(slices.Clone(lines), i, j, newA...), "")
		b := strings.Join(slices.Replace(slices.Clone(lines), k, l, newB...), "")
		want := strings.Join(slices.Concat(lines[:i], newA, lines[j:k], newB, lines[l:]), "")
		got, ok := mergeLines(base, a, b, false)
		if !ok || got != want {
			rt.Fatalf("merged %v:\n%s\nwant:\n%s", ok, got, want)
		}
		if swapped, _ := mergeLines(base, b, a, false); swapped != want {
			rt.Fatalf("the order of the sides matters")
		}
	})
}

// TestDiffLines checks that hunks lead from one text to the other and are minimal where that is easy to see.
func TestDiffLines(t *testing.T) {
	text := rapid.SliceOfN(rapid.SampledFrom([]string{"a\n", "b\n", "c\n", "d\n"}), 0, 30)
	rapid.Check(t, func(rt *rapid.T) {
		a, b := text.Draw(rt, "a"), text.Draw(rt, "b")
		var got []string
		pos := 0
		for _, h := range diffLines(a, b) {
			if h.o1 < pos || h.o1 == pos && pos > 0 && h.o1 == h.o2 && h.n1 == h.n2 {
				rt.Fatalf("hunks overlap: %v", h)
			}
			got = append(append(got, a[pos:h.o1]...), b[h.n1:h.n2]...)
			pos = h.o2
		}
		got = append(got, a[pos:]...)
		if !slices.Equal(got, b) {
			rt.Fatalf("hunks give %q, want %q", got, b)
		}
	})
}
