package gitrepo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestReadPacks reads all objects of packs as git makes them: with chains of deltas, against offsets and against names, and with
// indexes whose offsets are large.
func TestReadPacks(t *testing.T) {
	for name, args := range map[string][][]string{
		"offsets": {{"repack", "-adfq", "--depth=50", "--window=50"}},
		"names":   {{"config", "repack.useDeltaBaseOffset", "false"}, {"repack", "-adfq", "--depth=50", "--window=50"}},
		"plain":   {{"repack", "-adfq", "--depth=0"}},
		"two":     {{"repack", "-adfq"}, {"commit", "-q", "--allow-empty", "-m", "one more"}, {"repack", "-dq"}},
	} {
		for _, large := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, large %v", name, large), func(t *testing.T) {
				c := newClone(t)
				text := ""
				for i := range 20 {
					text += strings.Repeat(fmt.Sprintln("line", i), 30)
					c.write("f", text)
					c.write(fmt.Sprint("g", i), fmt.Sprint("small ", i))
					c.commit("")
				}
				for _, a := range args {
					c.run(a...)
				}
				if large {
					packs, err := filepath.Glob(filepath.Join(c.Dir(), ".git/objects/pack/*.pack"))
					if err != nil || len(packs) == 0 {
						t.Fatalf("packs: %q, %v", packs, err)
					}
					for _, pack := range packs {
						index := strings.TrimSuffix(pack, ".pack") + ".idx"
						if err := os.Remove(index); err != nil {
							t.Fatal(err)
						}
						c.run("index-pack", "--index-version=2,0x40", pack)
					}
				}
				r, err := Open(t.Context(), c.Dir())
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				var blobs []Hash
				for line := range strings.Lines(c.run("cat-file", "--batch-all-objects", "--batch-check")) {
					words := strings.Fields(line)
					h, err := ParseHash(words[0])
					if err != nil {
						t.Fatal(err)
					}
					if size, err := r.objects.size(h); err != nil || fmt.Sprint(size) != words[2] {
						t.Errorf("%s has %d bytes, %v; git says %s", h, size, err, words[2])
					}
					if o, err := r.objects.read(h, 1<<20); err != nil || o.kind.String() != words[1] || hashObject(o.kind, o.data) != h {
						t.Errorf("%s is %s %s, %v; git says %s", h, o.kind, hashObject(o.kind, o.data), err, words[1])
					}
					if words[1] == "blob" {
						blobs = append(blobs, h)
					}
				}
				order := r.PackOrder(len(blobs), func(i int) Hash { return blobs[i] })
				for _, i := range order {
					if data, err := r.Blob(blobs[i], 1<<20); err != nil || HashBlob(data) != blobs[i] {
						t.Errorf("%s: %v", blobs[i], err)
					}
					if data, err := r.Blob(blobs[i], 5); !errors.Is(err, ErrTooBig) {
						t.Errorf("%s with a small limit: %q, %v", blobs[i], data, err)
					}
				}
				if slices.Sort(order); len(order) != len(blobs) || order[len(order)-1] != len(blobs)-1 {
					t.Errorf("the order of %d objects is %v", len(blobs), order)
				}
			})
		}
	}
}

// TestBrokenPackIndex: an index that is cut off or changed is seen to be wrong.
func TestBrokenPackIndex(t *testing.T) {
	c := newClone(t)
	c.write("f", "content")
	c.commit("f")
	c.run("repack", "-adq")
	found, err := filepath.Glob(filepath.Join(c.Dir(), ".git/objects/pack/*.idx"))
	if err != nil || len(found) != 1 {
		t.Fatalf("indexes: %q, %v", found, err)
	}
	whole, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "broken.idx")
	broken := map[string][]byte{"changed": slices.Clone(whole), "version 1": whole[8:]}
	broken["changed"][len(whole)/2] ^= 1
	for _, n := range []int{0, 7, 8, 1000, len(whole) - 1} {
		broken[fmt.Sprint(n, " bytes")] = whole[:n]
	}
	for name, data := range broken {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readPackIndex(path); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
