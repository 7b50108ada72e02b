package transfer_test

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/git-arbor/arbor/sync/p2p"
)

// TestKilled: a process that is killed at any moment, again and again, comes to the end nevertheless, and gets no byte
// twice but those that were in memory.
func TestKilled(t *testing.T) {
	from, to := newClone(t), newClone(t)
	content := random(12<<20, 1)
	key := from.put(t, content)[0]
	limit := p2p.NewLimiter(24 << 20)
	addr := served(t, honest(from, p2p.Limits{Up: limit}))

	begin := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "TRANSFER_TEST_GET="+to.dir, "TRANSFER_TEST_FROM="+addr, "GORACE=atexit_sleep_ms=0")
		cmd.Stdin = strings.NewReader(key.String())
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	size := func() int64 {
		fi, err := os.Stat(to.TmpPath(key))
		if err != nil {
			return 0
		}
		return fi.Size()
	}
	var kept int64
	for range 4 {
		cmd := begin()
		poll(t, "some more to come", func() bool { return size() > kept })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if to.Has(key) {
			t.Fatal("it came before it could be killed often enough")
		}
		if now := size(); now <= kept {
			t.Fatalf("%d bytes are left of %d", now, kept)
		} else {
			kept = now
		}
	}
	if cmd := begin(); cmd.Wait() != nil {
		t.Fatal("the last process failed")
	}
	to.check(t, key)
}

// TestKilledBeforePlacing: all bytes are here, and nobody needs to be asked.
func TestKilledBeforePlacing(t *testing.T) {
	to := newClone(t)
	content := random(2<<20, 1)
	key := keyOf(content)
	if err := os.MkdirAll(to.dir+"/.git/annex/tmp", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to.TmpPath(key), content, 0o644); err != nil {
		t.Fatal(err)
	}
	n := newNetwork(t, map[string]peer{"a": scripted(nil)})
	q := startQueue(t, optionsFor(to, n))
	q.Add(jobs(key)...)
	q.awaitPresent(t, 1)
	to.check(t, key)
}

// served has serve answer on a port of this machine until the test ends, for processes of their own.
func served(t *testing.T, serve peer) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serve(t.Context(), conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}
