package link_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/link"
)

// The good candidate comes after one that never answers, one that refuses, one that
// talks garbage and one that is not there; it wins while the first still hangs.
func TestBadCandidatesDoNotDelay(t *testing.T) {
	a, b := friends(t)
	hanging := make(chan struct{}, 1)
	freed := make(chan struct{})
	hole := listen(t, func(c net.Conn) {
		hanging <- struct{}{}
		_, _ = io.Copy(io.Discard, c) // until the dialler gives up
		close(freed)
	})
	closed := listen(t, func(net.Conn) {})
	garbage := listen(t, func(c net.Conn) { _, _ = io.WriteString(c, strings.Repeat("garbage", 100)) })
	c, err := a.Dial(t.Context(), b.id, at(hole, closed, garbage, unused(t), "no.such.host.invalid:1", "not an address", b.addr()), link.ServiceP2P, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-hanging
	<-freed // Dial gives up the others, and does not wait for their time to pass
	echo(t, c)
	if got := c.RemoteAddr().String(); got != b.addr() {
		t.Errorf("linked by %s", got)
	}
}

// unused returns an address where nobody listens.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestFirstByPriority(t *testing.T) {
	a, b := friends(t)
	cands := []link.Candidate{
		{Kind: link.KindStatic, Addr: unused(t), Priority: 1},
		{Kind: link.KindLAN, Addr: b.addr(), Priority: 9},
		{Kind: link.KindHost, Addr: b.addr(), Priority: 99, HostID: "another host"},
		{Kind: link.KindHost, Addr: b.addr(), Priority: 98},
	}
	c, err := a.Dial(t.Context(), b.id, cands, link.ServiceP2P, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Kind != link.KindLAN {
		t.Errorf("linked by %s: loopback is only for the same host", c.Kind)
	}
}

func TestNoCandidates(t *testing.T) {
	a, b := friends(t)
	if _, err := a.Dial(t.Context(), b.id, nil, link.ServiceP2P, nil); !errors.Is(err, link.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	hole := listen(t, func(c net.Conn) {
		cancel()
		_, _ = io.Copy(io.Discard, c)
	})
	if _, err := a.Dial(ctx, b.id, at(hole), link.ServiceP2P, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestDialBack(t *testing.T) {
	a, b := friends(t)
	back := make(chan error, 1)
	ask := func(ctx context.Context, ticket [16]byte) error { // stands for the signal
		go func() { back <- b.DialBack(t.Context(), a.id, a.Candidates(), link.ServiceP2P, ticket) }()
		return nil
	}
	c, err := a.Dial(t.Context(), b.id, at(unused(t)), link.ServiceP2P, ask)
	if err != nil {
		t.Fatal(err)
	}
	if c.Peer != b.id || c.Kind != link.KindDialBack || c.Service != link.ServiceP2P {
		t.Errorf("link is %+v", c)
	}
	echo(t, c)
	if s := <-b.served; s.Peer != a.id {
		t.Errorf("served %s", s.Peer)
	}
	if len(a.served) != 0 {
		t.Error("the side that asked served the link itself")
	}
	c.Close()
	if err := <-back; err != nil {
		t.Error(err)
	}
}

func TestDialBackIsDropped(t *testing.T) {
	a, b := friends(t)
	back := make(chan error, 1)
	c, err := a.Dial(t.Context(), b.id, nil, link.ServiceP2P, func(ctx context.Context, ticket [16]byte) error {
		go func() { back <- b.DialBack(t.Context(), a.id, a.Candidates(), link.ServiceP2P, ticket) }()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	echo(t, c)
	b.trust(a.id, false)
	b.Drop(a.id)
	ended(t, c)
	if err := <-back; err != nil {
		t.Error(err)
	}
}

func TestTicketIsForOnePeerAndOnce(t *testing.T) {
	a, b := friends(t)
	thief := newNode(t)
	thief.trust(a.id, true)
	a.trust(thief.id, true)
	var used [16]byte
	c, err := a.Dial(t.Context(), b.id, nil, link.ServiceP2P, func(ctx context.Context, ticket [16]byte) error {
		used = ticket
		if err := thief.DialBack(ctx, a.id, a.Candidates(), link.ServiceP2P, ticket); !errors.Is(err, link.ErrRefused) {
			t.Errorf("another member came with the ticket: %v", err)
		}
		if err := b.DialBack(ctx, a.id, a.Candidates(), link.ServiceP2P, [16]byte{1}); !errors.Is(err, link.ErrRefused) {
			t.Errorf("the peer came with another ticket: %v", err)
		}
		go func() { _ = b.DialBack(t.Context(), a.id, a.Candidates(), link.ServiceP2P, ticket) }()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	echo(t, c)
	if err := b.DialBack(t.Context(), a.id, a.Candidates(), link.ServiceP2P, used); !errors.Is(err, link.ErrRefused) {
		t.Errorf("ticket used twice: %v", err)
	}
}

func TestAskFails(t *testing.T) {
	a, b := friends(t)
	offline := errors.New("offline")
	_, err := a.Dial(t.Context(), b.id, nil, link.ServiceP2P, func(context.Context, [16]byte) error { return offline })
	if !errors.Is(err, offline) || !errors.Is(err, link.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

// TestNoDialBack has a peer say that it cannot dial back: nobody waits any more. What somebody else says of it counts nothing.
func TestNoDialBack(t *testing.T) {
	a, b := friends(t)
	other := newNode(t)
	_, err := a.Dial(t.Context(), b.id, nil, link.ServiceP2P, func(_ context.Context, ticket [16]byte) error {
		a.NoDialBack(b.id, ticket)
		a.NoDialBack(b.id, ticket)
		return nil
	})
	if !errors.Is(err, link.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	c, err := a.Dial(t.Context(), b.id, nil, link.ServiceP2P, func(_ context.Context, ticket [16]byte) error {
		a.NoDialBack(other.id, ticket)
		go func() { _ = b.DialBack(t.Context(), a.id, a.Candidates(), link.ServiceP2P, ticket) }()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	echo(t, c)
}

func TestCandidates(t *testing.T) {
	n := newNode(t, func(o *link.Options) {
		o.Listen = nil
		o.Advertise = []string{"nas.example.org:4711", "[2001:db8::1]:4711"}
	})
	cands := n.Candidates()
	if cands[0].Kind != link.KindHost || cands[0].HostID == "" || !strings.HasPrefix(cands[0].Addr, "127.0.0.1:") {
		t.Errorf("first candidate is %+v", cands[0])
	}
	statics := 0
	for i, c := range cands {
		if i > 0 && c.Priority > cands[i-1].Priority {
			t.Error("not in order")
		}
		if _, _, err := net.SplitHostPort(c.Addr); err != nil {
			t.Error(err)
		}
		if c.Kind == link.KindStatic {
			statics++
		}
	}
	if statics != 2 {
		t.Errorf("%d static candidates", statics)
	}
}
