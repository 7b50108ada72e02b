package annex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// writerEnv makes the test binary add, lock, populate and record until it is killed.
const writerEnv = "ARBOR_TEST_WRITER"

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
		news := []Location{{added.Key, r.UUID(), true}}
		for i := range n % 3 * 20 {
			news = append(news, Location{Key{fmt.Sprintf("SHA256E-s%d--%d", n, i)}, uuidB, true})
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
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var done bytes.Buffer
	for kills := range 6 {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Dir = r.git.Dir()
		cmd.Env = append(os.Environ(), writerEnv+"=1")
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The first line says that it is at work; the kill comes at some moment after that.
		first := make([]byte, 1)
		if _, err := io.ReadFull(out, first); err != nil {
			t.Fatal(err)
		}
		done.Write(first)
		kill := time.AfterFunc(time.Duration(kills*7)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		if _, err := io.Copy(&done, out); err != nil {
			t.Fatal(err)
		}
		kill.Stop()
		if err := cmd.Wait(); err == nil {
			t.Fatal("the writer ended by itself")
		}
		if done.Len() > 0 {
			done.Truncate(bytes.LastIndexByte(done.Bytes(), '\n') + 1)
		}
	}
	for line := range strings.Lines(done.String()) {
		k := mustKey(t, strings.TrimSpace(line))
		if !r.Has(k) || len(locations(t, r, k)) != 1 {
			t.Errorf("%s was said to be done: here %v, by the log in %q", k, r.Has(k), locations(t, r, k))
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
