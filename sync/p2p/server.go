package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
)

// DefaultIdle is how long a session is kept that asks nothing.
const DefaultIdle = 10 * time.Minute

// retention is how long content stays locked for a client whose session broke, from version 3 on, as git-annex keeps it.
const retention = 10 * time.Minute

// maxAuth bounds how often a client may try to authenticate.
const maxAuth = 3

// Server serves one clone to authenticated clients. Its fields must not change while it serves; the functions may be
// called by many goroutines at once.
type Server struct {
	UUID     string      // the clone's
	Annex    *annex.Repo // nil: a clone without git-annex, which has no content
	Arrivals *Arrivals   // contents that are still being received, to be passed on meanwhile; nil: none is
	ReadOnly bool        // PUT, REMOVE and git-receive-pack are refused

	// Upload and Receive serve git-upload-pack and git-receive-pack on conn; nil refuses. They return when the service has
	// ended, and close conn before they wait for anything that may still read it. ctx ends with the session.
	Upload, Receive func(ctx context.Context, conn io.ReadWriteCloser) error

	// Stored is told of content that a client has put, when it is proven and in place; nil: nobody is. Recording its
	// location, which the protocol makes the server's task, is done there; after an error the client is told to try again.
	Stored func(ctx context.Context, key annex.Key, client string) error

	// Sent is told of content that a client is being sent: at most ten times a second for each, and when it has ended. What is
	// over in a tenth of a second is not told. It must not block. Nil: nobody is told.
	Sent func(Sent)

	// Remove decides on and does the removal of content that is here; nil refuses. The protocol has no safety of its own:
	// whoever may connect could remove the last copy. inTime must be asked last, under the lock for removal, and the content
	// kept when it says no. To have kept the content is an error.
	Remove func(ctx context.Context, key annex.Key, client string, inTime func() bool) error

	Silence time.Duration // how long a client may stall within a request; 0 is DefaultSilence
	Idle    time.Duration // how long it may be quiet between requests; 0 is DefaultIdle
	Limits  Limits
	Log     *slog.Logger // required
}

// AuthOptions bound a session before it is known whose it is.
type AuthOptions struct {
	Silence time.Duration // 0 is DefaultSilence
	Limits  Limits        // of the session; the Server's own are not used
}

// ServeAuth serves a client that has yet to authenticate: it says who it is and a token, on a link the id of the clone
// it wants, and choose gives the server for these; an error refuses, and is not told to the client. ServeAuth owns the
// connection and closes it. It returns nil when the client has closed the session in order.
func ServeAuth(ctx context.Context, conn io.ReadWriteCloser, o AuthOptions, choose func(client, token string) (*Server, error)) error {
	w := newWire(conn, o.Silence, o.Limits)
	defer w.close(ErrClosed)
	defer w.under(ctx)()
	for range maxAuth {
		m, err := w.readMessage(w.silence)
		switch {
		case errors.Is(err, errUnknownMessage):
			err = w.send(message{verb: verbError, text: "unknown command"})
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
		case m.verb == verbError:
			return &RemoteError{m.text}
		case m.verb != verbAuth:
			err = w.send(message{verb: verbError, text: "unexpected command"})
		default:
			s, refused := choose(m.words[0], m.words[1])
			if refused == nil {
				return s.serve(ctx, w, m.words[0])
			}
			err = w.send(message{verb: verbAuthFailure})
		}
		if err != nil {
			return fmt.Errorf("authenticate P2P client: %w", err)
		}
	}
	return fmt.Errorf("authenticate P2P client: %w", ErrRefused)
}

// ServeAuthed serves a client that was authenticated in another way, as git-annex-shell p2pstdio does, where ssh has done
// it. It owns the connection and closes it, and returns nil when the client has closed the session in order.
func (s *Server) ServeAuthed(ctx context.Context, conn io.ReadWriteCloser, client string) error {
	w := newWire(conn, s.Silence, s.Limits)
	defer w.close(ErrClosed)
	defer w.under(ctx)()
	return s.serve(ctx, w, client)
}

// session is one client's.
type session struct {
	*Server
	w       *wire
	client  string
	version int64
	log     *slog.Logger
}

// errDone ends a session in order.
var errDone = errors.New("session done")

func (s *Server) serve(ctx context.Context, w *wire, client string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(ErrClosed)
	if err := w.send(message{verb: verbAuthSuccess, words: []string{s.UUID}}); err != nil {
		return fmt.Errorf("serve P2P client: %w", err)
	}
	idle := s.Idle
	if idle <= 0 {
		idle = DefaultIdle
	}
	ss := &session{Server: s, w: w, client: client, log: s.Log.With("client", client)}
	for {
		m, err := w.readMessage(idle)
		switch {
		case errors.Is(err, errUnknownMessage):
			err = ss.refuse("unknown command")
		case errors.Is(err, io.EOF):
			return nil
		case err == nil:
			err = ss.handle(ctx, m)
		}
		if errors.Is(err, errDone) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve P2P client: %w", err)
		}
	}
}

// refuse answers a request that is not done; the session goes on.
func (s *session) refuse(text string) error {
	return s.w.send(message{verb: verbError, text: text})
}

func (s *session) success(ok bool) error {
	if ok {
		return s.w.send(message{verb: verbSuccess})
	}
	return s.w.send(message{verb: verbFailure})
}

// handle does one request. An error ends the session.
func (s *session) handle(ctx context.Context, m message) error {
	switch m.verb {
	case verbError:
		// Nobody knows in which state the client is.
		return &RemoteError{m.text}
	case verbVersion:
		s.version = min(m.number, MaxVersion)
		return s.w.send(message{verb: verbVersion, number: s.version})
	case verbBypass:
		return nil // this is no gateway of a cluster
	case verbCheckPresent:
		return s.success(s.Annex != nil && s.Annex.Has(m.key))
	case verbLockContent:
		return s.lock(ctx, m.key)
	case verbGet:
		return s.get(ctx, m)
	case verbPut:
		return s.put(ctx, m)
	case verbBlocks:
		return s.blocks(ctx, m)
	case verbRemove:
		return s.remove(ctx, m.key, func() bool { return true })
	case verbRemoveBefore:
		return s.remove(ctx, m.key, func() bool { return timestamp() < m.number })
	case verbGetTimestamp:
		return s.w.send(message{verb: verbTimestamp, number: timestamp()})
	case verbConnect:
		return s.connect(ctx, m.words[0])
	case verbNotifyChange:
		return s.refuse("change notification not available")
	}
	return s.refuse("unexpected command")
}

// What git-annex says of such repositories, word for word: clients know it.
const (
	textReadOnly   = "this repository is read-only; write access denied"
	textAppendOnly = "this repository is append-only; removal denied"
)

func (s *session) remove(ctx context.Context, key annex.Key, inTime func() bool) error {
	switch {
	case s.ReadOnly:
		return s.refuse(textReadOnly)
	case s.Remove == nil:
		return s.refuse(textAppendOnly)
	case s.Annex == nil || !s.Annex.Has(key):
		return s.success(true) // as git-annex: it is gone
	}
	err := s.Remove(ctx, key, s.client, inTime)
	if err != nil {
		s.log.Info("content was not removed", "key", key, "err", err)
	}
	return s.success(err == nil)
}

// lock holds the content until the client lets go.
func (s *session) lock(ctx context.Context, key annex.Key) error {
	keep := time.Duration(0)
	if s.version >= 3 {
		keep = retention
	}
	var promise *annex.Promise
	var held bool
	if s.Annex != nil {
		var err error
		if promise, held, err = s.Annex.PromiseContent(ctx, key, keep); err != nil {
			s.log.Warn("content cannot be locked", "key", key, "err", err)
		}
	}
	if !held {
		return s.success(false)
	}
	defer promise.Release()
	since := time.Now()
	if err := s.success(true); err != nil {
		return err
	}
	m, err := s.w.readMessage(retention)
	switch {
	case errors.Is(err, errUnknownMessage) || err == nil && m.verb != verbUnlockContent:
		return s.refuse("expected UNLOCKCONTENT")
	case err != nil:
		if s.version >= 3 {
			// The client may be removing another copy at this moment, trusting in this one.
			s.w.close(err)
			if !wait(ctx, retention-time.Since(since)) {
				promise.Leave()
			}
		}
		if errors.Is(err, io.EOF) {
			return errDone
		}
		return err
	}
	return nil
}

// wait lets time pass, or ctx end: then it is false.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
