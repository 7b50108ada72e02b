package xmpp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/stream"
)

func TestClassify(t *testing.T) {
	for _, test := range []struct {
		err  error
		want Reason
	}{
		{io.ErrUnexpectedEOF, ReasonNetwork},
		{context.DeadlineExceeded, ReasonNetwork},
		{errSilent, ReasonNetwork},
		{&passwordError{io.EOF}, ReasonPassword},
		{&tls.CertificateVerificationError{Err: io.EOF}, ReasonCertificate},
		{tls.RecordHeaderError{}, ReasonProtocol},
		{errNoMechanism, ReasonProtocol},
		{&saslFailure{Condition: "not-authorized"}, ReasonNotAuthorized},
		{&saslFailure{Condition: "account-disabled"}, ReasonNotAuthorized},
		{&saslFailure{Condition: "temporary-auth-failure"}, ReasonBusy},
		{&saslFailure{Condition: "malformed-request"}, ReasonProtocol},
		{&streamError{Condition: "system-shutdown"}, ReasonShutdown},
		{&streamError{Condition: "conflict"}, ReasonConflict},
		{&streamError{Condition: "policy-violation"}, ReasonPolicyViolation},
		{&streamError{Condition: "host-gone"}, ReasonHostUnknown},
		{&streamError{Condition: "resource-constraint"}, ReasonBusy},
		{&streamError{Condition: "invalid-xml"}, ReasonProtocol},
		{stream.HostUnknown, ReasonHostUnknown},
		{stream.SystemShutdown, ReasonShutdown},
	} {
		if got := classify(fmt.Errorf("connect: %w", test.err)); got != test.want {
			t.Errorf("classify(%v) = %v, want %v", test.err, got, test.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	for _, test := range []struct {
		reason      Reason
		first, most time.Duration // the first pause is at least, every one at most
	}{
		{ReasonNetwork, 0, time.Minute},
		{ReasonShutdown, 500 * time.Millisecond, time.Minute},
		{ReasonBusy, time.Second, time.Minute},
		{ReasonNotAuthorized, 2 * time.Hour, 2 * time.Hour},
		{ReasonConflict, time.Minute, 38 * time.Minute},
		{ReasonPolicyViolation, 10 * time.Second, 13 * time.Minute},
		{ReasonHostUnknown, time.Minute, 13 * time.Minute},
		{ReasonCertificate, time.Minute, 13 * time.Minute},
		{ReasonProtocol, time.Minute, 13 * time.Minute},
		{ReasonPassword, time.Minute, 13 * time.Minute},
	} {
		var b backoff
		for i := range 100 {
			got := b.next(test.reason, time.Second)
			if i == 0 && got < test.first || got > test.most {
				t.Errorf("%v: pause %d is %v", test.reason, i, got)
			}
		}
		if test.reason == ReasonConflict {
			if got := b.next(test.reason, time.Second); got < 30*time.Minute {
				t.Errorf("after 100 conflicts the pause is %v", got)
			}
		}
		if got, again := b.next(test.reason, steadyAfter), (&backoff{}).next(test.reason, 0); got > 5*again+5*time.Second {
			t.Errorf("%v: after a steady session the pause is %v", test.reason, got)
		}
	}
}

// TestReconnectsForEver: the server is gone for an hour.
func TestReconnectsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []time.Time
		c := newClient(t, Options{
			JID: "anna@arbor.test", Resource: "r", Server: "arbor.test:5222",
			Password: func(context.Context) (string, error) { return "x", nil },
			Dial: func(context.Context, string, string) (net.Conn, error) {
				attempts = append(attempts, time.Now())
				return nil, errors.New("no route to host")
			},
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		for e := range c.Events() {
			if off, ok := e.(Offline); !ok || off.Reason != ReasonNetwork || off.Retry > time.Minute {
				t.Errorf("got %+v", e)
			}
		}
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returned %v", err)
		}
		// Full jitter makes the pauses half a minute long on average.
		if n := len(attempts); n < 70 || n > 250 {
			t.Errorf("%d attempts in an hour", n)
		}
		if pause := attempts[1].Sub(attempts[0]); pause != 0 {
			t.Errorf("the first retry came after %v", pause)
		}
	})
}

// TestRedirect follows see-other-host once, and not in circles.
func TestRedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var addresses []string
		c := newClient(t, Options{
			JID: "anna@arbor.test", Resource: "r", Server: "one:5222",
			Password: func(context.Context) (string, error) { return "x", nil },
			Dial: func(_ context.Context, _, address string) (net.Conn, error) {
				addresses = append(addresses, address)
				ours, theirs := net.Pipe()
				go func() {
					defer theirs.Close()
					// A client that gives up meanwhile is told by the attempts counted below.
					_, _ = theirs.Read(make([]byte, 4096))
					_, _ = io.WriteString(theirs, "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='arbor.test' id='1' version='1.0'>"+
						"<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>two</see-other-host></stream:error></stream:stream>")
				}()
				return ours, nil
			},
		})
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		for e := range c.Events() {
			if off := e.(Offline); off.Reason != ReasonBusy {
				t.Errorf("got %v: %v", off.Reason, off.Err)
			}
		}
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returned %v", err)
		}
		if len(addresses) < 4 {
			t.Fatalf("dialled only %v", addresses)
		}
		for i, a := range addresses {
			if want := []string{"one:5222", "two:5222"}[i%2]; a != want {
				t.Errorf("attempt %d went to %s, want %s", i, a, want)
			}
		}
	})
}
