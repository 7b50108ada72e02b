package link_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/link"
)

// What scanners and broken programs do gets nothing, and stops nothing.
func TestHostileClients(t *testing.T) {
	a, b := friends(t)
	_, own, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name := serverNameOf(t, a, b)
	handshake := func(c *tls.Config) func(*testing.T, net.Conn) {
		return func(t *testing.T, raw net.Conn) {
			c.InsecureSkipVerify = true
			tc := tls.Client(raw, c)
			if err := tc.Handshake(); err != nil {
				return
			}
			_, _ = tc.Write(make([]byte, 17))
			var answer [1]byte
			if n, err := tc.Read(answer[:]); err == nil {
				t.Errorf("%d bytes of answer: %d", n, answer[0])
			}
		}
	}
	send := func(b string) func(*testing.T, net.Conn) {
		return func(t *testing.T, c net.Conn) { _, _ = io.WriteString(c, b) }
	}
	tests := map[string]func(*testing.T, net.Conn){
		"nothing":          func(t *testing.T, c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() },
		"garbage":          send(strings.Repeat("garbage", 1000)),
		"http":             send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"half a record":    send("\x16\x03\x01\x40\x00\x01"),
		"no name":          handshake(&tls.Config{NextProtos: []string{link.ServiceP2P}, Certificates: []tls.Certificate{a.cert(t)}}),
		"wrong name":       handshake(&tls.Config{ServerName: "example.org", NextProtos: []string{link.ServiceP2P}, Certificates: []tls.Certificate{a.cert(t)}}),
		"no service":       handshake(&tls.Config{ServerName: name, Certificates: []tls.Certificate{a.cert(t)}}),
		"unknown service":  handshake(&tls.Config{ServerName: name, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{a.cert(t)}}),
		"TLS 1.2":          handshake(&tls.Config{ServerName: name, NextProtos: []string{link.ServiceP2P}, MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{a.cert(t)}}),
		"no certificate":   handshake(&tls.Config{ServerName: name, NextProtos: []string{link.ServiceP2P}}),
		"own certificate":  handshake(&tls.Config{ServerName: name, NextProtos: []string{link.ServiceP2P}, Certificates: []tls.Certificate{selfSigned(t, own, own.Public())}}),
		"two certificates": handshake(&tls.Config{ServerName: name, NextProtos: []string{link.ServiceP2P}, Certificates: []tls.Certificate{twice(a.cert(t))}}),
		// The trusted device's key in a certificate that somebody else signs with.
		"copied key": handshake(&tls.Config{ServerName: name, NextProtos: []string{link.ServiceP2P}, Certificates: []tls.Certificate{selfSigned(t, own, a.device.PrivateKey().Public())}}),
	}
	for what, do := range tests {
		t.Run(what, func(t *testing.T) {
			c, err := net.Dial("tcp", b.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			do(t, c)
			if strings.Contains(what, "half") {
				return
			}
			ended(t, c)
		})
	}
	if len(b.served) != 0 {
		t.Error("somebody was served")
	}
	echo(t, dial(t, a, b))
}

func selfSigned(t *testing.T, key ed25519.PrivateKey, public any) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func twice(c tls.Certificate) tls.Certificate {
	c.Certificate = append(c.Certificate, c.Certificate[0])
	return c
}

// serverNameOf listens in the place of to and returns the name that from asks for.
func serverNameOf(t *testing.T, from, to *node) string {
	t.Helper()
	names := make(chan string, 1)
	addr := listen(t, func(c net.Conn) {
		_ = tls.Server(c, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			names <- h.ServerName
			return nil, errors.New("no")
		}}).Handshake()
	})
	if _, err := from.Dial(t.Context(), to.id, at(addr), link.ServiceP2P, nil); err == nil {
		t.Fatal("linked with an impostor")
	}
	return <-names
}

func TestWrongPin(t *testing.T) {
	a, b := friends(t)
	third := newNode(t)
	third.trust(a.id, true)
	if _, err := a.Dial(t.Context(), b.id, third.Candidates(), link.ServiceP2P, nil); !errors.Is(err, link.ErrRefused) {
		t.Errorf("another node answers: %v", err)
	}
	impostor := listen(t, func(c net.Conn) {
		tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{third.cert(t)}, NextProtos: []string{link.ServiceP2P}, ClientAuth: tls.RequireAnyClientCert})
		if tc.Handshake() == nil {
			_, _ = io.Copy(io.Discard, tc)
		}
	})
	if _, err := a.Dial(t.Context(), b.id, at(impostor), link.ServiceP2P, nil); !errors.Is(err, link.ErrWrongPeer) {
		t.Errorf("an impostor answers: %v", err)
	}
}

// Connections that never finish their handshake are held in large numbers; a peer
// links all the same.
func TestSlowLoris(t *testing.T) {
	a, b := friends(t)
	var held []net.Conn
	for range 100 {
		c, err := net.Dial("tcp", b.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "\x16\x03\x01"); err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	echo(t, dial(t, a, b))
	ended(t, held[0]) // the oldest made room
}

// What comes after the handshake is for the service; a link that is cut or spoilt in
// the middle ends for the handler.
func TestGarbageAfterHandshake(t *testing.T) {
	a, b := friends(t)
	relay := make(chan net.Conn, 1)
	proxy := listen(t, func(c net.Conn) {
		up, err := net.Dial("tcp", b.addr())
		if err != nil {
			return
		}
		defer up.Close()
		relay <- up
		go func() { _, _ = io.Copy(c, up) }()
		_, _ = io.Copy(up, c)
	})
	c, err := a.Dial(t.Context(), b.id, at(proxy), link.ServiceP2P, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	echo(t, c)
	s := <-b.served
	if _, err := io.WriteString(<-relay, strings.Repeat("garbage", 10)); err != nil {
		t.Fatal(err)
	}
	ended(t, c)
	poll(t, func() bool { return s.SetDeadline(time.Now()) != nil })
}
