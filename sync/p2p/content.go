package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
)

// MaxAsked is how many contents may be asked for ahead of their arrival.
const MaxAsked = 16

// verifyRate is the speed, in bytes a second, at which even a slow server proves a hash: it is silent meanwhile.
const verifyRate = 20 << 20

// GetRequest asks for the content of a key.
type GetRequest struct {
	Key    annex.Key
	File   string                  // shown to people on the other side; may be empty
	Offset int64                   // bytes that are here already
	Room   func(bytes int64) error // asked whether this many bytes may come; its error ends the session; nil: yes
}

// admit checks how many bytes the server says it sends.
func (r GetRequest) admit(n int64) error {
	if size, ok := r.Key.Size(); ok && n > max(size-r.Offset, 0) {
		return fmt.Errorf("%w: %d bytes where %d are missing", ErrTooMuch, n, max(size-r.Offset, 0))
	}
	if r.Room != nil {
		return r.Room(n)
	}
	return nil
}

// Get writes the content from the offset on to dst, and gives how many bytes that were. Nothing is proven by it: the
// caller checks the hash. ErrAbsent when the server does not have it, ErrChanged when it changed meanwhile. Fewer bytes
// without an error is what a server of version 0 does that does not have it.
func (c *Client) Get(ctx context.Context, r GetRequest, dst io.Writer) (int64, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	defer c.w.under(ctx)()
	n, err := c.get(ctx, r, dst)
	if err != nil {
		return n, fmt.Errorf("get %s: %w", r.Key, err)
	}
	return n, nil
}

func (c *Client) get(ctx context.Context, r GetRequest, dst io.Writer) (int64, error) {
	if err := c.w.send(message{verb: verbGet, number: r.Offset, file: r.File, key: r.Key}); err != nil {
		return 0, err
	}
	n, err := c.receive(ctx, r, dst)
	if c.w.err() != nil {
		return n, err
	}
	var refusal *RemoteError
	switch {
	case errors.As(err, &refusal): // the server waits for no answer
		return n, err
	case err != nil:
		return n, errors.Join(err, c.w.send(message{verb: verbFailure}))
	}
	return n, c.w.send(message{verb: verbSuccess})
}

// receive reads the answer to one GET.
func (c *Client) receive(ctx context.Context, r GetRequest, dst io.Writer) (int64, error) {
	m, err := c.answer()
	if err != nil {
		return 0, err
	}
	if m.verb != verbData {
		return 0, c.unexpected(m, "DATA")
	}
	if err := r.admit(m.number); err != nil {
		c.w.close(err)
		return 0, err
	}
	n, err := c.w.readData(ctx, m.number, dst)
	if err != nil {
		return n, err
	}
	if c.version < 1 {
		return n, nil
	}
	m, err = c.answer()
	switch {
	case err != nil:
		c.w.close(err)
		return n, err
	case m.verb == verbValid:
		return n, nil
	case m.verb != verbInvalid:
		return n, c.unexpected(m, "VALID or INVALID")
	case n == 0:
		return n, ErrAbsent
	}
	return n, ErrChanged
}

// Ask asks for content without waiting for it: Next receives what was asked for, in the same order. Up to MaxAsked may be
// outstanding, so that many small files cross a long line in few round trips. The connection must hold a few kilobytes
// of requests (a socket or a pipe of the kernel does).
//
// The protocol has the client answer each content; Ask sends that answer ahead, which tells a server nothing wrong: it
// means received, never stored (see the protocol's page on GET).
func (c *Client) Ask(ctx context.Context, r GetRequest) error {
	if len(c.asked) >= MaxAsked {
		return errors.New("P2P session: too many contents asked for")
	}
	if err := c.takes(); err != nil {
		return err
	}
	defer c.w.under(ctx)()
	err := c.w.send(message{verb: verbGet, number: r.Offset, file: r.File, key: r.Key}, message{verb: verbSuccess})
	if err != nil {
		return fmt.Errorf("ask for %s: %w", r.Key, err)
	}
	c.asked = append(c.asked, r)
	return nil
}

// Next receives the oldest content asked for, as Get does. After ErrAbsent and ErrChanged the next ones still come.
func (c *Client) Next(ctx context.Context, dst io.Writer) (int64, error) {
	if len(c.asked) == 0 {
		return 0, errors.New("P2P session: nothing was asked for")
	}
	r := c.asked[0]
	c.asked = c.asked[1:]
	defer c.w.under(ctx)()
	n, err := c.receive(ctx, r, dst)
	if _, refused := errors.AsType[*RemoteError](err); refused {
		// The answer that was sent ahead is now an unexpected message to the server.
		c.w.close(err)
	}
	if err != nil {
		return n, fmt.Errorf("get %s: %w", r.Key, err)
	}
	return n, nil
}

// PutRequest offers the content of a key.
type PutRequest struct {
	Key     annex.Key
	File    string // shown to people on the other side; may be empty
	Size    int64
	Content io.ReaderAt
	Valid   func() bool // asked when all was read: is it still what it was? nil: yes
}

// Put sends the content, from the byte on which the server wants. ErrFailed when the server did not store it. It gives
// further repositories that have it now.
func (c *Client) Put(ctx context.Context, r PutRequest) (also []string, err error) {
	if err := c.ready(); err != nil {
		return nil, err
	}
	defer c.w.under(ctx)()
	if also, err = c.put(ctx, r); err != nil {
		return also, fmt.Errorf("put %s: %w", r.Key, err)
	}
	return also, nil
}

func (c *Client) put(ctx context.Context, r PutRequest) (also []string, err error) {
	if err := c.w.send(message{verb: verbPut, file: r.File, key: r.Key}); err != nil {
		return nil, err
	}
	m, err := c.answer()
	if err != nil {
		return nil, err
	}
	switch m.verb {
	case verbAlreadyHave, verbAlreadyHavePlus:
		return m.words, nil
	case verbPutFrom:
	default:
		return nil, c.unexpected(m, "PUT-FROM or ALREADY-HAVE")
	}
	// A server that has more than there is gets no bytes, and finds out by the hash.
	offset := min(m.number, r.Size)
	src := io.NewSectionReader(r.Content, offset, r.Size-offset)
	if err := c.w.sendData(ctx, r.Size-offset, src); err != nil {
		return nil, err
	}
	if c.version >= 1 {
		verdict := verbValid
		if r.Valid != nil && !r.Valid() {
			verdict = verbInvalid
		}
		if err := c.w.send(message{verb: verdict}); err != nil {
			return nil, err
		}
	}
	return c.success(c.w.silence + time.Duration(r.Size/verifyRate)*time.Second)
}
