package xmppserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	testDomain = "one.test"
	patience   = 10 * time.Second // for anything a test waits for
)

// harness is a running server with the accounts alice, bob and carol, whose
// passwords are their names and "pw".
type harness struct {
	*Server
	ca   *x509.CertPool
	dir  string
	cert string // directory of certificates
	stop func() // ends the server and waits for that
}

// testAccounts are made once: deriving keys takes long, and longest with the race detector.
var testAccounts = sync.OnceValue(func() accountsFile {
	f := accountsFile{Version: 1, Decoy: make([]byte, 32), Accounts: map[string]credential{}}
	for _, u := range []string{"alice", "bob", "carol"} {
		c := credential{Salt: []byte("salt of " + u), Iterations: 4096}
		var err error
		if c.StoredKey, c.ServerKey, err = c.derive(u + "pw"); err != nil {
			panic(err)
		}
		f.Accounts[u] = c
	}
	return f
})

// start runs a server; change may alter it before.
func start(t testing.TB, change func(*Server)) *harness {
	t.Helper()
	return startIn(t, t.TempDir(), Options{}, change)
}

func startIn(t testing.TB, dir string, o Options, change func(*Server)) *harness {
	t.Helper()
	h := &harness{dir: dir, cert: t.TempDir()}
	cert, ca, err := SelfSigned(h.cert, []string{testDomain, "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	h.ca = x509.NewCertPool()
	h.ca.AppendCertsFromPEM(ca)
	if _, err := os.Stat(filepath.Join(dir, "accounts.json")); err != nil {
		if err := writeJSON(filepath.Join(dir, "accounts.json"), testAccounts()); err != nil {
			t.Fatal(err)
		}
	}
	o.Domain, o.Dir = testDomain, dir
	o.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	o.Listen, o.ListenTLS = "127.0.0.1:0", "127.0.0.1:0"
	h.Server, err = New(o)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(h.Server)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	h.stop = func() {
		cancel()
		select {
		case err, ok := <-done:
			if ok && !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
			close(done)
			done = nil
		case <-time.After(patience):
			t.Error("server does not stop")
		}
	}
	t.Cleanup(func() {
		if done != nil {
			h.stop()
		}
	})
	return h
}

// client is a hand-made XMPP client, which sends and sees every byte.
type client struct {
	t    testing.TB
	raw  net.Conn
	nc   net.Conn
	dec  *xml.Decoder
	full string
	h    uint32 // stanzas received since SM was enabled
	acks bool   // answer <r/>
}

// connect makes a TLS connection, without a stream.
func (h *harness) connect(t testing.TB) *client {
	t.Helper()
	raw, err := net.Dial("tcp", h.TLSAddr())
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, raw: raw, acks: true}
	c.use(tls.Client(raw, &tls.Config{RootCAs: h.ca, ServerName: testDomain, NextProtos: []string{"xmpp-client"}}))
	t.Cleanup(func() { raw.Close() })
	return c
}

func (c *client) use(nc net.Conn) {
	c.nc = nc
	limit(c.t, nc)
	c.dec = xml.NewDecoder(nc)
}

// limit lets a connection fail rather than a test hang.
func limit(t testing.TB, nc net.Conn) {
	t.Helper()
	if err := nc.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
}

// open begins a stream and returns the features.
func (c *client) open() *element {
	c.t.Helper()
	c.send(fmt.Sprintf("<?xml version='1.0'?>\n<stream:stream xmlns='jabber:client' xmlns:stream='%s' to='%s' version='1.0'>\n", nsStream, testDomain))
	for {
		tok, err := c.dec.Token()
		if err != nil {
			c.t.Fatalf("stream header: %v", err)
		}
		if s, ok := tok.(xml.StartElement); ok && s.Name.Local == "stream" {
			break
		}
	}
	return c.next()
}

// auth logs in; it returns false on failure.
func (c *client) auth(user, password string) bool {
	c.t.Helper()
	c.send("<auth xmlns='" + nsSASL + "' mechanism='PLAIN'>" + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)) + "</auth>")
	if c.next().name.Local != "success" {
		return false
	}
	c.dec = xml.NewDecoder(c.nc)
	return true
}

// bind asks for a resource and returns the answer.
func (c *client) bind(resource string) *element {
	c.t.Helper()
	c.send("<iq type='set' id='b'><bind xmlns='" + nsBind + "'><resource>" + resource + "</resource></bind></iq>")
	r := c.next()
	c.full = r.child(nsBind, "bind").child(nsBind, "jid").text()
	return r
}

// login returns a client that is bound.
func (h *harness) login(t testing.TB, user, resource string) *client {
	t.Helper()
	c := h.authenticated(t, user)
	if r := c.bind(resource); c.full != user+"@"+testDomain+"/"+resource {
		t.Fatalf("bind: %s", r.bytes())
	}
	return c
}

func (h *harness) authenticated(t testing.TB, user string) *client {
	t.Helper()
	c := h.connect(t)
	c.open()
	if !c.auth(user, user+"pw") {
		t.Fatal("log in refused")
	}
	c.open()
	return c
}

// online returns a client that is bound, has the roster and is available.
func (h *harness) online(t testing.TB, user, resource string) *client {
	t.Helper()
	c := h.login(t, user, resource)
	c.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>")
	c.until("own presence", func(e *element) bool { return e.name.Local == "presence" && e.get("from") == c.full })
	c.sync()
	return c
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := c.nc.Write([]byte(s)); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// read returns the next element, or why there is none.
func (c *client) read() (*element, error) {
	for {
		tok, err := c.dec.Token()
		if err != nil {
			return nil, err
		}
		start, ok := tok.(xml.StartElement)
		if !ok {
			if _, end := tok.(xml.EndElement); end {
				return nil, errors.New("stream closed")
			}
			continue
		}
		e, err := parseElement(c.dec, start, 0)
		if err != nil {
			return nil, err
		}
		switch {
		case e.is(nsSM, "r"):
			if c.acks {
				fmt.Fprintf(c.nc, "<a xmlns='%s' h='%d'/>", nsSM, c.h)
			}
			continue
		case e.name.Space == nsClient:
			c.h++
		}
		return e, nil
	}
}

func (c *client) next() *element {
	c.t.Helper()
	e, err := c.read()
	if err != nil {
		c.t.Fatalf("%s: nothing more: %v", c.full, err)
	}
	return e
}

// until returns the first element that matches, and drops those before.
func (c *client) until(what string, match func(*element) bool) *element {
	c.t.Helper()
	var seen strings.Builder
	for {
		e, err := c.read()
		if err != nil {
			c.t.Fatalf("%s: no %s: %v; instead:%s", c.full, what, err, &seen)
		}
		if match(e) {
			return e
		}
		fmt.Fprintf(&seen, "\n%s", e.bytes())
	}
}

// sync returns everything that arrives before the answer to a ping: what the
// server did for earlier stanzas, of this client or of clients that synced.
func (c *client) sync() []*element {
	c.t.Helper()
	c.send("<iq type='get' id='sync'><ping xmlns='urn:xmpp:ping'/></iq>")
	var got []*element
	for {
		e := c.next()
		if e.is(nsClient, "iq") && e.get("id") == "sync" {
			return got
		}
		got = append(got, e)
	}
}

// ended returns the condition of the stream error that ends c's stream, "" without one.
func (c *client) ended() string {
	c.t.Helper()
	for {
		e, err := c.read()
		if err != nil {
			return ""
		}
		if e.is(nsStream, "error") {
			return e.children()[0].name.Local
		}
	}
}

// cut breaks the connection without a word.
func (c *client) cut() { c.raw.Close() }

func message(id, body string) func(*element) bool {
	return func(e *element) bool {
		return e.is(nsClient, "message") && (id == "" || e.get("id") == id) && (body == "" || e.child(nsClient, "body").text() == body)
	}
}

func presence(kind, from string) func(*element) bool {
	return func(e *element) bool {
		return e.is(nsClient, "presence") && e.get("type") == kind && e.get("from") == from
	}
}

// befriend subscribes two online clients to each other.
func befriend(a, b *client) {
	a.t.Helper()
	aBare, _, _ := strings.Cut(a.full, "/")
	bBare, _, _ := strings.Cut(b.full, "/")
	a.send("<presence type='subscribe' to='" + bBare + "'/>")
	b.until("request", presence("subscribe", aBare))
	b.send("<presence type='subscribed' to='" + aBare + "'/><presence type='subscribe' to='" + aBare + "'/>")
	a.until("request", presence("subscribe", bBare))
	a.send("<presence type='subscribed' to='" + bBare + "'/>")
	a.sync()
	b.sync()
}

// eventually polls for a condition of the server's state.
func (h *harness) eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		h.mu.Lock()
		ok := cond()
		h.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come to be", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}
