package xmpp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/git-arbor/arbor/xmpp/xmppserver"
	"github.com/git-arbor/arbor/xmpp/xmpptest"
)

// embedded runs the server of `git arbor serve`, and stops it with the test.
// Where says which addresses it had before, and "" the first time.
func embedded(t *testing.T, dir string, where ...string) (s *xmppserver.Server, roots *x509.CertPool, stop func()) {
	t.Helper()
	cert, pem, err := xmppserver.SelfSigned(dir, []string{"home.test"})
	if err != nil {
		t.Fatal(err)
	}
	where = append(where, "127.0.0.1:0", "127.0.0.1:0")
	s, err = xmppserver.New(xmppserver.Options{
		Domain: "home.test", Dir: dir, TLS: &tls.Config{Certificates: []tls.Certificate{cert}},
		Listen: where[0], ListenTLS: where[1], RegisterToken: "open sesame",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("the server's Run returned %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return s, roots, stop
}

// TestEmbeddedServer: the client and our own server understand each other.
func TestEmbeddedServer(t *testing.T) {
	dir := t.TempDir()
	s, roots, stop := embedded(t, dir)
	proxy := xmpptest.NewProxy(t, s.Addr())
	member := func(name, server string, direct bool) *peer {
		opt := Options{
			JID: name + "@home.test", Resource: "arbor-test", Server: server, DirectTLS: direct, RootCAs: roots,
			Password: func(context.Context) (string, error) { return "secret of " + name, nil },
		}
		var refused *Refused
		if err := Register(t.Context(), opt, ""); !errors.As(err, &refused) {
			t.Fatalf("without the token: %v", err)
		}
		if err := Register(t.Context(), opt, "open sesame"); err != nil {
			t.Fatal(err)
		}
		c := newClient(t, opt)
		c.timing.ack, c.timing.retry = 500*time.Millisecond, time.Second
		p := run(t, c)
		await[Online](p)
		return p
	}
	anna, bert := member("anna", proxy.Addr, false), member("bert", s.TLSAddr(), true)

	available(bert, anna)
	if err := anna.Greet(t.Context(), bert.bare(), []Payload{payload("hello")}); err != nil {
		t.Fatal(err)
	}
	await(bert, from(anna), carries("hello"))
	if err := bert.Subscribe(t.Context(), anna.bare(), "token"); err != nil {
		t.Fatal(err)
	}
	if r := await[SubscribeRequest](anna); r.From != bert.bare() || r.Token != "token" {
		t.Errorf("got %+v", r)
	}
	if err := errors.Join(anna.Approve(t.Context(), bert.bare()), anna.Subscribe(t.Context(), bert.bare(), "")); err != nil {
		t.Fatal(err)
	}
	await[SubscribeRequest](bert)
	if err := bert.Approve(t.Context(), anna.bare()); err != nil {
		t.Fatal(err)
	}
	both := func(r Roster) bool { return len(r.Items) == 1 && r.Items[0].Subscription == "both" }
	await(anna, both)
	await(bert, both)
	anna.announce("value")
	await(bert, from(anna), carries("value"))

	// A silent link is resumed, and what was sent into it arrives.
	proxy.BlackHole(true)
	if err := errors.Join(
		anna.Send(t.Context(), bert.full(), payload("from the hole")),
		bert.Send(t.Context(), anna.full(), payload("into the hole")),
	); err != nil {
		t.Fatal(err)
	}
	await[Offline](anna)
	proxy.BlackHole(false)
	if on := await[Online](anna); !on.Resumed {
		t.Error("the session was not resumed")
	}
	await(anna, message("into the hole"))
	await(bert, message("from the hole"))

	// After a restart all is as it was.
	plain, direct := s.Addr(), s.TLSAddr()
	stop()
	if off := await[Offline](bert); off.Reason != ReasonShutdown {
		t.Errorf("a shutdown is %v: %v", off.Reason, off.Err)
	}
	embedded(t, dir, plain, direct)
	await[Online](bert)
	await(bert, from(anna), carries("value"))
}
