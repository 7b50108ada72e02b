package annex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// getterEnv makes the test binary put contents in place, record them and give them to files, in groups, until it is killed.
const getterEnv = "ARBOR_TEST_GETTER"

// getterGroup is how many contents come together: enough for one sync of the file system.
const getterGroup = manyPaths + 6

// gotContent is the content of a file that a getter makes.
func gotContent(path string) []byte { return []byte(strings.Repeat(path, 300)) }

func runGetter() error {
	ctx := context.Background()
	git, err := gitrepo.Open(ctx, ".")
	if err != nil {
		return err
	}
	r, err := Open(ctx, git)
	if err != nil {
		return err
	}
	for group := os.Getpid() * 1000; ; group++ {
		var files []Smudged
		var here []Location
		b := r.NewBatch()
		for i := range getterGroup {
			path := fmt.Sprintf("file %d of %d", i, group)
			k := keyOfContent(gotContent(path))
			if err := errors.Join(os.WriteFile(".new", Pointer(k), 0o644), os.Rename(".new", path)); err != nil {
				return err
			}
			files = append(files, Smudged{k, path})
			err := b.Put(ctx, k, gotContent(path), func(err error) {
				if err == nil {
					here = append(here, Location{Key: k, UUID: r.UUID(), Present: true})
				}
			})
			if err != nil {
				return err
			}
		}
		if err := b.Place(); err != nil {
			return err
		}
		b.Close()
		if _, err := r.Record(ctx, here); err != nil {
			return err
		}
		if _, _, err := r.PopulateAll(ctx, files); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(os.Stdout, group); err != nil {
			return err
		}
	}
}

// Whenever a getter is killed, the groups that it has said to be done are there, in place and in their files, and nothing is there half.
func TestGetterKilled(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	done := killedOften(t, r, getterEnv, 8, 15*time.Millisecond)
	whole := make(map[string]int)
	files, err := filepath.Glob(r.workPath("file * of *"))
	if err != nil || len(files) < getterGroup {
		t.Fatalf("files: %d, %v", len(files), err)
	}
	for _, file := range files {
		path := filepath.Base(file)
		k := keyOfContent(gotContent(path))
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(content, gotContent(path)) {
			_, group, _ := strings.Cut(path, " of ")
			whole[group]++
		} else if string(content) != string(Pointer(k)) {
			t.Errorf("%s is %.60q, %d bytes", path, content, len(content))
		}
		if at := locations(t, r, k); len(at) > 0 && !r.Has(k) {
			t.Errorf("%s is not here, by the log in %q", k, at)
		}
	}
	for group := range strings.FieldsSeq(done) {
		if _, err := strconv.Atoi(group); err != nil || whole[group] != getterGroup {
			t.Errorf("%d files of group %s are whole", whole[group], group)
		}
	}
	err = r.Keys(func(k Key) error {
		object, _ := r.ObjectPath(k)
		content, err := os.ReadFile(object)
		return errors.Join(err, k.check(string(content)))
	})
	if err != nil {
		t.Error(err)
	}
	run(t, r.git.Dir(), "git", "fsck", "--strict")
	run(t, r.git.Dir(), "git-annex", "fsck", "--all", "--quiet")
	again, err := Open(t.Context(), r.git)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, again)
	if left, err := os.ReadDir(filepath.Join(r.dir, "othertmp")); err == nil && len(left) > 0 {
		t.Errorf("temporary files left: %v", left)
	}
}

// What cannot be placed is said of each content alone, and leaves nothing behind.
func TestBatchFails(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	var keys []Key
	outcome := make(map[Key]error)
	b := r.NewBatch()
	defer b.Close()
	for n := range getterGroup {
		content := fmt.Append(nil, "content ", n)
		k := keyOfContent(content)
		keys = append(keys, k)
		outcome[k] = errNotPlaced
		if err := b.Put(t.Context(), k, content, func(err error) { outcome[k] = err }); err != nil {
			t.Fatal(err)
		}
	}
	object, _ := r.ObjectPath(keys[3])
	obstacle := filepath.Dir(object)
	if err := errors.Join(os.MkdirAll(filepath.Dir(obstacle), 0o777), os.WriteFile(obstacle, nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	if err := b.Place(); err == nil {
		t.Error("Place says nothing of what failed")
	}
	for i, k := range keys {
		if failed := i == 3; (outcome[k] != nil) != failed || r.Has(k) == failed {
			t.Errorf("content %d: %v, here %v", i, outcome[k], r.Has(k))
		}
	}
	late := keyOfContent([]byte("late"))
	if err := b.Put(t.Context(), late, []byte("late"), func(err error) { outcome[late] = err }); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if !errors.Is(outcome[late], errNotPlaced) || r.Has(late) {
		t.Errorf("what a closed batch had: %v, here %v", outcome[late], r.Has(late))
	}
	if left, err := os.ReadDir(filepath.Join(r.dir, "othertmp")); err == nil && len(left) > 0 {
		t.Errorf("temporary files left: %v", left)
	}
}

// A file that cannot be populated does not keep the others from their content.
func TestPopulateAllGoesOn(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	var files []Smudged
	b := r.NewBatch()
	defer b.Close()
	for n := range getterGroup {
		path, content := fmt.Sprint("f", n), fmt.Append(nil, "content ", n)
		k := keyOfContent(content)
		write(t, r, path, string(Pointer(k)), 0o644)
		files = append(files, Smudged{k, path})
		if n == 5 {
			continue // whose content is not here
		}
		if err := b.Put(t.Context(), k, content, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Place(); err != nil {
		t.Fatal(err)
	}
	entries, _, err := r.PopulateAll(t.Context(), files)
	if !errors.Is(err, os.ErrNotExist) || len(entries) != getterGroup-1 {
		t.Errorf("PopulateAll: %d entries, %v", len(entries), err)
	}
	for n, f := range files {
		want := fmt.Sprint("content ", n)
		if n == 5 {
			want = string(Pointer(f.Key))
		}
		if got := read(t, r, f.Path); got != want {
			t.Errorf("%s is %q", f.Path, got)
		}
	}
}
