package link

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/git-arbor/arbor/sync/grove"
)

// How a peer is tried: RFC 8305 with the whole handshake in place of TCP's.
const (
	stagger      = 100 * time.Millisecond // between the starts of two candidates
	attemptLimit = 3 * time.Second        // for one candidate
	askAfter     = 300 * time.Millisecond // until a dial back is asked for
	backLimit    = 10 * time.Second       // for the dial back to come
	maxTried     = 16                     // candidates of one peer
)

// Dial returns a link to the service of a peer. It tries the candidates by priority,
// each 100 ms after the one before or when that one failed, for 3 s each; the
// first that is proven wins and the others are abandoned. ask, if not nil, is
// called once, by another goroutine, when all candidates failed or 300 ms have
// passed: it must get the ticket to the peer, whose DialBack is then returned as
// if dialled. The error is ErrUnreachable together with what each candidate led to.
func (n *Node) Dial(ctx context.Context, peer grove.DeviceID, cands []Candidate, service string, ask func(ctx context.Context, ticket [16]byte) error) (*Conn, error) {
	if !n.trusted(peer) {
		return nil, ErrNotTrusted
	}
	c, err := n.race(ctx, peer, cands, service, ask)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", peer.Short(), err)
	}
	return c, nil
}

// DialBack dials a peer that asked for it and serves the service on the link with
// the handler. It returns when the handler has.
func (n *Node) DialBack(ctx context.Context, peer grove.DeviceID, cands []Candidate, service string, t Ticket) error {
	h := n.handlers[service]
	if h == nil {
		return fmt.Errorf("dial back %s: no handler for %q", peer.Short(), service)
	}
	if !n.trusted(peer) {
		return ErrNotTrusted
	}
	hello := append([]byte{openDialBack}, t[:]...)
	c, err := n.raceWith(ctx, n.usable(cands), nil, func(ctx context.Context, cand Candidate) (*Conn, error) {
		return n.attempt(ctx, peer, cand, service, hello)
	})
	if err != nil {
		return fmt.Errorf("dial back %s: %w", peer.Short(), err)
	}
	defer context.AfterFunc(ctx, c.abort)()
	c.serve(ctx, h)
	return nil
}

// race is Dial without the trimmings.
func (n *Node) race(ctx context.Context, peer grove.DeviceID, cands []Candidate, service string, ask func(context.Context, Ticket) error) (*Conn, error) {
	hello := make([]byte, openSize)
	var back func(context.Context) (*Conn, error)
	if ask != nil {
		back = func(ctx context.Context) (*Conn, error) { return n.awaitBack(ctx, peer, service, ask) }
	}
	return n.raceWith(ctx, n.usable(cands), back, func(ctx context.Context, cand Candidate) (*Conn, error) {
		return n.attempt(ctx, peer, cand, service, hello)
	})
}

// usable returns the candidates worth a try, best first.
func (n *Node) usable(cands []Candidate) []Candidate {
	usable := slices.DeleteFunc(slices.Clone(cands), func(c Candidate) bool {
		return c.Kind == KindHost && (c.HostID == "" || c.HostID != n.hostID)
	})
	slices.SortStableFunc(usable, func(a, b Candidate) int { return cmp.Compare(b.Priority, a.Priority) })
	return usable[:min(len(usable), maxTried)]
}

// raceWith returns the first link that try makes of a candidate, or that back makes,
// and closes what comes after it. It returns when all it started has ended.
func (n *Node) raceWith(ctx context.Context, cands []Candidate, back func(context.Context) (*Conn, error),
	try func(context.Context, Candidate) (*Conn, error),
) (*Conn, error) {
	type result struct {
		c   *Conn
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan result, len(cands)+1)
	var wg sync.WaitGroup
	pending := 0
	start := func(f func() (*Conn, error)) {
		pending++
		wg.Go(func() {
			c, err := f()
			results <- result{c, err}
		})
	}
	defer func() {
		cancel()
		wg.Wait()
		close(results)
		for r := range results {
			if r.c != nil {
				r.c.Close()
			}
		}
	}()
	next := time.NewTimer(0)
	defer next.Stop()
	asking := time.NewTimer(askAfter)
	defer asking.Stop()
	var errs []error
	for {
		if pending == 0 && len(cands) == 0 {
			if back == nil {
				return nil, errors.Join(append([]error{ErrUnreachable}, errs...)...)
			}
			asking.Reset(0)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-next.C:
			if len(cands) > 0 {
				cand := cands[0]
				cands = cands[1:]
				start(func() (*Conn, error) { return try(ctx, cand) })
				next.Reset(stagger)
			}
		case <-asking.C:
			if f := back; f != nil {
				back = nil
				start(func() (*Conn, error) { return f(ctx) })
			}
		case r := <-results:
			pending--
			if r.err == nil {
				return r.c, nil
			}
			errs = append(errs, r.err)
			next.Reset(0)
		}
	}
}

// attempt tries one candidate.
func (n *Node) attempt(ctx context.Context, peer grove.DeviceID, cand Candidate, service string, hello []byte) (*Conn, error) {
	limited, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	c, err := n.connect(limited, peer, cand, service, hello)
	if err != nil {
		var remote *net.OpError
		if errors.As(err, &remote) && remote.Op == "remote error" { // a TLS alert
			err = fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return nil, fmt.Errorf("%s %s: %w", cand.Kind, cand.Addr, err)
	}
	return c, nil
}

func (n *Node) connect(ctx context.Context, peer grove.DeviceID, cand Candidate, service string, hello []byte) (*Conn, error) {
	var dialer net.Dialer
	tcp, err := dialer.DialContext(ctx, "tcp", cand.Addr)
	if err != nil {
		return nil, err
	}
	raw := tcp.(*net.TCPConn)
	tune(raw)
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	tc := tls.Client(raw, n.clientConfig(peer, service))
	rtt, err := greet(ctx, tc, hello)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	c := newConn(n, raw, tc, peer, service)
	c.Kind = cand.Kind
	if c.RTT == 0 {
		c.RTT = rtt
	}
	if err := n.add(c); err != nil {
		c.abort()
		return nil, err
	}
	return c, nil
}

// greet does the client's side of the handshake and returns the time of a round trip.
func greet(ctx context.Context, tc *tls.Conn, hello []byte) (time.Duration, error) {
	if err := tc.HandshakeContext(ctx); err != nil {
		return 0, err
	}
	begin := time.Now()
	if _, err := tc.Write(hello); err != nil {
		return 0, err
	}
	var answer [1]byte
	if _, err := io.ReadFull(tc, answer[:]); err != nil {
		return 0, err
	}
	switch answer[0] {
	case answerOK:
		return time.Since(begin), nil
	case answerBusy:
		return 0, ErrBusy
	default:
		return 0, fmt.Errorf("%w: answer %d", ErrRefused, answer[0])
	}
}

// A ticket is a Dial that waits for the peer to dial back.
type ticket struct {
	peer    grove.DeviceID
	service string
	link    chan *Conn // holds one; closed when the peer cannot dial back
}

// awaitBack asks the peer to dial back and waits for it.
func (n *Node) awaitBack(ctx context.Context, peer grove.DeviceID, service string, ask func(context.Context, Ticket) error) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, backLimit)
	defer cancel()
	var id Ticket
	rand.Read(id[:])
	t := &ticket{peer: peer, service: service, link: make(chan *Conn, 1)}
	n.mu.Lock()
	n.tickets[id] = t
	n.mu.Unlock()
	err := ask(ctx, id)
	if err == nil {
		select {
		case c, ok := <-t.link:
			if ok {
				return c, nil
			}
			err = ErrUnreachable
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	n.mu.Lock()
	delete(n.tickets, id)
	n.mu.Unlock()
	select {
	case c, ok := <-t.link: // it came in the meantime
		if ok {
			return c, nil
		}
	default:
	}
	return nil, fmt.Errorf("dial back: %w", err)
}

// NoDialBack ends the waiting of a Dial whose peer has said that it cannot dial back.
func (n *Node) NoDialBack(peer grove.DeviceID, id Ticket) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t := n.tickets[id]; t != nil && t.peer == peer {
		delete(n.tickets, id)
		close(t.link)
	}
}

// awaited reports whether a Dial waits for this very link.
func (n *Node) awaited(id Ticket, c *Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.tickets[id]
	return t != nil && t.peer == c.Peer && t.service == c.Service
}

// deliver hands the link to the Dial that waits for it, if it still does.
func (n *Node) deliver(id Ticket, c *Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.tickets[id]
	if t == nil || t.peer != c.Peer || t.service != c.Service {
		return false
	}
	delete(n.tickets, id)
	t.link <- c
	return true
}
