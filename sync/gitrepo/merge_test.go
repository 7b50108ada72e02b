package gitrepo

import (
	"crypto/md5"
	"fmt"
	"slices"
	"strings"
	"testing"
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
