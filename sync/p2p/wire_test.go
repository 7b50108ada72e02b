package p2p

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// SocketPair gives the two ends of a connection that buffers, as real ones do.
func SocketPair(t testing.TB) (net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
	})
	return a, b
}

func TestSilenceClosesTheConnection(t *testing.T) {
	a, b := SocketPair(t)
	w := newWire(a, 50*time.Millisecond, Limits{})
	if _, err := w.readMessage(w.silence); !errors.Is(err, ErrSilent) {
		t.Errorf("readMessage: %v", err)
	}
	if _, err := io.ReadAll(b); err != nil {
		t.Errorf("the other side: %v", err)
	}
	if err := w.send(message{verb: verbSuccess}); !errors.Is(err, ErrSilent) {
		t.Errorf("send afterwards: %v", err)
	}
}

// TestUnreadDataClosesTheConnection: a peer that takes nothing is as dead as one that says nothing.
func TestUnreadDataClosesTheConnection(t *testing.T) {
	a, _ := net.Pipe() // buffers nothing
	w := newWire(a, 50*time.Millisecond, Limits{})
	if err := w.sendData(t.Context(), 1<<20, bytes.NewReader(make([]byte, 1<<20))); !errors.Is(err, ErrSilent) {
		t.Errorf("sendData: %v", err)
	}
}

func TestContextClosesTheConnection(t *testing.T) {
	a, b := SocketPair(t)
	w := newWire(a, time.Hour, Limits{})
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer w.under(ctx)()
	begun := make(chan error, 1)
	go func() {
		_, err := w.readMessage(w.silence)
		begun <- err
	}()
	cancel(cause)
	if err := <-begun; !errors.Is(err, cause) {
		t.Errorf("readMessage: %v", err)
	}
	if _, err := io.ReadAll(b); err != nil {
		t.Errorf("the other side: %v", err)
	}
}

func TestLineIsBounded(t *testing.T) {
	a, b := SocketPair(t)
	w := newWire(a, time.Minute, Limits{})
	go func() { _, _ = io.Copy(b, strings.NewReader("ERROR "+strings.Repeat("x", 10*maxLine)+"\n")) }()
	if _, err := w.readMessage(w.silence); !errors.Is(err, ErrProtocol) {
		t.Errorf("readMessage: %v", err)
	}
}

func TestShortSourceEndsTheSession(t *testing.T) {
	a, b := SocketPair(t)
	go func() { _, _ = io.Copy(io.Discard, b) }()
	w := newWire(a, time.Minute, Limits{})
	if err := w.sendData(t.Context(), 100, strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) || w.err() == nil {
		t.Errorf("sendData: %v, session %v", err, w.err())
	}
}

// TestLimit: over a second, two connections that share a limit stay within a twentieth of it, in either direction.
func TestLimit(t *testing.T) {
	const perSecond = 4 << 20
	for _, test := range []struct {
		name     string
		from, to Limits
	}{
		{"up", Limits{Up: NewLimiter(perSecond)}, Limits{}},
		{"down", Limits{}, Limits{Down: NewLimiter(perSecond)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const each = 2 << 20
			done := make(chan error, 4)
			begun := time.Now()
			for range 2 {
				a, b := SocketPair(t)
				from, to := newWire(a, time.Minute, test.from), newWire(b, time.Minute, test.to)
				go func() { done <- from.sendData(t.Context(), each, bytes.NewReader(make([]byte, each))) }()
				go func() {
					m, err := to.readMessage(time.Minute)
					if err == nil {
						_, err = to.readData(t.Context(), m.number, io.Discard)
					}
					done <- err
				}()
			}
			for range 4 {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			// Never faster than asked; slower only by what the machine does meanwhile.
			if took := time.Since(begun); took < 940*time.Millisecond {
				t.Errorf("%d bytes took %v", 2*each, took)
			}
		})
	}
}

func TestLimitMayChange(t *testing.T) {
	l := NewLimiter(1000)
	done := make(chan error, 1)
	go func() { done <- take(t.Context(), l, 10_000_000) }()
	l.SetBurst(1)
	l.SetLimit(rate.Inf)
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("a limit that was lifted still holds")
	}
}
