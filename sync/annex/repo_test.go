package annex

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := annextest.TempDir(t)
	run(t, dir, "git", "init", "-q")
	git := openGit(t, dir)
	if _, err := Open(t.Context(), git); !errors.Is(err, ErrNotAnnex) {
		t.Errorf("Open of a plain repository: %v", err)
	}
	initAnnex(t, dir, "")
	for _, c := range []struct{ key, value string }{
		{"annex.pidlock", "true"},
		{"annex.version", "99"},
		{"annex.private", "yes"},
		{"annex.crippledfilesystem", "true"},
		{"core.symlinks", "false"},
		{"annex.tune.objecthash1", "true"},
		{"annex.freezecontent-command", "x"},
		{"annex.uuid", "../../etc"},
	} {
		old, _ := try(t, dir, "git", "config", c.key)
		run(t, dir, "git", "config", c.key, c.value)
		if err := git.ReloadConfig(t.Context()); err != nil {
			t.Fatal(err)
		}
		var refused *Refused
		if _, err := Open(t.Context(), git); !errors.As(err, &refused) || refused.Hint == "" {
			t.Errorf("Open with %s=%s: %v", c.key, c.value, err)
		}
		if old == "" {
			run(t, dir, "git", "config", "--unset", c.key)
		} else {
			run(t, dir, "git", "config", c.key, strings.TrimSpace(old))
		}
	}
	run(t, dir, "git", "symbolic-ref", "HEAD", "refs/heads/adjusted/main(unlocked)")
	if err := git.ReloadConfig(t.Context()); err != nil {
		t.Fatal(err)
	}
	var refused *Refused
	if _, err := Open(t.Context(), git); !errors.As(err, &refused) {
		t.Errorf("Open of an adjusted branch: %v", err)
	}
	none := annextest.TempDir(t)
	run(t, none, "git", "init", "-q")
	if err := os.WriteFile(filepath.Join(none, ".noannex"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(t.Context(), openGit(t, none), ""); !errors.As(err, &refused) {
		t.Errorf("Init of a repository with .noannex: %v", err)
	}
}

func TestOpenRefusesTuned(t *testing.T) {
	t.Parallel()
	dir := annextest.TempDir(t)
	run(t, dir, "git", "init", "-q")
	run(t, dir, "git-annex", "init", "-q", "-c", "annex.tune.objecthash1=true", "tuned")
	git := openGit(t, dir)
	var refused *Refused
	if _, err := Open(t.Context(), git); !errors.As(err, &refused) {
		t.Errorf("Open of a tuned repository: %v", err)
	}
}

func TestAdd(t *testing.T) { annextest.Each(t, testAdd) }

func testAdd(t *testing.T) {
	r := newAnnex(t)
	content := strings.Repeat("0123456789", 20_000)
	write(t, r, "sub dir/locked.tar.gz", content, 0o644)
	write(t, r, "unlocked.txt", content+"u", 0o644)
	write(t, r, "run.sh", content+"x", 0o755)
	write(t, r, "run locked", content+"y", 0o755)
	write(t, r, "private.dat", content+"p", 0o600)
	write(t, r, "-new\nline\xff", content+"n", 0o644)
	write(t, r, "empty", "", 0o644)
	write(t, r, "same.txt", content+"u", 0o644)
	for path, opts := range map[string]AddOptions{
		"sub dir/locked.tar.gz": {Locked: true}, "unlocked.txt": {}, "run.sh": {}, "run locked": {Locked: true}, "private.dat": {},
		"-new\nline\xff": {}, "empty": {Locked: true}, "same.txt": {},
	} {
		before := read(t, r, path)
		added := addFile(t, r, path, opts)
		if !r.Has(added.Key) || read(t, r, path) != before {
			t.Errorf("%q: key %s is here: %v, content is the same: %v", path, added.Key, r.Has(added.Key), read(t, r, path) == before)
		}
		if err := added.Key.check(before); err != nil {
			t.Errorf("%q: %v", path, err)
		}
		object, _ := r.ObjectPath(added.Key)
		st, err := os.Lstat(object)
		if err != nil || st.Mode()&0o222 != 0 {
			t.Errorf("%q: object has mode %v, %v", path, st.Mode(), err)
		}
		if path == "private.dat" && st.Mode() != 0o400 || path == "run locked" && st.Mode() != 0o555 {
			t.Errorf("%q: object has mode %v", path, st.Mode())
		}
		if dir, err := os.Stat(filepath.Dir(object)); err != nil || dir.Mode().Perm() != 0o555 {
			t.Errorf("%q: directory of object has mode %v, %v", path, dir.Mode(), err)
		}
		if got := locations(t, r, added.Key); !slices.Equal(got, []string{r.UUID()}) {
			t.Errorf("%q is in %q", path, got)
		}
	}
	fsck(t, r.git.Dir())
	if files := gitAnnex(t, r.git.Dir(), "find"); len(files) != 8 {
		t.Errorf("git annex find: %v", files)
	}
	if files := gitAnnex(t, r.git.Dir(), "whereis"); len(files) != 8 || fmt.Sprint(files[0]["untrusted"]) != "[]" {
		t.Errorf("git annex whereis: %v", files)
	}
	var keys []Key
	err := r.Keys(func(k Key) error {
		keys = append(keys, k)
		return nil
	})
	if err != nil || len(keys) != 7 {
		t.Errorf("Keys: %v, %v", keys, err)
	}
	left, err := os.ReadDir(filepath.Join(r.dir, "othertmp"))
	if err != nil && !errors.Is(err, os.ErrNotExist) || len(left) != 0 {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
	for _, args := range [][]string{{"unlock", "sub dir/locked.tar.gz"}, {"lock", "unlocked.txt"}, {"drop", "--force", "run.sh"}} {
		gitAnnex(t, r.git.Dir(), args...)
	}
	run(t, r.git.Dir(), "git", "commit", "-qam", "by git-annex")
	if got := read(t, r, "sub dir/locked.tar.gz"); got != content {
		t.Errorf("unlocked by git-annex: %d bytes", len(got))
	}
	if _, ok := ParsePointer([]byte(read(t, r, "run.sh"))); !ok {
		t.Errorf("dropped by git-annex: %.100q", read(t, r, "run.sh"))
	}
}

// check says whether content is that of the key.
func (k Key) check(content string) error {
	v := k.Verifier()
	if _, err := v.Write([]byte(content)); err != nil {
		return err
	}
	return v.Check()
}

func TestAddKeepsKeyOfSameContent(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	write(t, r, "a.mp3", "sound", 0o644)
	run(t, r.git.Dir(), "git-annex", "add", "-q", "--force-large", "--backend=MD5E", "-c", "annex.addunlocked=true", "a.mp3")
	run(t, r.git.Dir(), "git", "commit", "-qm", "by git-annex")
	before := strings.TrimSpace(run(t, r.git.Dir(), "git-annex", "lookupkey", "a.mp3"))
	added, err := r.Add(t.Context(), "a.mp3", AddOptions{})
	if err != nil || added.Key.String() != before {
		t.Errorf("key is %s, before %s, %v", added.Key, before, err)
	}
	write(t, r, "a.mp3", "other", 0o644)
	added, err = r.Add(t.Context(), "a.mp3", AddOptions{})
	if err != nil || added.Key.Backend() != "MD5E" || added.Key.check("other") != nil {
		t.Errorf("key of new content is %s, %v", added.Key, err)
	}
	write(t, r, "new", "other", 0o644)
	if added, err = r.Add(t.Context(), "new", AddOptions{}); err != nil || added.Key.Backend() != "SHA256E" {
		t.Errorf("key of new file is %s, %v", added.Key, err)
	}
	write(t, r, ".gitattributes", "*.x annex.backend=SHA1\n*.w annex.backend=WORM\n", 0o644)
	write(t, r, "a.x", "x", 0o644)
	write(t, r, "a.w", "x", 0o644)
	if added, err = r.Add(t.Context(), "a.x", AddOptions{}); err != nil || !strings.HasPrefix(added.Key.String(), "SHA1-s1--11f6ad8ec52a2984abaafd7c3b516503785c2072") {
		t.Errorf("key with annex.backend=SHA1 is %s, %v", added.Key, err)
	}
	var refused *Refused
	if _, err = r.Add(t.Context(), "a.w", AddOptions{}); !errors.As(err, &refused) {
		t.Errorf("Add with annex.backend=WORM: %v", err)
	}
}

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	write(t, r, "file", "content", 0o644)
	if err := os.Symlink("file", r.workPath("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(".", r.workPath("dir")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"link", "dir", "dir/file", "none", "../file", ".git/config"} {
		if added, err := r.Add(t.Context(), path, AddOptions{}); err == nil {
			t.Errorf("Add(%q) = %v", path, added)
		}
	}
	run(t, r.git.Dir(), "git", "config", "annex.diskreserve", "1000tb")
	if err := r.git.ReloadConfig(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Add(t.Context(), "file", AddOptions{}); !errors.Is(err, ErrNoRoom) {
		t.Errorf("Add to a full disk: %v", err)
	}
}

// What is a pointer already is not annexed a second time.
func TestAddOfPointer(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	k := keyOf(t, 5)
	write(t, r, "file", string(Pointer(k)), 0o755)
	added, err := r.Add(t.Context(), "file", AddOptions{Locked: true})
	if err != nil || added.Key != k || added.Here || added.Mode != gitrepo.ModeExecutable || string(added.Content) != string(Pointer(k)) {
		t.Errorf("Add of a pointer: %+v, %v", added, err)
	}
	run(t, r.git.Dir(), "git", "config", "core.fileMode", "false")
	if err := r.git.ReloadConfig(t.Context()); err != nil {
		t.Fatal(err)
	}
	if added, err = r.Add(t.Context(), "file", AddOptions{}); err != nil || added.Mode != gitrepo.ModeFile {
		t.Errorf("Add without core.fileMode: %+v, %v", added, err)
	}
}

// A file that changes between its hashing and its replacement keeps what the person wrote.
func TestReplaceOfChangedFile(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	write(t, r, "file", "old", 0o644)
	st, err := r.git.Stat("file")
	if err != nil {
		t.Fatal(err)
	}
	dir, release, err := r.tmpDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	tmp, err := tempLink(dir, "target")
	if err != nil {
		t.Fatal(err)
	}
	err = r.replace("file", tmp, st, func(replaced string) bool {
		if err := os.WriteFile(replaced, []byte("new"), 0o644); err != nil {
			t.Error(err)
		}
		return false
	})
	if _, left := os.Lstat(tmp); !errors.Is(err, gitrepo.ErrChanged) || read(t, r, "file") != "new" || left == nil {
		t.Errorf("replacement of a file that is written to: %v, file is %q, temporary file: %v", err, read(t, r, "file"), left)
	}
	if _, err := r.lockFile(t.TempDir(), "file", keyOf(t, 1), st); !errors.Is(err, gitrepo.ErrChanged) || read(t, r, "file") != "new" {
		t.Errorf("lock of a changed file: %v, file is %q", err, read(t, r, "file"))
	}
}

// A clone that is populated here is one that git-annex works with.
func TestPopulateClone(t *testing.T) { annextest.Each(t, testPopulateClone) }

func testPopulateClone(t *testing.T) {
	origin := newAnnex(t)
	for i := range 3 {
		write(t, origin, fmt.Sprintf("dir/unlocked %d.txt", i), strings.Repeat("u", 1000+i), 0o644)
		write(t, origin, fmt.Sprintf("dir/locked %d.txt", i), strings.Repeat("l", 1000+i), 0o644)
	}
	write(t, origin, "run.sh", strings.Repeat("u", 1000), 0o755)
	keys := make(map[string]Key)
	for i := range 3 {
		for name, locked := range map[string]bool{"unlocked": false, "locked": true} {
			path := fmt.Sprintf("dir/%s %d.txt", name, i)
			keys[path] = addFile(t, origin, path, AddOptions{Locked: locked}).Key
		}
	}
	keys["run.sh"] = addFile(t, origin, "run.sh", AddOptions{}).Key

	dir := filepath.Join(annextest.TempDir(t), "clone")
	run(t, "/", "git", "clone", "-q", origin.git.Dir(), dir)
	clone := initAnnex(t, dir, "desktop")
	if value, _, err := clone.Setting(t.Context(), "annex.largefiles"); err != nil || value == "" {
		t.Errorf("annex.largefiles in the clone is %q, %v", value, err)
	}
	for path, k := range keys {
		if path == "dir/locked 2.txt" || path == "dir/unlocked 2.txt" {
			continue
		}
		content := read(t, origin, path)
		if !clone.Has(k) {
			if err := os.MkdirAll(filepath.Dir(clone.TmpPath(k)), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(clone.TmpPath(k), []byte(content), 0o666); err != nil {
				t.Fatal(err)
			}
			if err := clone.Place(t.Context(), k, clone.TmpPath(k)); err != nil {
				t.Fatal(err)
			}
		}
		populate(t, clone, k, path)
		if got := read(t, clone, path); got != content {
			t.Errorf("%s is %.100q", path, got)
		}
		record(t, clone, Location{Key: k, UUID: clone.UUID(), Present: true})
	}
	fsck(t, dir)
	if st, err := os.Stat(clone.workPath("run.sh")); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("run.sh has mode %v, %v", st.Mode(), err)
	}
	gitAnnex(t, dir, "get", "dir/unlocked 2.txt", "dir/locked 2.txt")
	gitAnnex(t, dir, "drop", "dir/unlocked 0.txt", "dir/locked 0.txt")
	gitAnnex(t, dir, "unlock", "dir/locked 1.txt")
	gitAnnex(t, dir, "lock", "dir/unlocked 1.txt")
	run(t, dir, "git", "commit", "-qm", "by git-annex")
	fsck(t, dir)
	for path, want := range map[string]bool{"dir/unlocked 0.txt": false, "dir/locked 0.txt": false, "dir/locked 1.txt": true, "dir/unlocked 2.txt": true} {
		if got := clone.Has(keys[path]); got != want {
			t.Errorf("%s is here: %v", path, got)
		}
		if got := slices.Contains(locations(t, clone, keys[path]), clone.UUID()); got != want {
			t.Errorf("%s is here by the log: %v", path, got)
		}
	}
	run(t, dir, "git-annex", "sync", "-q", "--content")
	fsck(t, dir)
	for path, k := range keys {
		if got := locations(t, clone, k); len(got) != 2 {
			t.Errorf("after git annex sync --content %s is in %q", path, got)
		}
		if got := locations(t, origin, k); len(got) != 2 {
			t.Errorf("after git annex sync --content %s is in %q for the origin", path, got)
		}
	}
}

// populate populates a file and puts it into the index.
func populate(t testing.TB, r *Repo, k Key, paths ...string) []gitrepo.IndexEntry {
	t.Helper()
	entries, err := r.Populate(t.Context(), k, paths)
	if err != nil {
		t.Fatal(err)
	}
	ref, head, err := r.git.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		if err := r.git.Advance(t.Context(), gitrepo.Advance{Ref: ref, Old: head, New: head, Index: entries}); err != nil {
			t.Fatal(err)
		}
	}
	return entries
}

func TestPopulateLeavesOtherFilesAlone(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	write(t, r, "file", "content", 0o644)
	k := addFile(t, r, "file", AddOptions{}).Key
	other := string(Pointer(keyOf(t, 7)))
	for path, content := range map[string]string{"edited": "my words", "other": other, "pointer": string(Pointer(k)), "appended": string(Pointer(k)) + "my words\n"} {
		write(t, r, path, content, 0o644)
	}
	if err := os.Symlink("pointer", r.workPath("link")); err != nil {
		t.Fatal(err)
	}
	entries, err := r.Populate(t.Context(), k, []string{"edited", "other", "gone", "link", "file/below", "pointer", "appended", "file"})
	if err != nil || len(entries) != 1 || entries[0].Path != "pointer" {
		t.Errorf("Populate: %v, %v", entries, err)
	}
	for path, want := range map[string]string{"edited": "my words", "other": other, "pointer": "content", "appended": string(Pointer(k)) + "my words\n"} {
		if got := read(t, r, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if _, err := r.Populate(t.Context(), keyOf(t, 7), []string{"other"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Populate with what is not here: %v", err)
	}
}
