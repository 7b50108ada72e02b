package transfer_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
)

// stopping is a connection over which its owner sends this many bytes, and then nothing more until it is closed.
type stopping struct {
	net.Conn
	left    int
	stopped func()
	release <-chan struct{}
}

func (c *stopping) Write(b []byte) (int, error) {
	if len(b) <= c.left {
		c.left -= len(b)
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(b[:c.left])
	c.left = 0
	if err != nil {
		return n, err
	}
	c.stopped()
	<-c.release
	return n, io.ErrClosedPipe
}

// TestStuckHolderDelaysNobody: beside holders that accept all and never send, whatever others have comes, while what was
// asked of the stuck ones is still theirs. Nothing but the order of events says so: nobody's patience ends here.
func TestStuckHolderDelaysNobody(t *testing.T) {
	const stuckHolders = 2
	for name, stuck := range map[string]struct {
		// peer is the stuck one. It tells when it has begun to be stuck.
		peer func(c *clone, stopped func(), release <-chan struct{}) peer
		asks bool // it is stuck with content that it was asked for; else before
	}{
		"says nothing": {func(_ *clone, stopped func(), release <-chan struct{}) peer {
			return func(context.Context, net.Conn) {
				stopped()
				<-release
			}
		}, false},
		"reads, and answers no request": {func(_ *clone, stopped func(), release <-chan struct{}) peer {
			return func(_ context.Context, conn net.Conn) {
				_, _ = io.WriteString(conn, "AUTH-SUCCESS stuck\nVERSION 4\n")
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					if verb, _, _ := strings.Cut(lines.Text(), " "); verb == "GET" || verb == "ARBOR-BLOCKS" {
						stopped()
						<-release
						return
					}
				}
			}
		}, true},
		"stops within the content": {func(c *clone, stopped func(), release <-chan struct{}) peer {
			s := &p2p.Server{UUID: "stuck", Annex: c.Repo, Log: slog.New(slog.DiscardHandler)}
			return func(ctx context.Context, conn net.Conn) {
				_ = s.ServeAuthed(ctx, &stopping{conn, 2000, stopped, release}, "client")
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			good, to := newClone(t), newClone(t)
			theirs := map[annex.Key]string{} // the stuck holder's keys
			peers := map[string]peer{"good": honest(good, p2p.Limits{})}
			more := map[string]peer{}
			release := make(chan struct{})
			var stops sync.WaitGroup
			var ofStuck []annex.Key
			for i := range stuckHolders {
				from := newClone(t)
				name := fmt.Sprint("stuck ", i)
				// More than there are sessions, small and large.
				var contents [][]byte
				for k := range byte(transfer.DefaultSlots + 1) {
					contents = append(contents, random(5000+i, k), random(mib+1+i, k))
				}
				keys := from.put(t, contents...)
				for _, key := range keys {
					theirs[key] = name
				}
				ofStuck = append(ofStuck, keys...)
				stops.Add(1)
				peers[name] = stuck.peer(from, sync.OnceFunc(stops.Done), release)
				more[name] = honest(from, p2p.Limits{})
			}
			n := newNetwork(t, peers)
			let := sync.OnceFunc(func() { close(release) })
			t.Cleanup(let) // before the network waits for its peers
			n.silence = time.Hour
			q := startQueue(t, transfer.Options{
				Repo: to.Repo, Open: n.dial, Patience: time.Hour,
				Holders: each(func(key annex.Key) []transfer.Holder {
					if name, ok := theirs[key]; ok {
						return []transfer.Holder{{Clone: name}}
					}
					return []transfer.Holder{{Clone: "good", Cost: 100}}
				}),
			})
			wanted := jobs(ofStuck...)
			for i := range wanted {
				wanted[i].Urgent = true // goes before all others, and delays them for all that by nothing
			}
			q.Add(wanted...)
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				stops.Wait()
			}()
			select {
			case <-stopped:
			case <-time.After(30 * time.Second):
				t.Fatal("the stuck holders were not asked")
			}

			var contents [][]byte
			for k := range byte(20) {
				contents = append(contents, random(int(k)*1000, 50+k))
			}
			for k := range byte(4) {
				contents = append(contents, random(mib+1+int(k)*mib/2, 80+k))
			}
			keys := good.put(t, contents...)
			q.Add(jobs(keys...)...)
			q.awaitPresent(t, len(keys))
			to.check(t, keys...)

			for _, e := range q.told(transfer.Present) {
				if e.Clone != "good" {
					t.Errorf("%s came from %s", e.Job.Key, e.Clone)
				}
			}
			for _, s := range []transfer.State{transfer.Failed, transfer.Waiting, transfer.NoRoom} {
				if told := q.told(s); len(told) > 0 {
					t.Errorf("told: %+v", told)
				}
			}
			if pending, _ := q.Pending(); pending != len(ofStuck) {
				t.Errorf("%d jobs are left, want those of the stuck holders: %d", pending, len(ofStuck))
			}
			running := map[string]int{}
			for _, e := range q.Running() {
				if theirs[e.Job.Key] != e.Clone {
					t.Errorf("still runs: %+v", e)
				}
				running[e.Clone]++
			}
			for i := range stuckHolders {
				if name := fmt.Sprint("stuck ", i); running[name] > 0 != stuck.asks {
					t.Errorf("%s has %d jobs", name, running[name])
				}
			}

			// They were stuck only for a while.
			for name, p := range more {
				n.set(name, p)
			}
			let()
			q.awaitPresent(t, len(keys)+len(ofStuck))
			to.check(t, slices.Concat(keys, ofStuck)...)
			if pending, _ := q.Pending(); pending > 0 || len(q.Next(1)) > 0 {
				t.Errorf("%d jobs are left", pending)
			}
		})
	}
}
