package transfer_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
)

// many gives different small contents.
func many(n, size int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = append(random(size, 3), fmt.Sprint(i)...)
	}
	return all
}

// TestSmallGoesOn: what came of small content when the line broke does not come again.
func TestSmallGoesOn(t *testing.T) {
	to := newClone(t)
	content := random(500_000, 1)
	key := keyOf(content)
	var mu sync.Mutex
	var asked []int64
	n := newNetwork(t, map[string]peer{"a": scripted(func(w io.Writer, offset int64, _ annex.Key) error {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, offset)
		rest := content[offset:]
		if len(asked) == 1 {
			_, _ = fmt.Fprintf(w, "DATA %d\n%s", len(rest), rest[:200_000])
			return io.ErrClosedPipe
		}
		_, err := fmt.Fprintf(w, "DATA %d\n%sVALID\n", len(rest), rest)
		return err
	})})
	q := startQueue(t, optionsFor(to, n))
	q.Add(jobs(key)...)
	q.awaitPresent(t, 1)
	to.check(t, key)
	mu.Lock()
	defer mu.Unlock()
	if len(asked) != 2 || asked[1] != 200_000 {
		t.Errorf("asked for the bytes from %d on", asked)
	}
	left, err := os.ReadDir(filepath.Dir(to.TmpPath(key)))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestSmallNotPlaced: a content that cannot be put in place does not keep those that came with it from theirs, and comes later.
func TestSmallNotPlaced(t *testing.T) {
	from, to := newClone(t), newClone(t)
	keys := from.put(t, many(100, 2000)...)
	object, _ := to.ObjectPath(keys[50])
	obstacle := filepath.Dir(object)
	if err := os.MkdirAll(filepath.Dir(obstacle), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(obstacle, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	q := startQueue(t, optionsFor(to, newNetwork(t, map[string]peer{"a": honest(from, p2p.Limits{})})))
	q.Add(jobs(keys...)...)
	q.awaitPresent(t, 99)
	q.await(t, "a failure", func() bool { return len(q.told(transfer.Failed)) > 0 })
	for _, e := range q.told(transfer.Failed) {
		if e.Job.Key != keys[50] {
			t.Errorf("%s failed: %v", e.Job.File, e.Err)
		}
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	q.Refresh()
	q.awaitPresent(t, 100)
	to.check(t, keys...)
}

// TestSmallKilled: whenever a process is killed that gets many small contents, those that it has told of are here, whole, and nothing is half.
func TestSmallKilled(t *testing.T) {
	from, to := newClone(t), newClone(t)
	keys := from.put(t, many(600, 2000)...)
	addr := served(t, honest(from, p2p.Limits{}))
	var wanted strings.Builder
	for _, key := range keys {
		fmt.Fprintln(&wanted, key)
	}
	run := func(kill func(*exec.Cmd)) (told []string) {
		var out strings.Builder
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "TRANSFER_TEST_GET="+to.dir, "TRANSFER_TEST_FROM="+addr, "GORACE=atexit_sleep_ms=0")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(wanted.String()), &out, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill(cmd)
		_ = cmd.Wait()
		return strings.Fields(out.String())
	}
	for round := range 5 {
		told := run(func(cmd *exec.Cmd) {
			timer := time.AfterFunc(time.Duration(50+round*40)*time.Millisecond, func() { _ = cmd.Process.Kill() })
			t.Cleanup(func() { timer.Stop() })
		})
		var here []annex.Key
		for _, text := range told {
			key, err := annex.ParseKey(text)
			if err != nil {
				t.Fatal(err)
			}
			here = append(here, key)
		}
		to.check(t, here...)
	}
	run(func(*exec.Cmd) {})
	to.check(t, keys...)
	if left, err := os.ReadDir(to.dir + "/.git/annex/othertmp"); err == nil && len(left) > 0 {
		t.Errorf("temporary files left: %v", left)
	}
}
