package transfer_test

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/git-arbor/arbor/sync/p2p"
)

// trouble is what comes over the first sessions that a member serves. After them the member serves as it should.
type trouble struct {
	kind     string
	sessions int
	bytes    int64 // that pass before, where it comes in the middle
}

// The kinds of trouble.
const (
	refuses     = "refuses"
	unreachable = "unreachable"
	vanishes    = "vanishes" // the connection breaks
	stalls      = "stalls"   // nothing comes any more
	dies        = "dies"     // all it serves and receives ends, and begins anew later
	leaves      = "leaves"   // as vanishes, and it never comes back
)

// troubled is a server's connection, over which trouble comes when enough has been written.
type troubled struct {
	net.Conn
	left    int64
	trouble func() // gives up nothing that the connection has: it only closes, or waits
}

func (c *troubled) Write(b []byte) (int, error) {
	if int64(len(b)) <= c.left {
		c.left -= int64(len(b))
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(b[:c.left])
	c.left = 0
	if err != nil {
		return n, err
	}
	c.trouble()
	return n, io.ErrClosedPipe
}

// closing is a client's connection that tells when it is closed, and what comes.
type closing struct {
	net.Conn
	closed func()
	came   func(bytes int)
}

func (c closing) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.came(n)
	return n, err
}

func (c closing) Close() error {
	c.closed()
	return c.Conn.Close()
}

// disconnect ends the sessions that a member serves. The world's mutex is held.
func (w *world) disconnect(m *member) {
	for _, conn := range m.conns {
		_ = conn.Close()
	}
	m.conns = nil
}

// dial begins a session of a member with another.
func (m *member) dial(ctx context.Context, name string) (*p2p.Client, error) {
	w, from := m.w, m.w.named[name]
	const silence = 500 * time.Millisecond
	w.mu.Lock()
	server, down, trouble := from.server, from.down || from.left, from.trouble
	if !down {
		if from.served++; from.served > trouble.sessions {
			trouble.kind = ""
		}
	}
	over := trouble.kind != "" && from.served == trouble.sessions
	if trouble.kind != "" {
		w.note("%s has a session with %s, which %s", m.name, name, trouble.kind)
	}
	w.mu.Unlock()
	comeBack := func() {
		if over && trouble.kind != leaves {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.back = append(w.back, name)
			w.note("%s serves as it should from now on", name)
		}
	}
	if down {
		return nil, errUnreachable
	}
	if trouble.kind == unreachable {
		comeBack()
		return nil, errUnreachable
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	theirs, err := l.Accept()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	sessionCtx := context.WithoutCancel(ctx) // the server learns only from the connection that the client is gone
	closed := make(chan struct{})
	mine := closing{conn, sync.OnceFunc(func() { close(closed) }), func(bytes int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		m.got += int64(bytes)
	}}
	serve := func(conn net.Conn) { _ = server.ServeAuthed(sessionCtx, conn, m.name) }
	if from.lie != "" {
		serve = func(conn net.Conn) { w.lies[from.lie](sessionCtx, conn) }
	}
	served := theirs
	switch trouble.kind {
	case refuses:
		serve = func(conn net.Conn) { _, _ = io.WriteString(conn, "AUTH-FAILURE\n") }
	case stalls:
		served = &troubled{theirs, trouble.bytes, func() { <-closed }}
	case vanishes, leaves, dies:
		served = &troubled{theirs, trouble.bytes, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			_ = theirs.Close()
			switch {
			case trouble.kind == leaves:
				from.left = true
				w.disconnect(from)
				w.note("%s is gone for good", name)
			case trouble.kind == dies && from.server == server && !from.down:
				from.down = true
				w.disconnect(from)
				w.dead = append(w.dead, from)
				w.note("%s is dead", name)
			}
		}}
	}
	w.mu.Lock()
	from.conns = append(from.conns, theirs)
	m.begun++
	w.mu.Unlock()
	w.serving.Go(func() {
		defer comeBack()
		defer theirs.Close()
		serve(served)
	})
	return p2p.NewClient(ctx, mine, p2p.ClientOptions{Self: m.name, Greeted: true, Silence: silence})
}
