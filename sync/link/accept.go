package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// After the handshake the side that dialled says what the link is for, and the other
// whether it will serve it. Without that answer the dialler would not know that it
// was accepted: in TLS 1.3 its own handshake ends before the server has looked at
// its certificate.
const (
	openLink     = 0 // followed by 16 zeros
	openDialBack = 1 // followed by the ticket
	openSize     = 1 + 16

	answerOK     = 0
	answerBusy   = 1
	answerTicket = 2 // no such ticket
	answerNone   = 3 // no such service
)

// accept takes connections until the listener is closed.
func (n *Node) accept(ctx context.Context, l net.Listener, wg *sync.WaitGroup) {
	config := n.serverConfig()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			if err == nil {
				c.Close()
			}
			return
		}
		if err != nil { // for instance out of file descriptors
			n.log.Warn("cannot accept links", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		raw := c.(*net.TCPConn)
		if !n.addPending(raw) {
			raw.Close()
			return
		}
		wg.Go(func() {
			if err := n.serve(ctx, raw, config); err != nil {
				n.log.Debug("link not accepted", "from", raw.RemoteAddr(), "err", err)
			}
		})
	}
}

// addPending notes a connection that has not proven anything yet. When there are too
// many of them the oldest goes: whoever holds connections open without speaking
// loses them, and a peer that speaks needs only a few milliseconds.
func (n *Node) addPending(c net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	ip := addrIP(c)
	oldest, same := -1, 0
	for i, p := range n.pending {
		if addrIP(p) == ip {
			if oldest < 0 {
				oldest = i
			}
			same++
		}
	}
	switch {
	case same >= maxPendingPerIP:
	case len(n.pending) >= maxPending:
		oldest = 0
	default:
		oldest = -1
	}
	if oldest >= 0 {
		n.pending[oldest].Close()
		n.pending = slices.Delete(n.pending, oldest, oldest+1)
	}
	n.pending = append(n.pending, c)
	return true
}

func (n *Node) removePending(c net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending = slices.DeleteFunc(n.pending, func(p net.Conn) bool { return p == c })
}

func addrIP(c net.Conn) string { return c.RemoteAddr().(*net.TCPAddr).IP.String() }

// serve makes a link of an accepted connection and gives it to its handler, or to the
// Dial that waits for it.
func (n *Node) serve(ctx context.Context, raw *net.TCPConn, config *tls.Config) error {
	c, hello, err := n.open(ctx, raw, config)
	if err != nil {
		linger(raw)
	}
	n.removePending(raw)
	if err != nil {
		raw.Close()
		return err
	}
	if hello[0] == openDialBack {
		if !n.deliver(Ticket(hello[1:]), c) {
			c.abort()
			return errors.New("the dial back is not awaited any more")
		}
		return nil
	}
	c.serve(ctx, n.handlers[c.Service])
	return nil
}

// linger lets the other side read why it was refused: to close with bytes unread would
// take that back.
func linger(raw *net.TCPConn) {
	if raw.SetDeadline(time.Now().Add(time.Second)) == nil && raw.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, raw, 64<<10)
	}
}

// open does the server's side of the handshake.
func (n *Node) open(ctx context.Context, raw *net.TCPConn, config *tls.Config) (c *Conn, hello [openSize]byte, err error) {
	tune(raw)
	if err := raw.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, hello, err
	}
	tc := tls.Server(raw, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, hello, err
	}
	if _, err := io.ReadFull(tc, hello[:]); err != nil {
		return nil, hello, fmt.Errorf("read what the link is for: %w", err)
	}
	state := tc.ConnectionState()
	peer, err := peerOf(state)
	if err != nil {
		return nil, hello, err
	}
	c = newConn(n, raw, tc, peer, state.NegotiatedProtocol)
	if err := n.answer(c, hello); err != nil {
		c.gone()
		return nil, hello, err
	}
	return c, hello, nil
}

// answer decides on an opened link, takes it into the table and tells the peer.
func (n *Node) answer(c *Conn, hello [openSize]byte) error {
	answer := byte(answerOK)
	switch {
	case hello[0] == openDialBack:
		c.Kind = KindDialBack
		if !n.awaited(Ticket(hello[1:]), c) {
			answer = answerTicket
		}
	case hello[0] != openLink || n.handlers[c.Service] == nil:
		answer = answerNone
	}
	if answer == answerOK {
		err := n.add(c)
		if errors.Is(err, ErrBusy) {
			answer = answerBusy
		} else if err != nil {
			return err
		}
	}
	if _, err := c.Write([]byte{answer}); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if answer != answerOK {
		return fmt.Errorf("%s refused with %d", c.Peer.Short(), answer)
	}
	return c.raw.SetDeadline(time.Time{})
}
