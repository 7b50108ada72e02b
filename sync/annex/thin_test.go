package annex

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// With annex.thin a file is its object under another name. What a person has written to is nothing that others may count on.
func TestLockContentThin(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"9", "10"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := newAnnex(t)
			dir := r.git.Dir()
			run(t, dir, "git", "config", "annex.thin", "true")
			run(t, dir, "git", "config", "annex.autoupgraderepository", "false")
			if err := r.git.SetConfig(t.Context(), "annex.version", version); err != nil {
				t.Fatal(err)
			}
			write(t, r, "f", strings.Repeat("1", 200_000), 0o644)
			run(t, dir, "git-annex", "add", "-q", "f")
			k := mustKey(t, strings.TrimSpace(run(t, dir, "git-annex", "lookupkey", "f")))
			object, _ := r.ObjectPath(k)
			if st, err := os.Stat(object); err != nil || st.Mode().Perm()&0o200 == 0 {
				t.Fatalf("the object is not thin: %v, %v", st, err)
			}
			release, ok, err := r.LockContent(k)
			if err != nil || !ok {
				t.Fatalf("LockContent: %v, %v", ok, err)
			}
			release()
			f, err := os.OpenFile(r.workPath("f"), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = f.WriteString("2"); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if _, ok, err := r.LockContent(k); ok || err != nil {
				t.Errorf("LockContent of what a person has changed: %v, %v", ok, err)
			}
			if out, err := try(t, dir, "git-annex", "drop", "--force", "--key="+k.String()); err != nil {
				t.Errorf("the lock stayed: %v %s", err, out)
			}
		})
	}
}

// TestThin: files become their objects, and objects files, where git-annex has it so, and stay sound when a person writes to them.
func TestThin(t *testing.T) { annextest.Each(t, testThin) }

func testThin(t *testing.T) {
	r := newAnnex(t)
	dir := r.git.Dir()
	setConfig(t, r, "annex.thin", "true")
	run(t, dir, "git", "config", "annex.thin", "true")
	content := strings.Repeat("1", 200_000)
	thin := func(k Key, path string, want bool) {
		t.Helper()
		object, _ := r.ObjectPath(k)
		st, err := os.Stat(object)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.SharesObject(k, path); got != want || want && st.Mode().Perm() != 0o644 || !want && isWritable(st.Mode()) {
			t.Errorf("%s is its object: %v, and that has mode %v", path, got, st.Mode())
		}
		if st, err := os.Stat(filepath.Dir(object)); err != nil || st.Mode().Perm() != 0o555 {
			t.Errorf("directory of object: %v, %v", st, err)
		}
	}
	allSound := func() {
		t.Helper()
		for range 2 {
			for _, line := range gitAnnex(t, dir, "fsck", "--all") {
				if note, _ := line["note"].(string); line["success"] != true || strings.Trim(strings.ReplaceAll(note, "checksum...", ""), "\n") != "" {
					t.Errorf("git annex fsck: %v", line)
				}
			}
		}
		if out := run(t, dir, "git", "status", "--porcelain"); out != "" {
			t.Errorf("git status:\n%s", out)
		}
	}

	write(t, r, "f", content, 0o644)
	write(t, r, "executable", content+"2", 0o755)
	write(t, r, "two names", content+"3", 0o644)
	if err := os.Link(r.workPath("two names"), filepath.Join(t.TempDir(), "name")); err != nil {
		t.Fatal(err)
	}
	k := addFile(t, r, "f", AddOptions{}).Key
	thin(k, "f", true)
	thin(addFile(t, r, "executable", AddOptions{}).Key, "executable", false)
	thin(addFile(t, r, "two names", AddOptions{}).Key, "two names", false)
	write(t, r, "same", content, 0o600)
	if again := addFile(t, r, "same", AddOptions{}).Key; again != k || r.SharesObject(k, "same") || !r.SharesObject(k, "f") {
		t.Errorf("the same content is %s", again)
	}
	allSound()

	t.Log("what is touched is still its object")
	later := time.Now().Add(-time.Minute)
	if err := os.Chtimes(r.workPath("f"), later, later); err != nil {
		t.Fatal(err)
	}
	thin(addFile(t, r, "f", AddOptions{}).Key, "f", true)
	if left, err := filepath.Glob(filepath.Join(r.dir, "othertmp", "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	allSound()

	t.Log("a content that comes becomes its file")
	removed(t, r, k, "f", "same")
	if err := os.MkdirAll(filepath.Dir(r.TmpPath(k)), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.TmpPath(k), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.Place(t.Context(), k, r.TmpPath(k)); err != nil {
		t.Fatal(err)
	}
	populate := func(k Key, paths ...string) error {
		entries, err := r.Populate(t.Context(), k, paths)
		for _, e := range entries {
			commitEntry(t, r, e)
		}
		return err
	}
	if err := populate(k, "f", "same"); err != nil {
		t.Fatal(err)
	}
	record(t, r, Location{Key: k, UUID: r.UUID(), Present: true})
	thin(k, "f", true)
	if st, err := os.Stat(r.workPath("same")); err != nil || st.Mode().Perm() != 0o600 || r.SharesObject(k, "same") {
		t.Errorf("the second file: %v, %v", st, err)
	}
	allSound()

	t.Log("a person writes to it")
	edit := func() {
		t.Helper()
		file, err := os.OpenFile(r.workPath("f"), os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			_, err = file.WriteString("9")
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	edit()
	write(t, r, "pointer", string(Pointer(k)), 0o644)
	if err := populate(k, "pointer"); !errors.Is(err, ErrOverwritten) || read(t, r, "pointer") != string(Pointer(k)) {
		t.Errorf("populate with what was overwritten: %v", err)
	}
	if err := os.Remove(r.workPath("pointer")); err != nil {
		t.Fatal(err)
	}
	second := addFile(t, r, "f", AddOptions{}).Key
	thin(second, "f", true)
	reserve := run(t, dir, "git", "config", "annex.diskreserve")
	setConfig(t, r, "annex.diskreserve", "1000pb")
	if _, _, err := r.DropOverwritten(t.Context(), k, "", gitrepo.Stat{}, []string{"same"}); !errors.Is(err, ErrNoRoom) || !r.Has(k) {
		t.Errorf("without room for what another file has: %v", err)
	}
	setConfig(t, r, "annex.diskreserve", strings.TrimSpace(reserve))
	drop := func(k Key, others ...string) (gone bool) {
		t.Helper()
		st, err := r.git.Stat("f")
		if err != nil {
			t.Fatal(err)
		}
		gone, now, err := r.DropOverwritten(t.Context(), k, "f", st, others)
		if err != nil {
			t.Fatal(err)
		}
		after, err := r.git.Stat("f")
		if now != after && (now != gitrepo.Stat{} || after != st) {
			t.Errorf("the stat of the file is %+v (%v), not %+v", after, err, now)
		}
		return gone
	}
	if drop(k, "executable", "same") {
		t.Error("a content that another file has is gone")
	}
	if release, ok, err := r.LockContent(k); err != nil || !ok {
		t.Errorf("lock the content that another file has: %v, %v", ok, err)
	} else {
		release()
	}
	thin(k, "same", false)
	allSound()

	t.Log("and once more, and nobody else has what was there")
	edit()
	third := addFile(t, r, "f", AddOptions{}).Key
	if !drop(second, "same") || r.Has(second) {
		t.Error("a content that nobody has is here")
	}
	record(t, r, Location{Key: second, UUID: r.UUID(), Present: false})
	run(t, dir, "git-annex", "dead", "--key", second.String())
	thin(third, "f", true)
	if drop(third) {
		t.Error("a content that is all right is gone")
	}
	if got := read(t, r, "f"); got != content+"99" {
		t.Errorf("the file is %.20q…, %d bytes", got, len(got))
	}
	allSound()
}
