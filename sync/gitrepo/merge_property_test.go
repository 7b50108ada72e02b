package gitrepo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestMergeProperties draws histories at random: any two commits merge to one result in either order, in another clone
// too, no content of either side is lost without the other side having changed or removed it, and git finds
// nothing wrong.
func TestMergeProperties(t *testing.T) {
	c, other := newClone(t), newClone(t)
	names := []string{"a", "b", "c.txt", "d", "d/x", "d/y", "d/y/z", "e/f", "a.variant-0000", ".gitignore"}
	rapid.Check(t, func(rt *rapid.T) {
		history := []Hash{}
		for i := range rapid.IntRange(2, 7).Draw(rt, "commits") {
			n := NewCommit{Message: fmt.Sprint("commit ", i), Author: &Signature{Name: "p", Email: "p@example.org"}}
			var parents []int
			if i > 0 {
				parents = rapid.SliceOfNDistinct(rapid.IntRange(0, i-1), 0, 2, rapid.ID).Draw(rt, "parents")
			}
			for _, p := range parents {
				n.Parents = append(n.Parents, history[p])
			}
			if len(n.Parents) > 0 {
				n.Base = n.Parents[0]
			}
			n.When = time.Unix(rapid.Int64Range(1e9, 1e9+5).Draw(rt, "date"), 0)
			n.Changes = drawChanges(rt, c, n.Base, names)
			h, err := c.NewCommit(t.Context(), n)
			if err != nil {
				rt.Fatal(err)
			}
			history = append(history, h)
		}
		pick := rapid.IntRange(0, len(history)-1)
		a, b := history[pick.Draw(rt, "a")], history[pick.Draw(rt, "b")]
		ab, err := c.Merge(t.Context(), a, b, nil)
		if err != nil {
			rt.Fatal(err)
		}
		for _, h := range []Hash{a, b} {
			pack, err := c.Pack(t.Context(), h, nil, 1<<20)
			if err != nil {
				rt.Fatal(err)
			}
			if _, err := other.Unpack(t.Context(), pack, 1<<20); err != nil {
				rt.Fatal(err)
			}
		}
		ba, err := other.Merge(t.Context(), b, a, nil)
		if err != nil {
			rt.Fatal(err)
		}
		if ab.Commit != ba.Commit {
			rt.Fatalf("two clones merged to %s and %s", ab.Commit, ba.Commit)
		}
		nothingLost(rt, c, a, b, ab.Commit)
		again, err := c.Merge(t.Context(), ab.Commit, a, nil)
		if err != nil || again.Commit != ab.Commit {
			rt.Fatalf("merging a parent again: %v, %v", again, err)
		}
	})
	if out, err := c.try("fsck", "--strict", "--no-dangling"); err != nil {
		t.Errorf("git fsck: %v\n%s", err, out)
	}
}

func drawChanges(rt *rapid.T, c clone, base Hash, names []string) []Change {
	have := make(map[string]Entry)
	if err := c.Files(base, func(p string, e Entry) error { have[p] = e; return nil }); err != nil {
		rt.Fatal(err)
	}
	changes := make(map[string]Change)
	for range rapid.IntRange(0, 4).Draw(rt, "changes") {
		p := rapid.SampledFrom(names).Draw(rt, "path")
		content := rapid.SampledFrom([]string{"", "1\n2\n3\n4\n", "1\nx\n3\n4\n", "1\n2\n3\ny\n", "1\nz\n3\n4\n", "bin\x00"}).Draw(rt, "content")
		mode := rapid.SampledFrom([]Mode{ModeFile, ModeFile, ModeExecutable, ModeSymlink}).Draw(rt, "mode")
		if content == "" {
			delete(have, p)
			changes[p] = Change{Path: p}
			continue
		}
		for q := range maps.Clone(have) {
			if strings.HasPrefix(q, p+"/") || strings.HasPrefix(p, q+"/") {
				delete(have, q)
				changes[q] = Change{Path: q}
			}
		}
		for q, ch := range changes {
			if !ch.New.IsZero() && (strings.HasPrefix(q, p+"/") || strings.HasPrefix(p, q+"/")) {
				changes[q] = Change{Path: q}
			}
		}
		h, err := c.WriteBlob([]byte(content))
		if err != nil {
			rt.Fatal(err)
		}
		have[p] = Entry{mode, h}
		changes[p] = Change{Path: p, New: have[p]}
	}
	return slices.Collect(maps.Values(changes))
}

// nothingLost checks that each file of either side is in the merge, unless a common ancestor had that very file: then the
// other side has changed or removed it on purpose. Files merged by lines are let pass where the name is still there.
func nothingLost(rt *rapid.T, c clone, a, b, merge Hash) {
	in := func(h Hash) map[string]Entry {
		m := make(map[string]Entry)
		if err := c.Files(h, func(p string, e Entry) error { m[p] = e; return nil }); err != nil {
			rt.Fatal(err)
		}
		return m
	}
	merged := in(merge)
	blobs := make(map[Hash]bool)
	for _, e := range merged {
		blobs[e.Hash] = true
	}
	ancestors := make(map[string]map[Hash]bool)
	for _, side := range []Hash{a, b} {
		for _, h := range c.ancestorsOf(rt, side) {
			for p, e := range in(h) {
				if h == side {
					continue
				}
				if ancestors[p] == nil {
					ancestors[p] = make(map[Hash]bool)
				}
				ancestors[p][e.Hash] = true
			}
		}
	}
	for _, side := range []Hash{a, b} {
		for p, e := range in(side) {
			if _, kept := merged[p]; !kept && !blobs[e.Hash] && !ancestors[p][e.Hash] {
				rt.Fatalf("%q of %s (%s) is not in the merge %s", p, side, e.Hash, merge)
			}
		}
	}
}

func (c clone) ancestorsOf(rt *rapid.T, h Hash) []Hash {
	var all []Hash
	seen := map[Hash]bool{}
	todo := []Hash{h}
	for len(todo) > 0 {
		h, todo = todo[0], todo[1:]
		if seen[h] {
			continue
		}
		seen[h] = true
		all = append(all, h)
		info, err := c.Commit(h)
		if err != nil {
			rt.Fatal(err)
		}
		todo = append(todo, info.Parents...)
	}
	return all
}

// TestMergeConvergence lets clones that know different heads merge what they know: as soon as all know all, they
// have one commit.
func TestMergeConvergence(t *testing.T) {
	c := newClone(t)
	base := c.make(nil, map[string]string{"f": "1\n2\n3\n", "g": "g"})
	h := []Hash{
		c.make([]Hash{base}, map[string]string{"f": "a\n2\n3\n", "g": ""}),
		c.make([]Hash{base}, map[string]string{"f": "b\n2\n3\n", "h": "h"}),
		c.make([]Hash{base}, map[string]string{"f": "1\n2\nc\n", "g": "gg"}),
	}
	merge := func(heads ...Hash) Hash {
		res, err := c.MergeHeads(t.Context(), heads, nil)
		if err != nil {
			t.Fatal(err)
		}
		return res.Commit
	}
	pairs := []Hash{merge(h[0], h[1]), merge(h[1], h[2], base), merge(Hash{}, h[0], h[2])}
	want := merge(pairs...)
	for _, order := range [][]int{{0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		got := merge(pairs[order[0]], pairs[order[1]], pairs[order[2]], h[order[0]])
		if got != want {
			t.Errorf("order %v gives %s, not %s", order, got, want)
		}
	}
	if again := merge(want, h[1], pairs[2]); again != want {
		t.Errorf("merging what is contained gives %s, not %s", again, want)
	}
}
