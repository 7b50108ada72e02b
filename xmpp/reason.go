package xmpp

import (
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"time"

	"mellium.im/xmpp/stream"
)

// Reason says why there is no session, in so far as it decides what to do.
type Reason int

// The reasons, each with what the client does about it.
const (
	ReasonNetwork         Reason = iota // no connection, or it broke: at once, then up to 1 s doubling to 60 s
	ReasonShutdown                      // the server restarts: within 5 s, so that not all return at once, then as network
	ReasonBusy                          // the server cannot serve us now: as network, but never at once
	ReasonNotAuthorized                 // wrong account or password: every two hours, for each failure counts towards a ban
	ReasonConflict                      // another machine uses the same resource: a minute, doubling to half an hour
	ReasonPolicyViolation               // kicked or refused: 10 s, doubling to 10 minutes
	ReasonHostUnknown                   // the server does not serve the domain: a minute, doubling to 10 minutes
	ReasonCertificate                   // the certificate is not to be trusted: as host unknown
	ReasonProtocol                      // no TLS, no SCRAM, no XMPP: as host unknown
	ReasonPassword                      // Options.Password failed: as host unknown
)

// String returns the word for status and logs.
func (r Reason) String() string {
	words := [...]string{"network", "shutdown", "busy", "not-authorized", "conflict", "policy-violation", "host-unknown", "certificate", "protocol", "password"}
	if r < 0 || int(r) >= len(words) {
		return "unknown"
	}
	return words[r]
}

// passwordError is a failure of Options.Password.
type passwordError struct{ err error }

func (e *passwordError) Error() string { return "get the password: " + e.err.Error() }
func (e *passwordError) Unwrap() error { return e.err }

// errSession marks errors that a new session cannot repeat: the old one must not
// be resumed.
var errSession = errors.New("the session cannot go on")

// classify finds the reason of an error from connecting or serving.
func classify(err error) Reason {
	var (
		password    *passwordError
		certificate *tls.CertificateVerificationError
		failure     *saslFailure
		record      tls.RecordHeaderError
		alert       tls.AlertError
	)
	if e, ok := asStreamError(err); ok {
		return classifyStream(e.Condition)
	}
	switch {
	case errors.As(err, &password):
		return ReasonPassword
	case errors.As(err, &certificate):
		return ReasonCertificate
	case errors.As(err, &failure):
		switch failure.Condition {
		case "temporary-auth-failure":
			return ReasonBusy
		case "not-authorized", "account-disabled", "credentials-expired", "invalid-authzid":
			return ReasonNotAuthorized
		}
		return ReasonProtocol
	case errors.As(err, &record), errors.As(err, &alert), errors.Is(err, errNoMechanism), errors.Is(err, errBadChallenge):
		return ReasonProtocol
	}
	return ReasonNetwork
}

// classifyStream finds the reason of a condition of RFC 6120 §4.9.3.
func classifyStream(condition string) Reason {
	switch condition {
	case "system-shutdown", "reset":
		return ReasonShutdown
	case "conflict":
		return ReasonConflict
	case "policy-violation", "not-authorized":
		return ReasonPolicyViolation
	case "host-unknown", "host-gone", "improper-addressing":
		return ReasonHostUnknown
	case "connection-timeout", "internal-server-error", "remote-connection-failed", "resource-constraint", "undefined-condition", "see-other-host":
		return ReasonBusy
	}
	return ReasonProtocol
}

// asStreamError finds the server's stream error, from the negotiation or from
// the session.
func asStreamError(err error) (*streamError, bool) {
	if own, ok := errors.AsType[*streamError](err); ok {
		return own, true
	}
	var negotiation stream.Error
	if !errors.As(err, &negotiation) {
		return nil, false
	}
	e := &streamError{Condition: negotiation.Err, Host: negotiation.Content}
	if len(negotiation.Text) > 0 {
		e.Text = negotiation.Text[0].Value
	}
	return e, true
}

// steadyAfter is how long a session lives until its end is a new failure and not
// another one of the same kind.
const steadyAfter = 30 * time.Second

// backoff finds the time until the next attempt.
type backoff struct {
	reason   Reason
	failures int // for the same reason, without a steady session between them
}

// next is called after each failure with how long the session lived, 0 if there
// was none.
func (b *backoff) next(reason Reason, lived time.Duration) time.Duration {
	if reason != b.reason || lived >= steadyAfter {
		b.failures = 0
	}
	b.reason = reason
	n := b.failures
	b.failures++
	switch reason {
	case ReasonNetwork:
		if n == 0 {
			return 0
		}
		return jitter(0, doubled(time.Second, n-1, time.Minute))
	case ReasonShutdown:
		return jitter(500*time.Millisecond, doubled(5*time.Second, n, time.Minute))
	case ReasonBusy:
		return jitter(time.Second, doubled(5*time.Second, n, time.Minute))
	case ReasonNotAuthorized:
		return 2 * time.Hour
	case ReasonConflict:
		d := doubled(time.Minute, n, 30*time.Minute)
		return jitter(d, d+d/4)
	case ReasonPolicyViolation:
		d := doubled(10*time.Second, n, 10*time.Minute)
		return jitter(d, d+d/4)
	default:
		d := doubled(time.Minute, n, 10*time.Minute)
		return jitter(d, d+d/4)
	}
}

// doubled is d doubled n times, at most limit.
func doubled(d time.Duration, n int, limit time.Duration) time.Duration {
	for ; n > 0 && d < limit; n-- {
		d *= 2
	}
	return min(d, limit)
}

// jitter is a random time between low and high, so that clients which were cut
// off together do not return together.
func jitter(low, high time.Duration) time.Duration {
	return low + time.Duration(rand.Float64()*float64(high-low))
}
