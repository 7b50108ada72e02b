package gitrepo

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"pgregory.net/rapid"
)

func TestPackRoundTrip(t *testing.T) {
	a, b := newClone(t), newClone(t)
	long := strings.Repeat("a line of text that is long enough for a delta\n", 100)
	base := a.make(nil, map[string]string{"d/long": long, "d/x": "x", "y": "y"})
	pack, err := a.Pack(t.Context(), base, nil, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Unpack(t.Context(), pack, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := b.Complete(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	if err := b.UpdateRefs(t.Context(), []RefUpdate{{Name: "refs/remotes/a/main", New: base}}, "test"); err != nil {
		t.Fatal(err)
	}
	next := a.make([]Hash{base}, map[string]string{"d/long": long + "one more\n"})
	next = a.make([]Hash{next}, map[string]string{"new": "n"})
	thin, err := a.Pack(t.Context(), next, []Hash{base}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if len(thin) > 1000 {
		t.Errorf("a thin pack of one line has %d bytes", len(thin))
	}
	// Git's own judgement of the thin pack.
	c := newClone(t)
	for _, p := range [][]byte{pack, thin} {
		cmd := exec.Command("git", "index-pack", "--stdin", "--fix-thin", "--strict")
		cmd.Dir, cmd.Stdin = c.Dir(), bytes.NewReader(p)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git index-pack: %v\n%s", err, out)
		}
	}
	if c.run("rev-parse", next.String()+"^{tree}") == "" || !c.Has(next) {
		t.Error("git did not take the pack")
	}
	hashes, err := b.Unpack(t.Context(), thin, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if len(hashes) != 7 { // two commits, three trees, two blobs
		t.Errorf("%d objects unpacked", len(hashes))
	}
	if err := b.Complete(t.Context(), next); err != nil {
		t.Error(err)
	}
	mapsEqual(t, b.contents(next), a.contents(next))

	if _, err := a.Pack(t.Context(), next, []Hash{base}, 300); !errors.Is(err, ErrTooBig) {
		t.Errorf("a small limit: %v", err)
	}
	if _, err := newClone(t).Unpack(t.Context(), thin, 1<<20); !errors.Is(err, ErrNotFound) {
		t.Errorf("without the base: %v", err)
	}
	if _, err := b.Unpack(t.Context(), thin, 2000); !errors.Is(err, ErrTooBig) {
		t.Errorf("a small limit when unpacking: %v", err)
	}
}

func TestComplete(t *testing.T) {
	a, b := newClone(t), newClone(t)
	first := a.make(nil, map[string]string{"d/x": "x"})
	second := a.make([]Hash{first}, map[string]string{"d/y": "y"})
	pack, err := a.Pack(t.Context(), second, []Hash{first}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Unpack(t.Context(), pack, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := b.Complete(t.Context(), second); !errors.Is(err, ErrNotFound) {
		t.Errorf("with the parent missing: %v", err)
	}
	// A commit whose blob never came.
	blob := HashBlob([]byte("never sent"))
	h, err := b.NewCommit(t.Context(), NewCommit{Changes: []Change{{Path: "f", New: Entry{ModeFile, blob}}}, Message: "m"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Complete(t.Context(), h); !errors.Is(err, ErrNotFound) {
		t.Errorf("with a blob missing: %v", err)
	}
}

// TestUnpackGitPacks takes packs as git makes them, with deltas against offsets and in any order.
func TestUnpackGitPacks(t *testing.T) {
	a := newClone(t)
	text := ""
	var head Hash
	for i := range 12 {
		text += strings.Repeat(fmt.Sprintln("line", i), 20)
		a.write("f", text)
		a.write(fmt.Sprint("g", i), text)
		head = a.commit("")
	}
	for _, args := range [][]string{{"--delta-base-offset"}, {"--no-reuse-delta"}, {"--window=50", "--depth=50"}} {
		b := newClone(t)
		cmd := exec.Command("git", append([]string{"pack-objects", "--all", "--revs", "--stdout", "-q"}, args...)...)
		cmd.Dir, cmd.Stdin = a.Dir(), strings.NewReader("")
		pack, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Unpack(t.Context(), pack, 1<<20); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		if err := b.Complete(t.Context(), head); err != nil {
			t.Error(err)
		}
		b.run("update-ref", "refs/heads/main", head.String())
		b.run("fsck", "--strict")
	}
}

// TestPackProperties sends random histories step by step between two clones, one thin pack per step.
func TestPackProperties(t *testing.T) {
	names := []string{"a", "b", "d/x", "d/y", "d/e/f", "g"}
	rapid.Check(t, func(rt *rapid.T) {
		a, b := rapidClone(t), rapidClone(t)
		var history []Hash
		for i := range rapid.IntRange(1, 5).Draw(rt, "commits") {
			n := NewCommit{Message: fmt.Sprint(i)}
			for _, p := range rapid.SliceOfNDistinct(rapid.IntRange(0, max(0, i-1)), 0, min(i, 2), rapid.ID).Draw(rt, "parents") {
				n.Parents = append(n.Parents, history[p])
			}
			if len(n.Parents) > 0 {
				n.Base = n.Parents[0]
			}
			n.Changes = drawChanges(rt, a, n.Base, names)
			h, err := a.NewCommit(t.Context(), n)
			if err != nil {
				rt.Fatal(err)
			}
			have := rapid.SliceOfN(rapid.SampledFrom(append(history, Hash{1})), 0, 3).Draw(rt, "have")
			pack, err := a.Pack(t.Context(), h, append(have, n.Parents...), 1<<20)
			if err != nil {
				rt.Fatal(err)
			}
			if _, err := b.Unpack(t.Context(), pack, 1<<20); err != nil {
				rt.Fatal(err)
			}
			if err := b.Complete(t.Context(), h); err != nil {
				rt.Fatal(err)
			}
			history = append(history, h)
		}
	})
}

// rapidClone is a fresh object store without the cost of git init.
func rapidClone(t *testing.T) clone {
	dir := t.TempDir()
	for _, d := range []string{".git/objects/pack", ".git/refs/heads"} {
		if err := os.MkdirAll(dir+"/"+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(dir+"/.git/HEAD", []byte("ref: refs/heads/main\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &Repo{dir: dir, gitDir: dir + "/.git"}
	r.refs.gitDir = r.gitDir
	r.conf.ident = &Signature{Name: "p", Email: "p@example.org"}
	if err := r.objects.open(r.gitDir); err != nil {
		t.Fatal(err)
	}
	return clone{r, t}
}

// packOf builds a pack of given entries without any check.
func packOf(t testing.TB, add func(w *packWriter)) []byte {
	t.Helper()
	w, err := newPackWriter(zlib.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	add(w)
	return w.finish()
}

func mustAdd(w *packWriter, kind plumbing.ObjectType, base Hash, data []byte) {
	if err := w.add(kind, base, data); err != nil {
		panic(err)
	}
}

func reseal(pack []byte) []byte {
	sum := sha1.Sum(pack[:len(pack)-sha1.Size])
	return append(pack[:len(pack)-sha1.Size:len(pack)-sha1.Size], sum[:]...)
}

func TestUnpackRefuses(t *testing.T) {
	c := newClone(t)
	blob, err := c.WriteBlob([]byte("a base that is here"))
	if err != nil {
		t.Fatal(err)
	}
	tree := func(entries ...string) []byte {
		var b []byte
		for _, e := range entries {
			b = append(append(append(b, e...), 0), blob[:]...)
		}
		return b
	}
	good := packOf(t, func(w *packWriter) { mustAdd(w, plumbing.BlobObject, Hash{}, []byte("good")) })
	count := bytes.Clone(good)
	binary.BigEndian.PutUint32(count[8:], 1<<31)
	trailing := reseal(append(bytes.Clone(good[:len(good)-20]), make([]byte, 25)...))
	bomb := packOf(t, func(w *packWriter) { mustAdd(w, plumbing.BlobObject, Hash{}, make([]byte, 10<<20)) })
	// Each delta copies 64 KiB of its base a hundred times.
	copies := bytes.Repeat([]byte{0x80 | 0x10 | 0x20 | 0x40, 0xff, 0xff, 0x00}, 100)
	deltaBomb := packOf(t, func(w *packWriter) {
		base := make([]byte, 1<<16)
		mustAdd(w, plumbing.BlobObject, Hash{}, base)
		d := binary.AppendUvarint(nil, 1<<16)
		d = binary.AppendUvarint(d, 100*0xffff)
		mustAdd(w, plumbing.BlobObject, HashBlob(base), append(d, copies...))
	})
	for name, tt := range map[string]struct {
		pack []byte
		want error
	}{
		"empty":          {nil, ErrMalformed},
		"cut off":        {good[:len(good)-1], ErrMalformed},
		"flipped bit":    {append([]byte("PBCK"), good[4:]...), ErrMalformed},
		"checksum":       {append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1), ErrMalformed},
		"count too high": {reseal(count), ErrMalformed},
		"trailing bytes": {trailing, ErrMalformed},
		"zlib bomb":      {bomb, ErrTooBig},
		"delta bomb":     {deltaBomb, ErrTooBig},
		"delta of nothing": {packOf(t, func(w *packWriter) {
			mustAdd(w, plumbing.BlobObject, Hash{1}, []byte{4, 4, 4, 'a', 'b', 'c', 'd'})
		}), ErrNotFound},
		"delta beyond its base": {packOf(t, func(w *packWriter) {
			mustAdd(w, plumbing.BlobObject, blob, []byte{19, 4, 0x91, 18, 4})
		}), ErrMalformed},
		"tree with .git":      {packOf(t, func(w *packWriter) { mustAdd(w, plumbing.TreeObject, Hash{}, tree("100644 .GIT")) }), ErrMalformed},
		"tree with ..":        {packOf(t, func(w *packWriter) { mustAdd(w, plumbing.TreeObject, Hash{}, tree("40000 ..")) }), ErrMalformed},
		"tree with a slash":   {packOf(t, func(w *packWriter) { mustAdd(w, plumbing.TreeObject, Hash{}, tree("100644 a/b")) }), ErrMalformed},
		"tree not sorted":     {packOf(t, func(w *packWriter) { mustAdd(w, plumbing.TreeObject, Hash{}, tree("100644 b", "100644 a")) }), ErrMalformed},
		"tree with doubles":   {packOf(t, func(w *packWriter) { mustAdd(w, plumbing.TreeObject, Hash{}, tree("100644 a", "40000 a")) }), ErrMalformed},
		"tree cut off":        {packOf(t, func(w *packWriter) { mustAdd(w, plumbing.TreeObject, Hash{}, tree("100644 a")[:20]) }), ErrMalformed},
		"commit without tree": {packOf(t, func(w *packWriter) { mustAdd(w, plumbing.CommitObject, Hash{}, []byte("parent x\n\n")) }), ErrMalformed},
	} {
		hashes, err := c.Unpack(t.Context(), tt.pack, 1<<20)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if len(hashes) > 0 {
			t.Errorf("%s: objects were written", name)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(packOf(f, func(w *packWriter) {
		mustAdd(w, plumbing.BlobObject, Hash{}, []byte("some content that is long enough"))
		mustAdd(w, plumbing.BlobObject, HashBlob([]byte("some content that is long enough")), []byte{32, 6, 0x90, 4, 2, 'x', 'y'})
		mustAdd(w, plumbing.TreeObject, Hash{}, append([]byte("100644 a\x00"), make([]byte, 20)...))
	}))
	f.Add([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		// The checksum would hide everything else from the fuzzer.
		if len(data) >= packOverhead {
			data = reseal(data)
		}
		const limit = 1 << 16
		entries, err := parsePack(data, limit)
		if err != nil {
			return
		}
		u := &unpacker{r: &Repo{}, budget: limit, byOffset: make(map[int64]*packEntry), byHash: make(map[Hash]*packEntry)}
		if err := u.r.objects.open(t.TempDir()); err != nil {
			t.Fatal(err)
		}
		if err := u.resolve(t.Context(), entries); err != nil {
			return
		}
		total := 0
		for _, e := range entries {
			total += len(e.data)
			_ = checkObject(e.kind, e.data)
		}
		if total > limit {
			t.Fatalf("%d bytes for a limit of %d", total, limit)
		}
	})
}

func FuzzTree(f *testing.F) {
	f.Add(append([]byte("100644 a\x00"), make([]byte, 20)...))
	f.Add(append([]byte("40000 dir\x00"), make([]byte, 20)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if checkTree(data) != nil {
			return
		}
		entries, err := parseTree(data)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseTree(encodeTree(entries))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(entries) {
			t.Fatalf("%v became %v, %v", entries, again, err)
		}
		for _, e := range entries {
			if got, err := findInTree(data, e.Name); err != nil || got != e.Entry {
				t.Fatalf("looking for %q: %v, %v", e.Name, got, err)
			}
		}
	})
}

func FuzzCommit(f *testing.F) {
	f.Add(encodeCommit(CommitInfo{Tree: Hash{1}, Parents: []Hash{{2}}, Author: Signature{Name: "a", Email: "b"}, Message: "m"}))
	f.Add([]byte("tree 0000000000000000000000000000000000000000\nauthor a <b> 1 +0000\n\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_ = checkCommit(data)
	})
}

func TestPackFastPathSpawnsNothing(t *testing.T) {
	c := newClone(t)
	for i := range 50 {
		c.write(fmt.Sprintf("d%d/f%d", i%5, i), fmt.Sprint(i))
	}
	c.commit("")
	c.write("d1/f1", "changed\n")
	c.commit("d1/f1") // resolves who commits, starts update-ref
	// From here on every new child would fail to start.
	t.Setenv("PATH", t.TempDir())
	c.write("d1/f1", "changed again\n")
	old := c.head()
	res := c.snapshot("d1/f1")
	h, err := c.NewCommit(t.Context(), NewCommit{Base: old, Parents: []Hash{old}, Changes: res.Changes, Message: "m"})
	if err != nil {
		t.Fatal(err)
	}
	pack, err := c.Pack(t.Context(), h, []Hash{old}, 8<<10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Unpack(t.Context(), pack, 1<<20); err != nil {
		t.Fatal(err)
	}
	c.advance(old, h, res.Index)
	c.checkout(old)
	m, err := c.Merge(t.Context(), h, c.make([]Hash{old}, map[string]string{"x": "x"}), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.checkout(m.Commit)
	if got := maps.Collect(maps.All(c.contents(m.Commit))); got["d1/f1"] != "changed again\n" || got["x"] != "x" {
		t.Errorf("merged %v", got)
	}
}
