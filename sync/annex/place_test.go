package annex

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/annex/annextest"
)

func TestPlace(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	k := mustKey(t, "SHA256E-s3--ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
	tmp := r.TmpPath(k)
	if err := os.MkdirAll(filepath.Dir(tmp), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"abd", "abcd", "", "abc"} {
		if err := os.WriteFile(tmp, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		err := r.Place(t.Context(), k, tmp)
		if (content == "abc") != (err == nil) || err != nil && !errors.Is(err, ErrBadContent) {
			t.Errorf("Place of %q: %v", content, err)
		}
		if r.Has(k) != (content == "abc") {
			t.Errorf("after Place of %q the key is here: %v", content, r.Has(k))
		}
	}
	if err := os.WriteFile(tmp, []byte("abc"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.PlaceVerified(k, tmp); err != nil {
		t.Errorf("Place of what is here: %v", err)
	}
	if _, err := os.Lstat(tmp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("temporary file after Place: %v", err)
	}
	object, _ := r.ObjectPath(k)
	if err := errors.Join(os.Chmod(object, 0o600), os.Truncate(object, 1)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tmp, []byte("abc"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.PlaceVerified(k, tmp); err != nil {
		t.Errorf("Place over a broken object: %v", err)
	}
	if content, err := os.ReadFile(object); err != nil || string(content) != "abc" {
		t.Errorf("broken object is now %q, %v", content, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	big := keyOf(t, 2<<20)
	if err := os.WriteFile(r.TmpPath(big), bytes.Repeat([]byte("xy"), 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.Place(ctx, big, r.TmpPath(big)); !errors.Is(err, context.Canceled) {
		t.Errorf("Place that was cancelled: %v", err)
	}
}

// Objects have the permissions that git-annex gives them.
func TestPermissionsByGitAnnex(t *testing.T) { annextest.Each(t, testPermissionsByGitAnnex) }

func testPermissionsByGitAnnex(t *testing.T) {
	for _, shared := range []string{"false", "group", "all"} {
		t.Run(shared, func(t *testing.T) {
			t.Parallel()
			var modes []string
			for _, ours := range []bool{true, false} {
				dir := annextest.TempDir(t)
				run(t, dir, "git", "init", "-q", "--shared="+shared)
				r := initAnnex(t, dir, "laptop")
				for name, mode := range map[string]os.FileMode{"a.dat": 0o644, "b.sh": 0o755} {
					write(t, r, name, strings.Repeat(name, 40_000), mode)
					if ours {
						addFile(t, r, name, AddOptions{Locked: true})
					} else {
						run(t, dir, "git-annex", "add", "-q", "-c", "annex.addunlocked=false", name)
					}
				}
				modes = append(modes, run(t, filepath.Join(r.dir, "objects"), "sh", "-c", "find . -mindepth 1 -printf '%m %P\\n' | sort -k2"))
			}
			if modes[0] != modes[1] {
				t.Errorf("permissions are\n%s\nby git-annex\n%s", modes[0], modes[1])
			}
		})
	}
}

// In repositories before version 10 the object itself is locked.
func TestLockContentOfVersion9(t *testing.T) { annextest.Each(t, testLockContentOfVersion9) }

func testLockContentOfVersion9(t *testing.T) {
	r := newAnnex(t)
	write(t, r, "file", "content", 0o644)
	k := addFile(t, r, "file", AddOptions{Locked: true}).Key
	if err := r.git.SetConfig(t.Context(), "annex.version", "9"); err != nil {
		t.Fatal(err)
	}
	drop := func() error {
		_, err := try(t, r.git.Dir(), "git", "-c", "annex.autoupgraderepository=false", "annex", "drop", "--force", "file")
		return err
	}
	release, ok, err := r.LockContent(k)
	if err != nil || !ok {
		t.Fatalf("LockContent: %v, %v", ok, err)
	}
	if err := drop(); err == nil || !r.Has(k) {
		t.Error("git annex dropped locked content")
	}
	release()
	if err := drop(); err != nil || r.Has(k) {
		t.Errorf("git annex drop after release: %v", err)
	}
	if _, ok, err := r.LockContent(k); ok || err != nil {
		t.Errorf("LockContent of what is gone: %v, %v", ok, err)
	}
}

func TestLockContent(t *testing.T) { annextest.Each(t, testLockContent) }

func testLockContent(t *testing.T) {
	r := newAnnex(t)
	write(t, r, "file", "content", 0o644)
	k := addFile(t, r, "file", AddOptions{Locked: true}).Key
	release, ok, err := r.LockContent(k)
	if err != nil || !ok {
		t.Fatalf("LockContent: %v, %v", ok, err)
	}
	second, ok, err := r.LockContent(k)
	if err != nil || !ok {
		t.Fatalf("second LockContent: %v, %v", ok, err)
	}
	second()
	if out, err := try(t, r.git.Dir(), "git-annex", "drop", "--force", "file"); err == nil || !r.Has(k) {
		t.Errorf("git annex drop of locked content: %s", out)
	}
	release()
	object, _ := r.ObjectPath(k)
	if left, err := filepath.Glob(filepath.Dir(object) + "/*"); err != nil || len(left) != 1 {
		t.Errorf("beside the object: %v, %v", left, err)
	}
	if st, err := os.Stat(filepath.Dir(object)); err != nil || st.Mode().Perm() != 0o555 {
		t.Errorf("directory of object has mode %v, %v", st.Mode(), err)
	}
	run(t, r.git.Dir(), "git-annex", "drop", "--force", "file")
	if _, ok, err := r.LockContent(k); ok || err != nil {
		t.Errorf("LockContent of what is gone: %v, %v", ok, err)
	}
}

// An object is found, and removed, in the layout of the other kind of repository too: clones are turned into bare ones and back.
func TestBothLayouts(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"work tree": {"init", "-q"}, "bare": {"init", "-q", "--bare"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := annextest.TempDir(t)
			run(t, dir, "git", args...)
			r := initAnnex(t, dir, "laptop")
			k := KeyFor(sha256.Sum256([]byte("content")), int64(len("content")), "f", DefaultMaxExtensionLength)
			object := r.objectPath(k, r.git.Bare()) // where the other kind has it
			if err := os.MkdirAll(filepath.Dir(object), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(object, []byte("content"), 0o444); err != nil {
				t.Fatal(err)
			}
			r, err := Open(t.Context(), r.git)
			if err != nil {
				t.Fatal(err)
			}
			closeLater(t, r)
			location := strings.TrimSpace(run(t, dir, "git-annex", "contentlocation", k.String()))
			if found, ok := r.ObjectPath(k); !ok || !strings.HasSuffix(found, filepath.Clean(location)) {
				t.Errorf("the object is at %s, %v; for git-annex at %s", found, ok, location)
			}
			var keys []Key
			if err := r.Keys(func(k Key) error { keys = append(keys, k); return nil }); err != nil || !slices.Equal(keys, []Key{k}) {
				t.Errorf("Keys gives %v, %v", keys, err)
			}
			removed(t, r, k)
			if out, err := try(t, dir, "git-annex", "contentlocation", k.String()); err == nil || r.Has(k) {
				t.Errorf("the removed object is at %s", out)
			}
		})
	}
}
