package xmpp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/xmpp/xmpptest"
)

func TestLogin(t *testing.T) {
	s := xmpptest.Start(t)
	for _, direct := range []bool{false, true} {
		name := "STARTTLS"
		if direct {
			name = "direct TLS"
		}
		t.Run(name, func(t *testing.T) {
			jid, password := s.Account(t)
			opt := options(s, jid, password)
			if direct {
				opt.Server, opt.DirectTLS = s.TLSAddr, true
			}
			p := run(t, newClient(t, opt))
			if on := await[Online](p); on.JID != p.full() || on.Resumed {
				t.Errorf("got %+v, want the JID %s, not resumed", on, p.full())
			}
			if r := await[Roster](p); len(r.Items) != 0 {
				t.Errorf("a new account has the roster %v", r.Items)
			}
		})
	}
}

func TestLoginRefused(t *testing.T) {
	s := xmpptest.Start(t)
	jid, password := s.Account(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, test := range []struct {
		name   string
		change func(*Options)
		reason Reason
		text   string
	}{
		{"wrong password", func(o *Options) {
			o.Password = func(context.Context) (string, error) { return password + "x", nil }
		}, ReasonNotAuthorized, "not-authorized"},
		{"unknown account", func(o *Options) { o.JID = "nobody@" + s.Domain }, ReasonNotAuthorized, "not-authorized"},
		{"no password", func(o *Options) {
			o.Password = func(context.Context) (string, error) { return "", errors.New("no such file") }
		}, ReasonPassword, "no such file"},
		{"unknown authority", func(o *Options) { o.RootCAs = x509.NewCertPool() }, ReasonCertificate, "unknown authority"},
		{"unknown authority, direct TLS", func(o *Options) {
			o.RootCAs, o.Server, o.DirectTLS = x509.NewCertPool(), s.TLSAddr, true
		}, ReasonCertificate, "unknown authority"},
		{"certificate of another domain", func(o *Options) {
			o.JID, o.Server, o.DirectTLS = "anna@other.test", s.TLSAddr, true
		}, ReasonCertificate, "other.test"},
		{"domain that is not served", func(o *Options) { o.JID = "anna@other.test" }, ReasonHostUnknown, "host-unknown"},
		{"direct TLS to a STARTTLS port", func(o *Options) { o.DirectTLS = true }, ReasonProtocol, "TLS"},
		{"nobody listens", func(o *Options) { o.Server = closed.Addr().String() }, ReasonNetwork, "refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			opt := options(s, jid, password)
			test.change(&opt)
			p := run(t, newClient(t, opt))
			off := await[Offline](p)
			if off.Reason != test.reason || !strings.Contains(off.Err.Error(), test.text) {
				t.Errorf("got %v: %v, want %v: ...%s...", off.Reason, off.Err, test.reason, test.text)
			}
			if strings.Contains(off.Err.Error(), password) {
				t.Error("the error shows the password")
			}
			if err := p.Send(t.Context(), jid, payload("x")); !errors.Is(err, ErrOffline) {
				t.Errorf("Send returned %v, want ErrOffline", err)
			}
		})
	}
}

// TestDowngrade plays a server that offers no TLS: no password may be tried.
func TestDowngrade(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seen := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, 4096)
		if _, err := conn.Read(buf); err != nil {
			t.Error(err)
		}
		if _, err := io.WriteString(conn, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='arbor.test' id='1' version='1.0'>"+
			"<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism><mechanism>SCRAM-SHA-1</mechanism></mechanisms></stream:features>"); err != nil {
			t.Error(err)
		}
		n, _ := conn.Read(buf)
		seen <- string(buf[:n])
	}()
	p := run(t, newClient(t, Options{
		JID: "anna@arbor.test", Resource: "r", Server: l.Addr().String(),
		Password: func(context.Context) (string, error) { return "secret", nil },
	}))
	off := await[Offline](p)
	if got := <-seen; strings.Contains(got, "<auth") {
		t.Errorf("the client began to log in without TLS: %q", got)
	}
	t.Logf("%v: %v", off.Reason, off.Err)
}

func TestRegister(t *testing.T) {
	s := xmpptest.Start(t)
	name, password := s.Account(t)
	opt := options(s, "new-"+name, password)
	if err := Register(t.Context(), opt, ""); err != nil {
		t.Fatal(err)
	}
	await[Online](run(t, newClient(t, opt)))
	if err := Register(t.Context(), opt, ""); !errors.Is(err, ErrAccountExists) {
		t.Errorf("a second registration returned %v, want ErrAccountExists", err)
	}
	if err := Register(t.Context(), options(s, "newer-"+name, password), "token"); err == nil {
		t.Error("a server without tokens took one")
	}
}

// TestChannelBinding logs in with -PLUS, which ejabberd 23.01 can with TLS 1.2
// only.
func TestChannelBinding(t *testing.T) {
	s := xmpptest.Start(t)
	jid, password := s.Account(t)
	opt := options(s, jid, password)
	var log bytes.Buffer
	opt.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c := newClient(t, opt)
	c.maxTLS = tls.VersionTLS12
	p := run(t, c)
	await[Online](p)
	p.leave()
	if !strings.Contains(log.String(), "SCRAM-SHA-256-PLUS") {
		t.Errorf("logged in without channel binding:\n%s", &log)
	}
	if strings.Contains(log.String(), password) {
		t.Error("the log shows the password")
	}
}

func TestChooseMechanism(t *testing.T) {
	all := []string{"PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "X-OAUTH2"}
	for _, test := range []struct {
		offered, bindings []string
		version           uint16
		want              string
	}{
		{all, nil, tls.VersionTLS13, "SCRAM-SHA-256"},
		{all, []string{"tls-server-end-point"}, tls.VersionTLS13, "SCRAM-SHA-256"},
		{all, []string{"tls-exporter"}, tls.VersionTLS13, "SCRAM-SHA-256-PLUS"},
		{all, nil, tls.VersionTLS12, "SCRAM-SHA-256-PLUS"},
		{all[:3], nil, tls.VersionTLS12, "SCRAM-SHA-1-PLUS"},
		{all[:3], nil, tls.VersionTLS13, "SCRAM-SHA-1"},
		{all[:1], nil, tls.VersionTLS13, ""},
		{nil, nil, tls.VersionTLS13, ""},
	} {
		m, ok := chooseMechanism(test.offered, test.bindings, test.version)
		if m.Name != test.want || ok != (test.want != "") {
			t.Errorf("chooseMechanism(%v, %v, %#x) = %q, want %q", test.offered, test.bindings, test.version, m.Name, test.want)
		}
	}
}

func TestValidChallenge(t *testing.T) {
	for challenge, want := range map[string]bool{
		"r=abc,s=c2FsdA==,i=4096":    true,
		"r=abc,s=c2FsdA==,i=1000000": true,
		"r=abc,s=c2FsdA==,i=1":       false, // the password could be guessed
		"r=abc,s=c2FsdA==,i=9999999": false,
		"r=abc,s=c2FsdA==,i=4096,x":  false, // the sasl package would never return
		"r=abc,s=c2FsdA==,i=":        false,
		"r=abc,s=c2FsdA==":           false,
		"":                           false,
	} {
		if got := validChallenge([]byte(challenge)); got != want {
			t.Errorf("validChallenge(%q) = %v", challenge, got)
		}
	}
}

func TestDiscover(t *testing.T) {
	records := map[string][]*net.SRV{
		"xmpps-client": {{Target: "b.example.", Port: 443}},
		"xmpp-client":  {{Target: "a.example.", Port: 5222}},
	}
	lookup := func(_ context.Context, service, _, name string) (string, []*net.SRV, error) {
		if name != "example" {
			return "", nil, &net.DNSError{IsNotFound: true}
		}
		return "", records[service], nil
	}
	got := discover(t.Context(), "example", lookup)
	if len(got) != 2 || got[0] != (endpoint{"b.example:443", true}) || got[1] != (endpoint{"a.example:5222", false}) {
		t.Errorf("with records: %v", got)
	}
	got = discover(t.Context(), "plain", lookup)
	if len(got) != 2 || got[0] != (endpoint{"plain:5222", false}) || got[1] != (endpoint{"plain:5223", true}) {
		t.Errorf("without records: %v", got)
	}
	records = map[string][]*net.SRV{"xmpps-client": {{Target: "."}}, "xmpp-client": {{Target: "a.example.", Port: 5222}}}
	got = discover(t.Context(), "example", lookup)
	if len(got) != 1 || got[0] != (endpoint{"a.example:5222", false}) {
		t.Errorf("without direct TLS: %v", got)
	}
}

func TestNew(t *testing.T) {
	for jid, want := range map[string]string{
		"anna@arbor.test":     "arbor.test",
		"anna@Bücher.example": "xn--bcher-kva.example",
		"anna@127.0.0.1":      "127.0.0.1",
		"anna@[::1]":          "::1",
	} {
		if c := newClient(t, Options{JID: jid, Resource: "r"}); c.domain != want {
			t.Errorf("the server of %s is %s, want %s", jid, c.domain, want)
		}
	}
	for _, opt := range []Options{
		{JID: "arbor.test", Resource: "r"},
		{JID: "anna@arbor.test/r", Resource: "r"},
		{JID: "@arbor.test", Resource: "r"},
		{JID: "anna@arbor.test"},
		{JID: "anna@arbor.test", Resource: "r", Server: "arbor.test"},
	} {
		if _, err := New(opt); err == nil {
			t.Errorf("New(%+v) succeeded", opt)
		}
	}
}
