package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// The services that CONNECT names.
const (
	UploadPack  = "git-upload-pack"
	ReceivePack = "git-receive-pack"
)

// maxFrame bounds the bytes of one DATA message of a service that are sent from here.
const maxFrame = 64 << 10

// quietFactor makes the silence that is allowed while a service runs longer than elsewhere: git thinks.
const quietFactor = 5

// Connect turns the session into a connection to the service on the server: bytes written go to it, and bytes read come
// from it, until io.EOF when the service has ended well. Reading and writing may go on at once. The session takes
// nothing else afterwards; closing the connection, or the end of ctx, ends it.
func (c *Client) Connect(ctx context.Context, service string) (io.ReadWriteCloser, error) {
	if err := c.ready(); err != nil {
		return nil, err
	}
	s := newStream(ctx, c.w)
	if err := c.w.send(message{verb: verbConnect, words: []string{service}}); err != nil {
		s.stop()
		return nil, fmt.Errorf("connect to %s: %w", service, err)
	}
	c.held = true
	return s, nil
}

// stream carries a service's bytes in DATA messages, in both directions at once.
type stream struct {
	ctx  context.Context //nolint:containedctx // Read and Write are io's, and wait for rate limits
	stop func() bool     // ends the watch on ctx
	w    *wire

	reading sync.Mutex
	left    int64 // bytes of the current DATA message still to read
	ended   error // what Read returns from now on: io.EOF after CONNECTDONE 0

	writing sync.Mutex
}

func newStream(ctx context.Context, w *wire) *stream {
	return &stream{ctx: ctx, stop: w.under(ctx), w: w}
}

func (s *stream) Read(p []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	for s.left == 0 {
		if s.ended != nil {
			return 0, s.ended
		}
		if s.ended = s.next(); s.ended != nil {
			return 0, s.ended
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	k := slice(s.w.limits.Down, int(min(int64(len(p)), s.left)))
	s.w.reading.Reset(quietFactor * s.w.silence)
	n, err := s.w.r.Read(p[:k])
	s.w.reading.Stop()
	s.left -= int64(n)
	if err != nil {
		return n, s.w.fail("read from the service", err)
	}
	s.postpone(s.w.writing)
	return n, take(s.ctx, s.w.limits.Down, n)
}

// next reads the message before the next bytes.
func (s *stream) next() error {
	m, err := s.w.readMessage(quietFactor * s.w.silence)
	switch {
	case err != nil && !errors.Is(err, errUnknownMessage):
		return err
	case m.verb == verbData:
		s.left = m.number
		return nil
	case m.verb == verbConnectDone && m.number == 0:
		return io.EOF
	case m.verb == verbConnectDone:
		return fmt.Errorf("the service ended with exit code %d", m.number)
	case m.verb == verbError:
		return &RemoteError{m.text}
	}
	_ = s.send(message{verb: verbError, text: "expected DATA or CONNECTDONE"})
	return s.w.breach("%q instead of DATA or CONNECTDONE", m.verb)
}

func (s *stream) send(m message) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.w.send(m)
}

func (s *stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	var done int
	for done < len(p) {
		k := slice(s.w.limits.Up, min(len(p)-done, maxFrame))
		if err := take(s.ctx, s.w.limits.Up, k); err != nil {
			return done, err
		}
		s.w.line = message{verb: verbData, number: int64(k)}.appendTo(s.w.line[:0])
		s.w.writing.Reset(quietFactor * s.w.silence)
		_, err := s.w.w.Write(s.w.line)
		if err == nil {
			_, err = s.w.w.Write(p[done : done+k])
		}
		if err == nil {
			err = s.w.w.Flush()
		}
		s.w.writing.Stop()
		if err != nil {
			return done, s.w.fail("write to the service", err)
		}
		s.postpone(s.w.reading)
		done += k
	}
	return done, nil
}

// postpone moves the deadline of the other direction when this one makes progress: a peer that takes a large pack has
// nothing to say meanwhile.
func (s *stream) postpone(deadline *time.Timer) {
	if deadline.Stop() {
		deadline.Reset(quietFactor * s.w.silence)
	}
}

// Close ends the service, if it has not ended, and the session.
func (s *stream) Close() error {
	defer s.stop()
	// While a write is under way there is no place for a message: closing then says it all.
	if s.w.err() == nil && s.writing.TryLock() {
		_ = s.w.send(message{verb: verbConnectDone})
		s.writing.Unlock()
	}
	s.w.close(ErrClosed)
	return nil
}
