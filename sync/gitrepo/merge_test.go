package gitrepo

import (
	"crypto/md5"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// variantOf is the name a plain file's version gets.
func variantOf(name, content string) string {
	sum := md5.Sum([]byte(HashBlob([]byte(content)).String()))
	return variantName(name, fmt.Sprintf("%x", sum[:2]))
}

// merged merges in both orders and insists on one result.
func (c clone) merged(a, b Hash, annexed Resolver) MergeResult {
	c.t.Helper()
	ab, err := c.Merge(c.t.Context(), a, b, annexed)
	if err != nil {
		c.t.Fatal(err)
	}
	ba, err := c.Merge(c.t.Context(), b, a, annexed)
	if err != nil {
		c.t.Fatal(err)
	}
	if ab.Commit != ba.Commit {
		c.t.Fatalf("merge depends on the order: %s and %s", ab.Commit, ba.Commit)
	}
	return ab
}

func TestMergeRules(t *testing.T) {
	const long = "1\n2\n3\n4\n5\n6\n7\n8\n9\n"
	edit := func(n, with string) string { return strings.Replace(long, n+"\n", with+"\n", 1) }
	tests := []struct {
		name             string
		base, a, b, want map[string]string // "" removes
		conflicts        []string
	}{
		{
			name: "different files",
			base: map[string]string{"x": "x", "y": "y"},
			a:    map[string]string{"x": "xa"}, b: map[string]string{"y": "yb"},
			want: map[string]string{"x": "xa", "y": "yb"},
		},
		{
			name: "different lines",
			base: map[string]string{"f": long},
			a:    map[string]string{"f": edit("2", "two")}, b: map[string]string{"f": edit("8", "eight")},
			want: map[string]string{"f": strings.Replace(edit("2", "two"), "8", "eight", 1)},
		},
		{
			name: "same line",
			base: map[string]string{"d/f.txt": long},
			a:    map[string]string{"d/f.txt": edit("2", "zwei")}, b: map[string]string{"d/f.txt": edit("2", "deux")},
			want: map[string]string{
				"d/" + variantOf("f.txt", edit("2", "zwei")): edit("2", "zwei"),
				"d/" + variantOf("f.txt", edit("2", "deux")): edit("2", "deux"),
			},
			conflicts: []string{"d/f.txt"},
		},
		{
			name: "same change",
			base: map[string]string{"f": long},
			a:    map[string]string{"f": edit("2", "b")}, b: map[string]string{"f": edit("2", "b")},
			want: map[string]string{"f": edit("2", "b")},
		},
		{
			name: "both add",
			base: map[string]string{"x": "x"},
			a:    map[string]string{"n": "from a"}, b: map[string]string{"n": "from b"},
			want:      map[string]string{"x": "x", variantOf("n", "from a"): "from a", variantOf("n", "from b"): "from b"},
			conflicts: []string{"n"},
		},
		{
			name: "modify and remove",
			base: map[string]string{"x": "x", "y": "y"},
			a:    map[string]string{"x": "changed"}, b: map[string]string{"x": ""},
			want:      map[string]string{"x": "changed", "y": "y"},
			conflicts: []string{"x"},
		},
		{
			name: "both remove",
			base: map[string]string{"d/x": "x", "y": "y"},
			a:    map[string]string{"d/x": ""}, b: map[string]string{"d/x": "", "y": "z"},
			want: map[string]string{"y": "z"},
		},
		{
			name: "rename on one side, change on the other",
			base: map[string]string{"old": long},
			a:    map[string]string{"old": "", "new": long}, b: map[string]string{"old": edit("5", "five")},
			want:      map[string]string{"old": edit("5", "five"), "new": long},
			conflicts: []string{"old"},
		},
		{
			name: "file against directory",
			base: map[string]string{"x": "x"},
			a:    map[string]string{"n": "file"}, b: map[string]string{"n/deep/f": "in dir"},
			want:      map[string]string{"x": "x", "n/deep/f": "in dir", variantOf("n", "file"): "file"},
			conflicts: []string{"n"},
		},
		{
			name: "directory replaced by a file, untouched on the other side",
			base: map[string]string{"d/1": "1", "d/2": "2", "x": "x"},
			a:    map[string]string{"d/1": "", "d/2": "", "d": "file"}, b: map[string]string{"x": "y"},
			want: map[string]string{"d": "file", "x": "y"},
		},
		{
			name: "directory replaced by a file, changed on the other side",
			base: map[string]string{"d/1": "1", "d/2": "2"},
			a:    map[string]string{"d/1": "", "d/2": "", "d": "file"}, b: map[string]string{"d/1": "one"},
			want:      map[string]string{"d/1": "one", variantOf("d", "file"): "file"},
			conflicts: []string{"d", "d/1"},
		},
		{
			name: "file replaced by a directory, changed on the other side",
			base: map[string]string{"f": "f"},
			a:    map[string]string{"f": "", "f/in": "in"}, b: map[string]string{"f": "changed"},
			want:      map[string]string{"f/in": "in", variantOf("f", "changed"): "changed"},
			conflicts: []string{"f"},
		},
		{
			name: "variant name taken",
			base: map[string]string{variantOf("n", "from a"): "somebody's"},
			a:    map[string]string{"n": "from a"}, b: map[string]string{"n": "from b"},
			want: map[string]string{
				variantOf("n", "from a"): "somebody's",
				variantName("n", fmt.Sprintf("%x", md5.Sum([]byte(HashBlob([]byte("from a")).String())))[:8]): "from a",
				variantOf("n", "from b"): "from b",
			},
			conflicts: []string{"n"},
		},
		{
			name: "variant of a variant",
			base: map[string]string{"x": "x"},
			a:    map[string]string{"v.variant-1234.txt": "a"}, b: map[string]string{"v.variant-1234.txt": "b"},
			want: map[string]string{
				"x": "x",
				"v.variant-1234.variant-" + HashBlob([]byte("a")).String() + ".txt": "a",
				"v.variant-1234.variant-" + HashBlob([]byte("b")).String() + ".txt": "b",
			},
			conflicts: []string{"v.variant-1234.txt"},
		},
		{
			name: "ignore rules are united",
			base: map[string]string{".gitignore": "*.o\n"},
			a:    map[string]string{".gitignore": "*.o\n/secret\n"}, b: map[string]string{".gitignore": "*.o\n/build\n"},
		},
		{
			name: "binary",
			base: map[string]string{"b": "\x00" + long},
			a:    map[string]string{"b": "\x00" + edit("2", "x")}, b: map[string]string{"b": "\x00" + edit("8", "y")},
			want: map[string]string{
				variantOf("b", "\x00"+edit("2", "x")): "\x00" + edit("2", "x"),
				variantOf("b", "\x00"+edit("8", "y")): "\x00" + edit("8", "y"),
			},
			conflicts: []string{"b"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClone(t)
			base := c.make(nil, tt.base)
			a, b := c.make([]Hash{base}, tt.a), c.make([]Hash{base}, tt.b)
			res := c.merged(a, b, nil)
			got := c.contents(res.Commit)
			if tt.want == nil { // the order of united lines follows the commits' names
				lines := strings.Split(strings.TrimSpace(got[".gitignore"]), "\n")
				slices.Sort(lines)
				if !slices.Equal(lines, []string{"*.o", "/build", "/secret"}) {
					t.Errorf("united: %q", lines)
				}
				return
			}
			mapsEqual(t, got, tt.want)
			var paths []string
			for _, cf := range res.Conflicts {
				paths = append(paths, cf.Path)
				for _, v := range cf.Variants {
					if _, ok := got[v]; !ok {
						t.Errorf("variant %q of %q is not in the tree", v, cf.Path)
					}
				}
			}
			paths = slices.Compact(paths)
			if !slices.Equal(paths, tt.conflicts) {
				t.Errorf("conflicts %q, want %q", paths, tt.conflicts)
			}
			if out, err := c.try("fsck", "--strict", "--no-dangling"); err != nil {
				t.Errorf("git fsck: %v\n%s", err, out)
			}
		})
	}
}

func TestMergeModes(t *testing.T) {
	c := newClone(t)
	commit := func(parents []Hash, entries map[string]Entry) Hash {
		n := NewCommit{Parents: parents, Message: "m"}
		if len(parents) > 0 {
			n.Base = parents[0]
		}
		for p, e := range entries {
			n.Changes = append(n.Changes, Change{Path: p, New: e})
		}
		h, err := c.NewCommit(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	one, _ := c.WriteBlob([]byte("one\n"))
	two, _ := c.WriteBlob([]byte("two\n"))
	base := commit(nil, map[string]Entry{"x": {ModeFile, one}, "y": {ModeFile, one}})
	a := commit([]Hash{base}, map[string]Entry{"x": {ModeExecutable, one}, "both": {ModeFile, one}, "y": {ModeSymlink, one}})
	b := commit([]Hash{base}, map[string]Entry{"x": {ModeFile, two}, "both": {ModeExecutable, one}, "y": {ModeFile, two}})
	res := c.merged(a, b, nil)
	symSum := md5.Sum([]byte(one.String() + " 120000"))
	mapsEqual(t, c.contents(res.Commit), map[string]string{
		"x":                     "100755 two\n", // the mode of one side, the content of the other
		"both":                  "100755 one\n",
		variantOf("y", "two\n"): "two\n",
		variantName("y", fmt.Sprintf("%x", symSum[:2])): "120000 one\n",
	})
}

func TestMergeMetadata(t *testing.T) {
	c := newClone(t)
	base := c.make(nil, map[string]string{"x": "x"})
	a := c.make([]Hash{base}, map[string]string{"x": "a"})
	b := c.make([]Hash{base}, map[string]string{"x": "b"})
	c.run("config", "commit.gpgsign", "true")
	c.run("config", "user.name", "Somebody Else")
	res := c.merged(a, b, nil)
	got := c.run("cat-file", "commit", res.Commit.String())
	p := []Hash{a, b}
	sortHashes(p)
	for _, want := range []string{
		fmt.Sprintf("parent %s\nparent %s\n", p[0], p[1]),
		"author Arbor <arbor@localhost> 1000000000 +0000\ncommitter Arbor <arbor@localhost> 1000000000 +0000\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("commit is\n%s\nwithout\n%s", got, want)
		}
	}
	ff := c.merged(res.Commit, a, nil)
	if !ff.FastForward || ff.Commit != res.Commit {
		t.Errorf("merging an ancestor: %+v", ff)
	}
}

// annexedByPrefix takes blobs that begin with "key:" for annexed files.
func (c clone) annexedByPrefix(e Entry) (Annexed, bool) {
	if e.Mode != ModeSymlink && !e.Mode.IsRegular() {
		return Annexed{}, false
	}
	data, err := c.Blob(e.Hash, 1<<16)
	key, ok := strings.CutPrefix(string(data), "key:")
	if err != nil || !ok {
		return Annexed{}, false
	}
	key, _, _ = strings.Cut(key, "\n")
	return Annexed{Key: key, File: "K" + key}, true
}

func TestMergeAnnexed(t *testing.T) {
	short := func(key string) string {
		sum := md5.Sum([]byte(key))
		return fmt.Sprintf("%x", sum[:2])
	}
	tests := []struct {
		name             string
		base, a, b, want map[string]string
	}{
		{
			"two keys",
			map[string]string{"c.tar.gz": "key:0"},
			map[string]string{"c.tar.gz": "key:1"},
			map[string]string{"c.tar.gz": "key:2"},
			map[string]string{"c.tar.variant-" + short("1") + ".gz": "key:1", "c.tar.variant-" + short("2") + ".gz": "key:2"},
		},
		{
			"hidden and plain names",
			map[string]string{"x": "x"},
			map[string]string{".hid": "key:1", "noext": "key:1"},
			map[string]string{".hid": "key:2", "noext": "key:2"},
			map[string]string{
				"x": "x", ".variant-" + short("1") + ".hid": "key:1", ".variant-" + short("2") + ".hid": "key:2",
				"noext.variant-" + short("1"): "key:1", "noext.variant-" + short("2"): "key:2",
			},
		},
		{
			"annexed against removed",
			map[string]string{"f": "key:0", "x": "x"},
			map[string]string{"f": "key:1"},
			map[string]string{"f": ""},
			map[string]string{"f.variant-" + short("1"): "key:1", "x": "x"},
		},
		{
			"annexed against plain",
			map[string]string{"x": "x"},
			map[string]string{"f": "key:1"},
			map[string]string{"f": "text"},
			map[string]string{"x": "x", "f": "text", "f.variant-" + short("1"): "key:1"},
		},
		{
			"annexed against directory",
			map[string]string{"x": "x"},
			map[string]string{"f": "key:1"},
			map[string]string{"f/in": "text"},
			map[string]string{"x": "x", "f/in": "text", "f.variant-" + short("1"): "key:1"},
		},
		{
			"one key, two forms",
			map[string]string{"x": "x"},
			map[string]string{"f": "key:1\n"},
			map[string]string{"f": "key:1"},
			nil,
		},
		{
			"variant again",
			map[string]string{"x": "x"},
			map[string]string{"v.variant-ab12.txt": "key:1"},
			map[string]string{"v.variant-ab12.txt": "key:2"},
			map[string]string{"x": "x", "v.variant-ab12.variant-K1.txt": "key:1", "v.variant-ab12.variant-K2.txt": "key:2"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClone(t)
			base := c.make(nil, tt.base)
			a, b := c.make([]Hash{base}, tt.a), c.make([]Hash{base}, tt.b)
			res := c.merged(a, b, c.annexedByPrefix)
			if tt.want == nil {
				if len(res.Conflicts) != 0 || len(c.contents(res.Commit)) != 2 {
					t.Errorf("got %v", c.contents(res.Commit))
				}
				return
			}
			mapsEqual(t, c.contents(res.Commit), tt.want)
		})
	}
}

func TestMergeCrissCross(t *testing.T) {
	c := newClone(t)
	root := c.make(nil, map[string]string{"f": "1\n2\n3\n4\n5\n", "g": "g\n"})
	a1 := c.make([]Hash{root}, map[string]string{"f": "A\n2\n3\n4\n5\n", "g": "ga\n"})
	b1 := c.make([]Hash{root}, map[string]string{"f": "1\n2\n3\n4\nB\n", "g": "gb\n"})
	a2 := c.make([]Hash{a1, b1}, map[string]string{"f": "A\n2\n3\n4\nB\n", "g": "ga and gb\n"})
	b2 := c.make([]Hash{b1, a1}, map[string]string{"f": "A\n2\nMID\n4\nB\n", "g": "gb and ga\n"})
	bases, err := c.MergeBases(t.Context(), a2, b2)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Fields(c.run("merge-base", "--all", a2.String(), b2.String())); len(bases) != len(want) || len(bases) != 2 {
		t.Fatalf("merge bases %v, git says %v", bases, want)
	}
	res := c.merged(a2, b2, nil)
	mapsEqual(t, c.contents(res.Commit), map[string]string{
		"f":                           "A\n2\nMID\n4\nB\n",
		variantOf("g", "ga and gb\n"): "ga and gb\n",
		variantOf("g", "gb and ga\n"): "gb and ga\n",
	})
}

func TestMergeUnrelated(t *testing.T) {
	c := newClone(t)
	a := c.make(nil, map[string]string{"a": "a", "same": "same", "both": "1"})
	b := c.make(nil, map[string]string{"b": "b", "same": "same", "both": "2"})
	mapsEqual(t, c.contents(c.merged(a, b, nil).Commit), map[string]string{
		"a": "a", "b": "b", "same": "same", variantOf("both", "1"): "1", variantOf("both", "2"): "2",
	})
}

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

func TestVariantName(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"c.tar.gz", "c.tar.variant-62cf.gz"},
		{"noext", "noext.variant-62cf"},
		{".hid", ".variant-62cf.hid"},
		{"x.y.z", "x.y.variant-62cf.z"},
		{"dot.", "dot.variant-62cf."},
		{strings.Repeat("é", 125) + ".txt", strings.Repeat("é", 119) + ".variant-62cf.txt"},
		{strings.Repeat("x", 255), strings.Repeat("x", 242) + ".variant-62cf"},
	} {
		got := variantName(tt.name, "62cf")
		if got != tt.want {
			t.Errorf("variantName(%q) = %q, want %q", tt.name, got, tt.want)
		}
		if len(got) > maxName {
			t.Errorf("variantName(%q) has %d bytes", tt.name, len(got))
		}
	}
}
