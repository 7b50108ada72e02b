package annex

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// What is added together is as if it were added alone: locked and not, of one content, and with files among it that cannot be added.
func TestAddAll(t *testing.T) {
	for _, thin := range []bool{false, true} {
		t.Run(fmt.Sprintf("thin=%t", thin), func(t *testing.T) {
			t.Parallel()
			r := newAnnex(t)
			run(t, r.git.Dir(), "git", "config", "annex.thin", fmt.Sprint(thin))
			run(t, r.git.Dir(), "git", "config", "annex.largefiles", "anything")
			if err := r.git.ReloadConfig(t.Context()); err != nil {
				t.Fatal(err)
			}
			contents := make(map[string]string)
			var files []ToAdd
			for i := range 200 {
				path := fmt.Sprintf("sub %d/f%d.bin", i%3, i)
				contents[path] = strings.Repeat(fmt.Sprintln("content", i/2), 50) // two files of each
				write(t, r, path, contents[path], 0o644)
				files = append(files, ToAdd{path, AddOptions{Locked: i%4 == 1}})
			}
			wrong := []ToAdd{{Path: "missing"}, {Path: "sub 0"}, {Path: "../outside"}}
			added := r.AddAll(t.Context(), slices.Concat(files[:100], wrong, files[100:]))
			for i, a := range added[100:103] {
				if a.Err == nil || !strings.Contains(a.Err.Error(), wrong[i].Path) {
					t.Errorf("%s was added: %+v", wrong[i].Path, a)
				}
			}
			var index []gitrepo.IndexEntry
			var changes []gitrepo.Change
			var here []Location
			for i, a := range slices.Concat(added[:100], added[103:]) {
				path := files[i].Path
				if a.Err != nil || !a.Here || a.Key != KeyFor(sha256.Sum256([]byte(contents[path])), int64(len(contents[path])), path, DefaultMaxExtensionLength) || read(t, r, path) != contents[path] {
					t.Fatalf("%s: %+v, with %.40q", path, a, read(t, r, path))
				}
				if want := map[bool]gitrepo.Mode{false: gitrepo.ModeFile, true: gitrepo.ModeSymlink}[files[i].Locked]; a.Mode != want {
					t.Errorf("%s has mode %s", path, a.Mode)
				}
				h, err := r.git.WriteBlob(a.Content)
				if err != nil {
					t.Fatal(err)
				}
				entry := gitrepo.Entry{Mode: a.Mode, Hash: h}
				index = append(index, gitrepo.IndexEntry{Path: path, Entry: entry, Stat: a.Stat})
				changes = append(changes, gitrepo.Change{Path: path, New: entry})
				here = append(here, Location{Key: a.Key, UUID: r.UUID(), Present: true})
			}
			record(t, r, here...)
			ref, head, err := r.git.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			next, err := r.git.NewCommit(t.Context(), gitrepo.NewCommit{Changes: changes, Message: "all"})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.git.Advance(t.Context(), gitrepo.Advance{Ref: ref, Old: head, New: next, Index: index}); err != nil {
				t.Fatal(err)
			}
			if thin { // git-annex looks into all of them at first, and says so with one
				gitAnnex(t, r.git.Dir(), "fsck", "--fast")
			}
			fsck(t, r.git.Dir())
			if left, err := os.ReadDir(filepath.Join(r.dir, "othertmp")); err != nil && !errors.Is(err, os.ErrNotExist) || len(left) != 0 {
				t.Errorf("temporary files left: %v, %v", left, err)
			}
		})
	}
}
