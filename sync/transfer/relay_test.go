package transfer_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
)

// mib is a block.
const mib = annex.BlockSize

// site is clones that get content from each other.
type site struct {
	t     testing.TB
	nodes map[string]*node
}

// node is a clone that receives, and passes on.
type node struct {
	*clone
	q        *watched
	site     *site
	name     string
	server   *p2p.Server
	arrivals *p2p.Arrivals
	limits   p2p.Limits // of what comes
	retry    transfer.Retry

	mu      sync.Mutex
	holders []transfer.Holder
	serve   peer              // in place of its server
	came    map[string]*count // from each clone
	conns   []net.Conn        // on which it serves
	serving sync.WaitGroup
}

// count is bytes that came from a clone, and by how many sessions.
type count struct {
	mu       sync.Mutex
	changed  chan struct{} // closed, and made anew, at every change
	bytes    int64
	sessions int
	most     int64 // bytes that may come; 0: any number
	cuts     int   // how often all sessions were cut
}

// change does something under the mutex, and tells who waits.
func (c *count) change(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
	close(c.changed)
	c.changed = make(chan struct{})
}

// hold lets hardly more than so many bytes come; 0: any number.
func (c *count) hold(bytes int64) { c.change(func() { c.most = bytes }) }

// total gives the bytes that came, and by how many sessions.
func (c *count) total() (bytes int64, sessions int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes, c.sessions
}

// reach waits until so many bytes have come.
func (c *count) reach(t testing.TB, bytes int64) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		c.mu.Lock()
		done, changed := c.bytes >= bytes, c.changed
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("waited in vain for %d bytes", bytes)
		}
	}
}

// counted is a connection that counts what comes.
type counted struct {
	net.Conn
	c      *count
	cuts   int // when it began
	closed chan struct{}
	end    func()
}

func (c *counted) Read(b []byte) (int, error) {
	for {
		c.c.mu.Lock()
		cut, held, changed := c.cuts != c.c.cuts, c.c.most > 0 && c.c.bytes >= c.c.most, c.c.changed
		c.c.mu.Unlock()
		if cut {
			return 0, io.ErrUnexpectedEOF
		}
		if !held {
			break
		}
		select {
		case <-changed:
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	n, err := c.Conn.Read(b)
	c.c.change(func() { c.c.bytes += int64(n) })
	return n, err
}

func (c *counted) Close() error {
	c.end()
	return c.Conn.Close()
}

// overhead is what a session may bring beside content, in bytes: messages and a block list.
const overhead = 8 << 10

func newSite(t testing.TB, names ...string) *site {
	t.Helper()
	s := &site{t, map[string]*node{}}
	for _, name := range names {
		c := newClone(t)
		n := &node{clone: c, site: s, name: name, arrivals: new(p2p.Arrivals), came: map[string]*count{}, retry: transfer.Retry{First: time.Hour, Longest: time.Hour}}
		n.server = &p2p.Server{UUID: name, Annex: c.Repo, Arrivals: n.arrivals, Log: slog.New(slog.DiscardHandler)}
		n.serve = func(ctx context.Context, conn net.Conn) { _ = n.server.ServeAuthed(ctx, conn, "client") }
		for _, other := range names {
			n.came[other] = &count{changed: make(chan struct{})}
		}
		s.nodes[name] = n
	}
	t.Cleanup(s.kill)
	return s
}

func (s *site) kill() {
	for _, n := range s.nodes {
		n.kill()
	}
}

// start runs the node's queue, which is to ask these holders in turn.
func (n *node) start(holders ...transfer.Holder) {
	n.site.t.Helper()
	for i := range holders {
		holders[i].Cost = i
	}
	n.holders = holders
	n.q = startQueue(n.site.t, transfer.Options{
		Repo: n.Repo, Arrivals: n.arrivals, Open: n.dial,
		Holders: each(func(annex.Key) []transfer.Holder {
			n.mu.Lock()
			defer n.mu.Unlock()
			return slices.Clone(n.holders)
		}),
		Retry: n.retry,
	})
}

// dial begins a session with another node, which counts what comes.
func (n *node) dial(ctx context.Context, name string) (*p2p.Client, error) {
	from := n.site.nodes[name]
	from.mu.Lock()
	serve := from.serve
	from.mu.Unlock()
	if serve == nil {
		return nil, errUnreachable
	}
	mine, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	from.mu.Lock()
	from.conns = append(from.conns, theirs)
	from.mu.Unlock()
	ended, end := context.WithCancel(context.WithoutCancel(ctx))
	from.serving.Go(func() {
		defer theirs.Close()
		serve(ended, theirs)
	})
	c := n.came[name]
	conn := &counted{Conn: mine, c: c, closed: make(chan struct{})}
	c.change(func() {
		c.sessions++
		conn.cuts = c.cuts
	})
	conn.end = sync.OnceFunc(func() {
		end()
		close(conn.closed)
	})
	return p2p.NewClient(ctx, conn, p2p.ClientOptions{Self: n.name, Greeted: true, Silence: 20 * time.Second, Limits: n.limits})
}

// kill ends everything that the node serves and receives. What is on its way is lost.
func (n *node) kill() {
	n.mu.Lock()
	n.serve = nil
	for _, conn := range n.conns {
		_ = conn.Close()
	}
	n.mu.Unlock()
	for _, other := range n.site.nodes {
		c := other.came[n.name]
		c.change(func() {
			c.cuts++
			c.most = 0
		})
	}
	if n.q != nil {
		n.q.stop()
	}
	n.serving.Wait()
}
