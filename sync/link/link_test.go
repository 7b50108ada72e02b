package link_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/grove"
	"github.com/git-arbor/arbor/sync/link"
)

// node is a running Node whose P2P handler echoes lines.
type node struct {
	*link.Node
	device *grove.Device
	id     grove.DeviceID
	served chan *link.Conn // links that reached the P2P handler

	mu      sync.Mutex
	trusted map[grove.DeviceID]bool
}

func newNode(t *testing.T, change ...func(*link.Options)) *node {
	t.Helper()
	d, err := grove.LoadDevice(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n := &node{device: d, id: d.ID(), trusted: map[grove.DeviceID]bool{}, served: make(chan *link.Conn, 256)}
	o := link.Options{Device: d, Trusted: n.trusts, Listen: []string{"127.0.0.1:0"}}
	for _, f := range change {
		f(&o)
	}
	if n.Node, err = link.New(o); err != nil {
		t.Fatal(err)
	}
	n.Handle(link.ServiceP2P, func(ctx context.Context, c *link.Conn) {
		n.served <- c
		_, _ = io.Copy(c, c)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run does not end")
		}
	})
	return n
}

func (n *node) trusts(id grove.DeviceID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.trusted[id]
}

func (n *node) trust(id grove.DeviceID, yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trusted[id] = yes
}

// friends makes nodes that trust each other.
func friends(t *testing.T) (a, b *node) {
	t.Helper()
	a, b = newNode(t), newNode(t)
	a.trust(b.id, true)
	b.trust(a.id, true)
	return a, b
}

func (n *node) addr() string { return n.Candidates()[0].Addr }

func at(addrs ...string) []link.Candidate {
	var cands []link.Candidate
	for i, a := range addrs {
		cands = append(cands, link.Candidate{Kind: link.KindStatic, Addr: a, Priority: 100 - i})
	}
	return cands
}

func dial(t *testing.T, from, to *node) *link.Conn {
	t.Helper()
	c, err := from.Dial(t.Context(), to.id, to.Candidates(), link.ServiceP2P, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func echo(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatalf("echo: %q, %v", line, err)
	}
}

// ended waits until a connection is closed by the other side.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return // closed on this side
	}
	_, err := io.Copy(io.Discard, c)
	if errors.Is(err, context.DeadlineExceeded) || err != nil && strings.Contains(err.Error(), "timeout") {
		t.Fatal("the connection stays open")
	}
}

func TestTwoNodes(t *testing.T) {
	a, b := friends(t)
	c := dial(t, a, b)
	if c.Peer != b.id || c.Service != link.ServiceP2P || c.Kind != link.KindHost || c.RTT <= 0 {
		t.Errorf("link is %+v", c)
	}
	echo(t, c)
	s := <-b.served
	if s.Peer != a.id || s.Service != link.ServiceP2P || s.Kind != "" {
		t.Errorf("accepted link is %+v", s)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	ended(t, c)
}

func TestThreeNodesManyLinks(t *testing.T) {
	a, b := friends(t)
	c := newNode(t)
	for _, n := range []*node{a, b} {
		n.trust(c.id, true)
		c.trust(n.id, true)
	}
	var wg sync.WaitGroup
	for _, p := range [][2]*node{{a, b}, {b, a}, {a, c}, {c, a}, {b, c}, {c, b}} {
		for range 4 {
			wg.Go(func() {
				l, err := p[0].Dial(t.Context(), p[1].id, p[1].Candidates(), link.ServiceP2P, nil)
				if err != nil {
					t.Error(err)
					return
				}
				defer l.Close()
				echo(t, l)
			})
		}
	}
	wg.Wait()
}

func TestStrangers(t *testing.T) {
	a, b := newNode(t), newNode(t)
	a.trust(b.id, true) // not the other way round
	_, err := a.Dial(t.Context(), b.id, b.Candidates(), link.ServiceP2P, nil)
	if !errors.Is(err, link.ErrRefused) || !errors.Is(err, link.ErrUnreachable) {
		t.Errorf("stranger dials: %v", err)
	}
	if _, err := b.Dial(t.Context(), a.id, a.Candidates(), link.ServiceP2P, nil); !errors.Is(err, link.ErrNotTrusted) {
		t.Errorf("dial of a stranger: %v", err)
	}
	if len(b.served) != 0 {
		t.Error("a stranger was served")
	}
}

func (n *node) cert(t *testing.T) tls.Certificate {
	return selfSigned(t, n.device.PrivateKey(), n.device.PrivateKey().Public())
}

// listen serves connections by f until the test ends.
func listen(t *testing.T, f func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func TestServiceWithoutHandler(t *testing.T) {
	a, b := friends(t)
	if _, err := a.Dial(t.Context(), b.id, b.Candidates(), link.ServiceArbor, nil); !errors.Is(err, link.ErrRefused) {
		t.Errorf("got %v", err)
	}
	if _, err := a.Dial(t.Context(), b.id, b.Candidates(), "none", nil); !errors.Is(err, link.ErrRefused) {
		t.Errorf("got %v", err)
	}
}

func TestRevokedWhileLinked(t *testing.T) {
	a, b := friends(t)
	c := dial(t, a, b)
	echo(t, c)
	s := <-b.served
	own, other := dial(t, b, a), newNode(t)
	b.trust(other.id, true)
	other.trust(b.id, true)
	kept := dial(t, other, b)
	b.trust(a.id, false)
	b.Drop(a.id)
	ended(t, c)
	ended(t, s)
	ended(t, own)
	echo(t, kept)
	if _, err := a.Dial(t.Context(), b.id, b.Candidates(), link.ServiceP2P, nil); !errors.Is(err, link.ErrRefused) {
		t.Errorf("revoked device dials: %v", err)
	}
}

// A device that is revoked between its handshake and the handler gets nothing.
func TestRevokedWhileLinking(t *testing.T) {
	var b *node
	var asked int
	a := newNode(t)
	b = newNode(t, func(o *link.Options) {
		o.Trusted = func(grove.DeviceID) bool {
			asked++
			return asked == 1
		}
	})
	a.trust(b.id, true)
	if c, err := a.Dial(t.Context(), b.id, b.Candidates(), link.ServiceP2P, nil); err == nil {
		ended(t, c)
	}
	if len(b.served) != 0 {
		t.Error("it was served")
	}
}

func TestLinkCap(t *testing.T) {
	a, b := friends(t)
	var refused error
	var open []*link.Conn
	for len(open) < 200 && refused == nil {
		c, err := a.Dial(t.Context(), b.id, b.Candidates(), link.ServiceP2P, nil)
		if err != nil {
			refused = err
			break
		}
		defer c.Close()
		open = append(open, c)
	}
	if !errors.Is(refused, link.ErrBusy) {
		t.Fatalf("after %d links: %v", len(open), refused)
	}
	open[0].Close()
	s := <-b.served
	ended(t, s)
	poll(t, func() bool {
		c, err := a.Dial(t.Context(), b.id, b.Candidates(), link.ServiceP2P, nil)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// poll waits until a condition holds.
func poll(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it never holds")
		}
	}
}

func TestHTTP(t *testing.T) {
	a := newNode(t)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /log", func(w http.ResponseWriter, r *http.Request) {
		peer, ok := link.PeerOf(r.Context())
		fmt.Fprint(w, ok, " ", peer)
	})
	mux.HandleFunc("GET /hang", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	var b *node
	b = newNode(t)
	b.Close()
	b = &node{device: b.device, id: b.id, trusted: map[grove.DeviceID]bool{a.id: true}}
	var err error
	if b.Node, err = link.New(link.Options{Device: b.device, Trusted: b.trusts, Listen: []string{"127.0.0.1:0"}}); err != nil {
		t.Fatal(err)
	}
	b.Handle(link.ServiceArbor, link.HTTPHandler(mux, nil))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	a.trust(b.id, true)
	dials := 0
	client := link.NewHTTPClient(func(ctx context.Context) (*link.Conn, error) {
		dials++
		return a.Dial(ctx, b.id, b.Candidates(), link.ServiceArbor, nil)
	})
	defer client.CloseIdleConnections()
	for range 3 {
		resp, err := client.Get("http://peer/log")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != "true "+a.id.String() {
			t.Errorf("%q, %v", body, err)
		}
	}
	if dials != 1 {
		t.Errorf("%d links for three requests", dials)
	}
	resp, err := client.Get("http://peer/hang")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) { // waits for the handler
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	d, err := grove.LoadDevice(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []link.Options{{Listen: []string{"nonsense"}}, {Advertise: []string{"no-port"}}} {
		o.Device = d
		if n, err := link.New(o); err == nil {
			n.Close()
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestStoppedNode(t *testing.T) {
	a, b := friends(t)
	c := dial(t, a, b)
	a.Close()
	ended(t, c)
	if _, err := a.Dial(t.Context(), b.id, b.Candidates(), link.ServiceP2P, nil); !errors.Is(err, link.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := b.Dial(t.Context(), a.id, at(unused(t)), link.ServiceP2P, nil); !errors.Is(err, link.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}
