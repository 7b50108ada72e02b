package xmpptest

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy is a TCP relay that can go silent like a pulled cable.
type Proxy struct {
	Addr string // host:port

	listener net.Listener
	target   string
	done     sync.WaitGroup

	mu     sync.Mutex
	silent chan struct{} // while the proxy is silent: closed when it speaks again
	links  map[*link]bool
}

// link is one relayed connection.
type link struct {
	client, server net.Conn
	silent         atomic.Bool
}

// NewProxy starts a relay to addr, which ends with the test.
func NewProxy(t testing.TB, addr string) *Proxy {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		stop()
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), listener: l, target: addr, links: map[*link]bool{}}
	p.done.Go(func() { p.accept(ctx) })
	t.Cleanup(func() {
		l.Close()
		stop()
		p.BlackHole(false)
		p.Cut()
		p.done.Wait()
	})
	return p
}

// BlackHole stops (true) and goes on (false) forwarding. A connection that was
// open then stays silent for good; nobody is told. New ones wait until the
// proxy goes on, as connecting does over a pulled cable.
func (p *Proxy) BlackHole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.silent == nil:
		p.silent = make(chan struct{})
		for l := range p.links {
			l.silent.Store(true)
		}
	case !on && p.silent != nil:
		close(p.silent)
		p.silent = nil
	}
}

// Cut closes all connections, those that are silent too.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.client.Close()
		l.server.Close()
	}
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		silent := p.silent
		p.mu.Unlock()
		if silent != nil {
			<-silent
		}
		server, err := new(net.Dialer).DialContext(ctx, "tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		l := &link{client: client, server: server}
		l.silent.Store(p.silent != nil)
		p.links[l] = true
		p.mu.Unlock()
		p.done.Go(func() { p.relay(l) })
	}
}

func (p *Proxy) relay(l *link) {
	var both sync.WaitGroup
	both.Go(func() { l.pump(l.server, l.client) })
	both.Go(func() { l.pump(l.client, l.server) })
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// pump copies until one side closes, and then closes both unless they are silent.
func (l *link) pump(to io.Writer, from net.Conn) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if l.silent.Load() {
			if err != nil {
				return
			}
			continue
		}
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			l.client.Close()
			l.server.Close()
			return
		}
	}
}
