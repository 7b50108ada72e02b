package link

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/git-arbor/arbor/sync/grove"
)

// keepAlive notices within half a minute that the other end is gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// A Conn is a link: its other end has proven to be Peer, whom Trusted accepted. As
// with every net.Conn, one goroutine may read while another writes, and any may
// close.
type Conn struct {
	net.Conn
	Peer    grove.DeviceID
	Service string
	Kind    string        // of the candidate that led to it; "" when accepted
	RTT     time.Duration // round trip when it was set up; 0: unknown

	node *Node
	raw  *net.TCPConn

	mu     sync.Mutex
	closed bool
	end    context.CancelFunc // of the handler; nil: none runs
}

func newConn(n *Node, raw *net.TCPConn, c *tls.Conn, peer grove.DeviceID, service string) *Conn {
	return &Conn{Conn: c, Peer: peer, Service: service, RTT: roundTrip(raw), node: n, raw: raw}
}

// serve runs a handler, whose context ends with the link, and closes the link.
func (c *Conn) serve(ctx context.Context, h Handler) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer c.Close()
	c.mu.Lock()
	c.end = cancel
	if c.closed {
		cancel()
	}
	c.mu.Unlock()
	h(ctx, c)
}

// gone takes the link off the table and ends its handler.
func (c *Conn) gone() {
	c.node.remove(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.end != nil {
		c.end()
	}
}

// Close ends the link and the context of its handler.
func (c *Conn) Close() error {
	c.gone()
	return c.Conn.Close()
}

// CloseWrite tells the peer that nothing more will be written.
func (c *Conn) CloseWrite() error { return c.Conn.(*tls.Conn).CloseWrite() }

// abort closes at once: TLS's own way to close waits for a peer that does not read.
func (c *Conn) abort() {
	c.raw.Close()
	c.gone()
}
