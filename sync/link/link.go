// Package link owns the authenticated, encrypted connections between the agents
// of a grove: it offers addresses, dials and is dialled, and hands out
// connections whose other end is proven. Every link is mutual TLS 1.3 over TCP
// with both device keys pinned: the handshake is the connectivity check and the
// authentication in one, so a candidate address is only a place to try. It never
// decides who is trusted and never speaks git-annex's protocol. docs/protocol.md
// is the specification.
package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/git-arbor/arbor/sync/grove"
)

// Services, told apart by ALPN.
const (
	ServiceP2P   = "git-annex-p2p" // git-annex's P2P protocol
	ServiceArbor = "arbor/1"       // HTTP/1.1: Arbor's own few calls
)

// Kinds of candidates and of links.
const (
	KindHost     = "host"      // loopback of the same host and user
	KindLAN      = "lan"       // address of a network interface
	KindStatic   = "static"    // from the configuration
	KindDialBack = "dial-back" // of a link only: the peer dialled because it was asked to
	KindNone     = "none"      // of no link: the peer could not be reached
)

// Errors to be tested with errors.Is.
var (
	// ErrUnreachable says that no candidate led to the peer.
	ErrUnreachable = errors.New("peer cannot be reached")
	// ErrRefused says that a device was reached, but does not trust this one, is
	// not the one that was wanted, or does not offer the service.
	ErrRefused = errors.New("link refused")
	// ErrBusy says that the peer has too many links with this device.
	ErrBusy = errors.New("peer has too many links")
	// ErrWrongPeer says that somebody else answered at the address.
	ErrWrongPeer = errors.New("another device answered")
	// ErrNotTrusted says that Trusted does not hold for the peer.
	ErrNotTrusted = errors.New("peer is not trusted")
	// ErrClosed says that the node has stopped.
	ErrClosed = errors.New("link node has stopped")
)

// Bounds that no configuration changes.
const (
	handshakeTimeout = 5 * time.Second // of what is accepted, from the first byte to the link
	maxPending       = 64              // accepted connections without a link
	maxPendingPerIP  = 16
	maxLinks         = 1024
	maxLinksPerPeer  = 64
)

// A Ticket names one asked-for dial back. It is random and used once.
type Ticket = [16]byte

// Options of a Node.
type Options struct {
	Device    *grove.Device
	Trusted   func(grove.DeviceID) bool // asked at every handshake, by any goroutine
	Listen    []string                  // host:port to listen on; default ":0"
	Advertise []string                  // host:port to offer as static candidates
	Log       *slog.Logger              // default: none
}

// A Handler serves one link, which is closed when it returns. ctx ends with the
// link: when it is closed, the node stops, or the peer is dropped.
type Handler = func(ctx context.Context, c *Conn)

// A Node listens and dials for one device. Its methods may be called by any
// goroutine, but Handle only before Run.
type Node struct {
	device    *grove.Device
	trusted   func(grove.DeviceID) bool
	advertise []string
	log       *slog.Logger
	hostID    string
	cert      tls.Certificate
	listeners []net.Listener
	handlers  map[string]Handler

	mu      sync.Mutex
	closed  bool
	pending []net.Conn // oldest first
	links   map[*Conn]struct{}
	tickets map[Ticket]*ticket
}

// New checks the options and binds the listeners, so that Candidates is complete
// when it returns. Run must follow, else Close.
func New(o Options) (*Node, error) {
	cert, err := certificate(o.Device.PrivateKey())
	if err != nil {
		return nil, fmt.Errorf("make link certificate: %w", err)
	}
	n := &Node{
		device: o.Device, trusted: o.Trusted, advertise: o.Advertise, log: o.Log, hostID: hostID(), cert: cert,
		handlers: map[string]Handler{}, links: map[*Conn]struct{}{}, tickets: map[Ticket]*ticket{},
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	for _, addr := range o.Advertise {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, fmt.Errorf("advertise %q: %w", addr, err)
		}
	}
	listen := o.Listen
	if len(listen) == 0 {
		listen = []string{":0"}
	}
	for _, addr := range listen {
		// The listener lives until Close: no context ends the binding.
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
		if err != nil {
			n.Close()
			return nil, fmt.Errorf("listen for links: %w", err)
		}
		n.listeners = append(n.listeners, l)
	}
	return n, nil
}

// Handle sets who serves the links of a service. A service without a handler is not
// offered.
func (n *Node) Handle(service string, h Handler) { n.handlers[service] = h }

// Run accepts links until ctx ends; then it closes all, waits for the handlers of
// those it accepted, and returns the error of ctx.
func (n *Node) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer n.Close()
	for _, l := range n.listeners {
		wg.Go(func() { n.accept(ctx, l, &wg) })
	}
	<-ctx.Done()
	return ctx.Err()
}

// Close stops a node that is not run: it closes its listeners and links.
func (n *Node) Close() {
	n.mu.Lock()
	n.closed = true
	pending, links := n.pending, n.links
	n.pending, n.links = nil, map[*Conn]struct{}{}
	n.mu.Unlock()
	for _, l := range n.listeners {
		l.Close()
	}
	for _, c := range pending {
		c.Close()
	}
	for c := range links {
		c.abort()
	}
}

// Drop closes all links with a device, also those being set up. Call it after
// Trusted has become false for the device.
func (n *Node) Drop(peer grove.DeviceID) {
	n.mu.Lock()
	var dropped []*Conn
	for c := range n.links {
		if c.Peer == peer {
			dropped = append(dropped, c)
		}
	}
	n.mu.Unlock()
	for _, c := range dropped {
		c.abort()
	}
}

// add takes a link into the table, from which Drop finds it. Trusted is asked once
// more after that: so a device that is revoked during its handshake is caught here,
// or by Drop.
func (n *Node) add(c *Conn) error {
	n.mu.Lock()
	same := 0
	for l := range n.links {
		if l.Peer == c.Peer {
			same++
		}
	}
	closed, full := n.closed, len(n.links) >= maxLinks || same >= maxLinksPerPeer
	if !closed && !full {
		n.links[c] = struct{}{}
	}
	n.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case full:
		return ErrBusy
	case !n.trusted(c.Peer):
		n.remove(c)
		return ErrNotTrusted
	}
	return nil
}

func (n *Node) remove(c *Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.links, c)
}
