package annex

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// writerEnv makes the test binary add, lock, populate and record until it is killed.
const writerEnv = "ARBOR_TEST_WRITER"

// removerEnv makes the test binary remove the contents of all files, and bring them back, until it is killed.
const removerEnv = "ARBOR_TEST_REMOVER"

func runRemover() error {
	ctx := context.Background()
	git, err := gitrepo.Open(ctx, ".")
	if err != nil {
		return err
	}
	r, err := Open(ctx, git)
	if err != nil {
		return err
	}
	for {
		for n := range removedFiles {
			path, content := fmt.Sprintf("file %d", n), strings.Repeat(fmt.Sprint("content ", n), 30000)
			k := KeyFor(sha256.Sum256([]byte(content)), int64(len(content)), path, DefaultMaxExtensionLength)
			if !r.Has(k) {
				if err := os.WriteFile(r.TmpPath(k), []byte(content), 0o644); err != nil {
					return err
				}
				if err := r.Place(ctx, k, r.TmpPath(k)); err != nil {
					return err
				}
			}
			if _, err := r.Populate(ctx, k, []string{path}); err != nil {
				return err
			}
			if _, err := r.Record(ctx, []Location{{Key: k, UUID: r.UUID(), Present: true}}); err != nil {
				return err
			}
			l, err := r.LockForRemoval(k)
			if err != nil {
				return err
			}
			if _, err := l.Remove(ctx, []string{path}); err != nil {
				return err
			}
			if _, err := r.Record(ctx, []Location{{Key: k, UUID: r.UUID(), Present: false}}); err != nil {
				return err
			}
			l.Release()
			if _, err := fmt.Fprintln(os.Stdout, path); err != nil {
				return err
			}
		}
	}
}

// removedFiles is how many files a remover works on.
const removedFiles = 4

// Whenever a removal is killed, each file is whole or a pointer, and so is each content whole or gone; git-annex agrees.
func TestRemovalKilled(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	describeElsewhere(t, r)
	want := make(map[string]Key)
	for n := range removedFiles {
		path := fmt.Sprintf("file %d", n)
		write(t, r, path, strings.Repeat(fmt.Sprint("content ", n), 30000), 0o644)
		want[path] = addFile(t, r, path, AddOptions{}).Key
		record(t, r, Location{Key: want[path], UUID: uuidB, Present: true})
	}
	run(t, r.git.Dir(), "git-annex", "trust", "--force", "-q", uuidB)
	if err := os.MkdirAll(filepath.Dir(r.TmpPath(want["file 0"])), 0o777); err != nil {
		t.Fatal(err)
	}
	for kills := range 12 {
		killed(t, r, removerEnv, time.Duration(kills*5)*time.Millisecond)
		for path, k := range want {
			content := read(t, r, path)
			if content != string(Pointer(k)) && k.check(content) != nil {
				t.Errorf("%s is %.40q, %d bytes", path, content, len(content))
			}
			if object, here := r.ObjectPath(k); here {
				content, err := os.ReadFile(object)
				if err := errors.Join(err, k.check(string(content))); err != nil {
					t.Errorf("the object of %s: %v", path, err)
				}
			}
		}
	}
	// What the agent does when it comes back.
	ref, head, err := r.git.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	snap, err := r.git.Snapshot(t.Context(), head, slices.Collect(maps.Keys(want)), func(ctx context.Context, files []gitrepo.Candidate) []gitrepo.Taken {
		taken := make([]gitrepo.Taken, len(files))
		for i, f := range files {
			added, err := r.Add(ctx, f.Path, AddOptions{})
			if err != nil || added.Key != want[f.Path] {
				t.Errorf("%s is now %s, %v", f.Path, added.Key, err)
			}
			record(t, r, Location{Key: want[f.Path], UUID: r.UUID(), Present: r.Has(want[f.Path])})
			taken[i] = gitrepo.Taken{Entry: gitrepo.Entry{Mode: added.Mode, Hash: gitrepo.HashBlob(added.Content)}, Stat: added.Stat, Err: err}
		}
		return taken
	})
	if err != nil || len(snap.Changes) > 0 {
		t.Errorf("changes: %v, %v", snap.Changes, err)
	}
	if err := r.git.Advance(t.Context(), gitrepo.Advance{Ref: ref, Old: head, New: head, Index: snap.Index}); err != nil {
		t.Fatal(err)
	}
	for path, k := range want {
		if r.Has(k) {
			entries, err := r.Populate(t.Context(), k, []string{path})
			if err != nil {
				t.Fatal(err)
			}
			refresh(t, r, entries)
		}
	}
	fsck(t, r.git.Dir())
}

// killedOften has killed kill a program some times, each time a step later, and gives the lines that it has said whole.
func killedOften(t *testing.T, r *Repo, env string, times int, step time.Duration) string {
	t.Helper()
	var done []byte
	for kills := range times {
		done = append(done, killed(t, r, env, time.Duration(kills)*step)...)
		done = done[:bytes.LastIndexByte(done, '\n')+1]
	}
	return string(done)
}

// killed runs this binary as another program, and kills it some time after it has begun. It gives what the program has said.
func killed(t *testing.T, r *Repo, env string, after time.Duration) []byte {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Dir = r.git.Dir()
	cmd.Env = append(os.Environ(), env+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	// The first line says that it is at work; the kill comes at some moment after that.
	if _, err := io.CopyN(&said, out, 1); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	if _, err := io.Copy(&said, out); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the program ended by itself")
	}
	return said.Bytes()
}

func runWriter() error {
	ctx := context.Background()
	git, err := gitrepo.Open(ctx, ".")
	if err != nil {
		return err
	}
	r, err := Open(ctx, git)
	if err != nil {
		return err
	}
	start := os.Getpid() * 1000
	for n := start; ; n++ {
		path := fmt.Sprintf("file %d", n)
		// Made whole before it has its name: a kill in the middle of this write is not what is tested.
		if err := os.WriteFile(".new", []byte(strings.Repeat(path, 2000)), 0o644); err != nil {
			return err
		}
		if err := os.Rename(".new", path); err != nil {
			return err
		}
		added, err := r.Add(ctx, path, AddOptions{Locked: n%2 == 0})
		if err != nil {
			return err
		}
		news := []Location{{Key: added.Key, UUID: r.UUID(), Present: true}}
		for i := range n % 3 * 20 {
			news = append(news, Location{Key: Key{fmt.Sprintf("SHA256E-s%d--%d", n, i)}, UUID: uuidB, Present: true})
		}
		if _, err := r.Record(ctx, news); err != nil {
			return err
		}
		pointer := fmt.Sprintf("pointer %d", n)
		if err := os.WriteFile(pointer, Pointer(added.Key), 0o644); err != nil {
			return err
		}
		if _, err := r.Populate(ctx, added.Key, []string{pointer}); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(os.Stdout, added.Key); err != nil {
			return err
		}
	}
}

// Whenever the writer is killed, what it has said to be done is there, and nothing is there half.
func TestKilled(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	done := killedOften(t, r, writerEnv, 6, 7*time.Millisecond)
	for line := range strings.Lines(done) {
		k := mustKey(t, strings.TrimSpace(line))
		if !r.Has(k) || len(locations(t, r, k)) != 1 {
			t.Errorf("%s was said to be done: here %v, by the log in %q", k, r.Has(k), locations(t, r, k))
		}
	}
	err := r.Keys(func(k Key) error {
		object, _ := r.ObjectPath(k)
		content, err := os.ReadFile(object)
		return errors.Join(err, k.check(string(content)))
	})
	if err != nil {
		t.Error(err)
	}
	files, err := filepath.Glob(r.workPath("* *"))
	if err != nil || len(files) < 6 {
		t.Fatalf("files: %d, %v", len(files), err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		_, number, _ := strings.Cut(filepath.Base(file), " ")
		_, pointer := ParsePointer(content)
		// The writer makes a file before it writes to it, so it may be empty.
		if err != nil || len(content) > 0 && !pointer && string(content) != strings.Repeat("file "+number, 2000) {
			t.Errorf("%s: %d bytes, %v", file, len(content), err)
		}
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
