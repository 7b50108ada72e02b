package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// DefaultSilence is how long a peer may say nothing where it has to say something, and how long it may take nothing of
// what is sent to it.
const DefaultSilence = 60 * time.Second

const (
	bufferSize = 256 << 10 // of content, between file and connection
	writeSize  = 64 << 10  // written at once under one deadline: a slow peer is not a silent one
	gatherTime = 50 * time.Millisecond
)

var (
	// ErrSilent ends a session whose peer went quiet.
	ErrSilent = errors.New("the peer is silent")
	// ErrProtocol ends a session whose peer broke the protocol.
	ErrProtocol = errors.New("the peer broke the protocol")
	// ErrClosed is the error of a session that has ended before.
	ErrClosed = errors.New("the session has ended")
)

// wire frames messages and data on a connection. One goroutine reads and one writes at a time. Every wait for the peer
// is under a deadline; when that or a context ends it, the connection is closed, since nobody knows any more where in
// the stream it is.
type wire struct {
	conn    io.ReadWriteCloser
	r       *bufio.Reader
	w       *bufio.Writer
	limits  Limits
	silence time.Duration
	reading *time.Timer // closes the connection when a read takes too long
	writing *time.Timer
	buf     []byte // bufferSize, from the first content on
	line    []byte
	waited  stopwatch // for what the peer sends

	mu    sync.Mutex
	cause error // why the connection was closed; nil while it is open
}

func newWire(conn io.ReadWriteCloser, silence time.Duration, limits Limits) *wire {
	if silence <= 0 {
		silence = DefaultSilence
	}
	w := &wire{
		conn:    conn,
		r:       bufio.NewReaderSize(conn, maxLine+1),
		w:       bufio.NewWriterSize(conn, 4<<10),
		limits:  limits,
		silence: silence,
	}
	w.reading = time.AfterFunc(time.Hour, w.silent)
	w.reading.Stop()
	w.writing = time.AfterFunc(time.Hour, w.silent)
	w.writing.Stop()
	return w
}

func (w *wire) silent() { w.close(ErrSilent) }

// close ends the session; the first cause given is the one that every later call returns.
func (w *wire) close(cause error) {
	w.mu.Lock()
	first := w.cause == nil
	if first {
		w.cause = cause
	}
	w.mu.Unlock()
	if !first {
		return
	}
	// A deadline in the past ends pending calls at once, where tls.Conn.Close may first wait to say goodbye.
	if d, ok := w.conn.(interface{ SetDeadline(time.Time) error }); ok && !errors.Is(cause, ErrClosed) {
		_ = d.SetDeadline(time.Unix(1, 0))
	}
	_ = w.conn.Close()
}

// err says why the session has ended; nil while it has not.
func (w *wire) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause
}

// fail ends the session after a failed call and gives the reason: what closed the connection before, if something did.
func (w *wire) fail(doing string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	w.close(fmt.Errorf("%s: %w", doing, err))
	return w.err()
}

// breach ends the session because of what the peer said.
func (w *wire) breach(format string, args ...any) error {
	w.close(fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...)))
	return w.err()
}

// under makes the end of ctx the end of the session, until stop is called.
func (w *wire) under(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { w.close(context.Cause(ctx)) })
}

// readMessage waits at most wait for a message and reads it. A line that is no message is errUnknownMessage, after which
// the session goes on; every other error ends it. io.EOF itself means that the peer has closed between two messages.
func (w *wire) readMessage(wait time.Duration) (message, error) {
	w.reading.Reset(wait)
	w.waited.start()
	line, err := w.r.ReadSlice('\n')
	w.waited.stop()
	w.reading.Stop()
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return message{}, w.breach("a message of more than %d bytes", maxLine)
	case errors.Is(err, io.EOF) && len(line) == 0 && w.err() == nil:
		w.close(io.EOF)
		return message{}, io.EOF
	case err != nil:
		return message{}, w.fail("read message", err)
	}
	return parseMessage(string(line[:len(line)-1]))
}

// send writes messages and hands them to the connection.
func (w *wire) send(messages ...message) error {
	for _, m := range messages {
		w.line = m.appendTo(w.line[:0])
		if len(w.line) > maxLine+1 {
			return fmt.Errorf("send %s: message of %d bytes", m.verb, len(w.line))
		}
		w.writing.Reset(w.silence)
		_, err := w.w.Write(w.line)
		w.writing.Stop()
		if err != nil {
			return w.fail("send "+string(m.verb), err)
		}
	}
	return w.flush()
}

func (w *wire) flush() error {
	w.writing.Reset(w.silence)
	err := w.w.Flush()
	w.writing.Stop()
	if err != nil {
		return w.fail("send", err)
	}
	return nil
}

// sendData writes the DATA message and n bytes from src. Where src has fewer, the session ends: the protocol has no
// other way to say so.
func (w *wire) sendData(ctx context.Context, n int64, src io.Reader) error {
	return w.sendWith(ctx, message{verb: verbData, number: n}, src)
}

// sendWith writes a message and as many bytes from src as it says, as sendData does.
func (w *wire) sendWith(ctx context.Context, m message, src io.Reader) error {
	n := m.number
	w.line = m.appendTo(w.line[:0])
	if len(w.line) > maxLine+1 {
		return fmt.Errorf("send %s: message of %d bytes", m.verb, len(w.line))
	}
	w.writing.Reset(w.silence)
	_, err := w.w.Write(w.line)
	w.writing.Stop()
	if err != nil {
		return w.fail("send "+string(m.verb), err)
	}
	buf := w.buffer()
	for n > 0 {
		k := slice(w.limits.Up, int(min(n, int64(len(buf)))))
		if _, err := io.ReadFull(src, buf[:k]); err != nil {
			return w.fail("read content to send", err)
		}
		if err := take(ctx, w.limits.Up, k); err != nil {
			return w.fail("send content", err)
		}
		if err := w.write(buf[:k]); err != nil {
			return err
		}
		n -= int64(k)
	}
	return w.flush()
}

// write sends bytes in pieces, each under its own deadline.
func (w *wire) write(p []byte) error {
	for len(p) > 0 {
		k := min(len(p), writeSize)
		w.writing.Reset(w.silence)
		_, err := w.w.Write(p[:k])
		w.writing.Stop()
		if err != nil {
			return w.fail("send content", err)
		}
		p = p[k:]
	}
	return nil
}

// readData reads the n bytes that follow a DATA message and writes them to dst. An error of dst ends the session, since
// the rest of the bytes are on their way and nobody wants them. It gives how many bytes dst took.
func (w *wire) readData(ctx context.Context, n int64, dst io.Writer) (int64, error) {
	buf := w.buffer()
	var done int64
	for done < n {
		k := slice(w.limits.Down, int(min(n-done, int64(len(buf)))))
		got, readErr := w.gather(buf[:k])
		if got > 0 {
			if err := take(ctx, w.limits.Down, got); err != nil {
				return done, w.fail("receive content", err)
			}
			m, err := dst.Write(buf[:got])
			done += int64(m)
			if err != nil {
				w.close(fmt.Errorf("store content: %w", err))
				return done, fmt.Errorf("store content: %w", err)
			}
		}
		if readErr != nil {
			return done, w.fail("receive content", readErr)
		}
	}
	return done, nil
}

// gather fills p as far as bytes come quickly: full buffers where the link is fast, and no more than gatherTime between
// a byte's arrival and its being stored where it is slow.
func (w *wire) gather(p []byte) (int, error) {
	var got int
	var begun time.Time
	for got < len(p) {
		w.reading.Reset(w.silence)
		w.waited.start()
		k, err := w.r.Read(p[got:])
		now := w.waited.stop()
		w.reading.Stop()
		got += k
		if err != nil {
			return got, err
		}
		if begun.IsZero() {
			begun = now
		} else if now.Sub(begun) > gatherTime {
			break
		}
	}
	return got, nil
}

// stopwatch adds up time. One goroutine starts and stops it, any may read it.
type stopwatch struct {
	mu    sync.Mutex
	total time.Duration
	since time.Time // zero while it stands
}

func (s *stopwatch) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Now()
}

// stop gives the time of day too.
func (s *stopwatch) stop() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.total += now.Sub(s.since)
	s.since = time.Time{}
	return now
}

func (s *stopwatch) elapsed() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		return s.total
	}
	return s.total + time.Since(s.since)
}

func (w *wire) buffer() []byte {
	if w.buf == nil {
		w.buf = make([]byte, bufferSize)
	}
	return w.buf
}
