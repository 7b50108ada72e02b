package xmpp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// timing is how patient a session is. Tests are less so.
type timing struct {
	ack   time.Duration // until the server must have acknowledged
	idle  time.Duration // without a byte from the server until it is asked for one
	write time.Duration // until a write must be done
	leave time.Duration // for a goodbye
	retry time.Duration // the longest pause between attempts
}

var defaultTiming = timing{ack: 10 * time.Second, idle: 90 * time.Second, write: 30 * time.Second, leave: time.Second, retry: 2 * time.Hour}

var (
	errSilent   = errors.New("the server does not answer")
	errStranded = errors.New("the address of the connection is gone")
	errWrite    = errors.New("write to the server")
)

// session serves one connection that is logged in.
type session struct {
	c *Client
	*negotiated
	delivering atomic.Bool // the reader waits for the owner of the events, not for the network
}

// serve runs the session until it breaks or ctx ends.
func (c *Client) serve(ctx context.Context, n *negotiated) error {
	s := &session{c: c, negotiated: n}
	if !c.out.begin(n, newPace(c.opt.Rate, c.opt.Burst, n.managed, time.Now())) {
		n.raw.Close()
		return fmt.Errorf("%w: the server acknowledged what was never sent", errSession)
	}
	defer c.out.end()
	if !n.resumed {
		c.rosterID = newID()
		c.out.request(encodeIQ("get", c.rosterID, "", rosterRequest))
	}

	leaving := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	readDone, writeDone := make(chan struct{}), make(chan struct{})
	running.Go(func() {
		defer close(readDone)
		if err := s.read(ctx); !errors.Is(err, os.ErrDeadlineExceeded) {
			cancel(err)
		}
		if leaving.Err() != nil {
			// Closing what holds unread bytes would take the goodbye back.
			s.conn.budget = math.MaxInt
			_, _ = io.Copy(io.Discard, s.conn) // it ends with the connection, however that does
		}
	})
	running.Go(func() {
		defer close(writeDone)
		err := s.write(ctx)
		if leaving.Err() != nil {
			_ = s.send(goodbye(n.managed, c.handled.Load())) // the connection ends either way
		} else if errors.Is(err, errWrite) && n.raw.SetReadDeadline(time.Now().Add(c.timing.leave)) == nil {
			// What the server said last may tell why.
			<-readDone
		}
		cancel(err)
	})

	<-ctx.Done()
	if leaving.Err() != nil {
		patience, stop := context.WithTimeout(context.Background(), c.timing.leave)
		defer stop()
		for _, done := range []chan struct{}{writeDone, readDone} {
			select {
			case <-done:
			case <-patience.Done():
			}
		}
	}
	// The TCP connection is closed, because closing TLS would write once more, and
	// a write may block.
	n.raw.Close()
	running.Wait()
	return context.Cause(ctx)
}

// read handles what the server sends until the connection breaks.
func (s *session) read(ctx context.Context) error {
	s.conn.budget = s.c.maxStanza
	d, err := newDecoder(s.conn)
	if err != nil {
		return err
	}
	if err := s.deliver(ctx, Online{JID: s.c.session.jid, Resumed: s.resumed}); err != nil {
		return err
	}
	for _, st := range s.early {
		if err := s.handle(ctx, st); err != nil {
			return err
		}
		s.c.handled.Store(0)
	}
	for {
		st, err := readStanza(d)
		if errors.Is(err, errStanzaTooBig) {
			s.c.handled.Add(1) // or it would come again after the resumption
			return err
		}
		if err != nil {
			return fmt.Errorf("read from the server: %w", s.conn.cause(err))
		}
		s.conn.budget = s.c.maxStanza
		if err := s.handle(ctx, st); err != nil {
			return err
		}
	}
}

// deliver hands an event to the owner.
func (s *session) deliver(ctx context.Context, e Event) error {
	s.delivering.Store(true)
	err := s.c.emit(ctx, e)
	s.conn.heard.Store(time.Now().UnixNano())
	s.delivering.Store(false)
	return err
}

// write sends what the outbox holds and watches over the link, until the
// connection breaks or ctx ends.
func (s *session) write(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var batch []byte
	for ctx.Err() == nil {
		now := time.Now()
		var wait time.Duration
		batch, wait = s.c.out.next(batch[:0], now)
		if len(batch) > 0 {
			if err := s.send(batch); err != nil {
				return fmt.Errorf("%w: %w", errWrite, err)
			}
			continue
		}
		watch, err := s.watch(now)
		if err != nil {
			return err
		}
		if wait == 0 || watch < wait {
			wait = watch
		}
		timer.Reset(wait)
		select {
		case <-s.c.out.wake:
		case <-s.c.moved:
			if stranded(s.raw) {
				return errStranded
			}
			s.c.out.probe(time.Now())
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (s *session) send(batch []byte) error {
	slow := time.Duration(len(batch)) * time.Second / defaultRate
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.c.timing.write + slow)); err != nil {
		return err
	}
	_, err := s.conn.Write(batch)
	return err
}

// watch finds out whether the link is dead, and returns the time until it must
// be called again. A link that says nothing for long is asked.
func (s *session) watch(now time.Time) (time.Duration, error) {
	if s.delivering.Load() {
		return s.c.timing.ack, nil
	}
	if deadline, asked := s.c.out.overdue(s.c.timing.ack); asked {
		// What came late because the owner of the events was slow is no sign of death.
		if heard := time.Unix(0, s.conn.heard.Load()).Add(s.c.timing.ack); heard.After(deadline) {
			deadline = heard
		}
		if !now.Before(deadline) {
			return 0, fmt.Errorf("%w: no acknowledgement", errSilent)
		}
		return deadline.Sub(now), nil
	}
	idle := now.Sub(time.Unix(0, s.conn.heard.Load()))
	if idle < s.c.timing.idle {
		return s.c.timing.idle - idle, nil
	}
	s.c.out.probe(now)
	return 0, nil
}
