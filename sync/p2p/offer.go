package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
)

var (
	// ErrEnded says that the server, which was still receiving the content, does not get the rest of it.
	ErrEnded = errors.New("the peer does not get the rest of the content")
	// ErrCircular says that the server gets the content from here.
	ErrCircular = errors.New("the peer gets the content from here")
)

// Offer is content whose blocks a server is ready to send: all of them, or those it has and the others as they come.
type Offer struct {
	List *annex.BlockList // what the server claims
	Via  []string         // the clones the content comes through: the server, the one that it gets it from itself, and so on
	c    *Client
	open bool
	asks []span // not yet answered
}

// span is bytes of a content: from the one offset to before the other.
type span struct{ from, to int64 }

// Blocks asks for the content of a key in blocks that can be checked one by one, which allows the server to send what it is
// still receiving itself. Is it not receiving it yet, it may wait that long for it to begin. file is shown to people on the
// other side, and may be empty. The session takes no other request until the offer is taken or declined.
//
// ErrAbsent when the server has nothing to offer; ErrUnsupported when it knows no blocks, as git-annex, or the key has none.
func (c *Client) Blocks(ctx context.Context, key annex.Key, file string, wait time.Duration) (*Offer, error) {
	if err := c.ready(); err != nil {
		return nil, err
	}
	if c.stock || key.Blocks() < 2 {
		return nil, fmt.Errorf("get blocks of %s: %w", key, ErrUnsupported)
	}
	defer c.w.under(ctx)()
	o, err := c.blocks(ctx, key, file, wait)
	if err != nil {
		return nil, fmt.Errorf("get blocks of %s: %w", key, err)
	}
	return o, nil
}

func (c *Client) blocks(ctx context.Context, key annex.Key, file string, wait time.Duration) (*Offer, error) {
	if err := c.w.send(message{verb: verbBlocks, number: int64(wait / time.Second), file: file, key: key}); err != nil {
		return nil, err
	}
	m, err := c.answerInTime()
	switch refusal := new(RemoteError); {
	case errors.As(err, &refusal):
		c.stock = true
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	case err != nil:
		return nil, err
	case m.verb == verbFailure:
		return nil, ErrAbsent
	case m.verb != verbBlockList:
		return nil, c.unexpected(m, "ARBOR-LIST or FAILURE")
	}
	if want := (key.Blocks() - 1) * annex.StateSize; m.number != want {
		return nil, c.w.breach("a block list of %d bytes, not %d", m.number, want)
	}
	var states bytes.Buffer
	if _, err := c.w.readData(ctx, m.number, &states); err != nil {
		return nil, err
	}
	list, err := annex.NewBlockList(key, states.Bytes())
	if err != nil {
		return nil, c.w.breach("%v", err)
	}
	c.held = true
	o := &Offer{List: list, Via: append([]string{c.peer}, m.words...), c: c, open: true}
	if slices.Contains(m.words, c.self) {
		return nil, errors.Join(ErrCircular, o.Decline(ctx))
	}
	return o, nil
}

// answerInTime reads the server's next message but those by which it says that it needs more time.
func (c *Client) answerInTime() (message, error) {
	for {
		m, err := c.answer()
		if err != nil || m.verb != verbData || m.number > 0 {
			return m, err
		}
	}
}

// Get takes the offer: it writes the content from the offset on to dst, and gives how many bytes that were. ErrEnded when
// the server's own source has failed.
func (o *Offer) Get(ctx context.Context, offset int64, dst io.Writer) (int64, error) {
	if err := o.takes(); err != nil {
		return 0, err
	}
	o.open, o.c.held = false, false
	defer o.c.w.under(ctx)()
	err := o.c.w.send(message{verb: verbBlocksFrom, number: offset})
	var n int64
	if err == nil {
		n, err = o.receive(ctx, span{offset, o.List.End(o.List.Blocks() - 1)}, dst)
	}
	if err != nil {
		return n, fmt.Errorf("get blocks of %s: %w", o.List.Key(), err)
	}
	return n, nil
}

// Ask asks for a part of the content, without waiting for it: Next receives what was asked for, in the same order. The offer
// stays open. A few parts may be outstanding, so that nothing is lost between them to the time that a request takes.
func (o *Offer) Ask(ctx context.Context, from, to int64) error {
	if err := o.takes(); err != nil {
		return err
	}
	defer o.c.w.under(ctx)()
	m := message{verb: verbBlocksFrom, number: from, words: []string{strconv.FormatInt(to-from, 10)}}
	if err := o.c.w.send(m); err != nil {
		return fmt.Errorf("ask for blocks of %s: %w", o.List.Key(), err)
	}
	o.asks = append(o.asks, span{from, to})
	return nil
}

// Next receives the oldest part that was asked for, as Get does. An error ends the session.
func (o *Offer) Next(ctx context.Context, dst io.Writer) (int64, error) {
	if len(o.asks) == 0 {
		return 0, errors.New("P2P session: nothing was asked for")
	}
	part := o.asks[0]
	o.asks = o.asks[1:]
	defer o.c.w.under(ctx)()
	n, err := o.receive(ctx, part, dst)
	if err == nil && n < part.to-part.from {
		err = o.c.w.breach("%d bytes of a part of %d", n, part.to-part.from)
	}
	if err != nil {
		o.c.w.close(err)
		return n, fmt.Errorf("get blocks of %s: %w", o.List.Key(), err)
	}
	return n, nil
}

func (o *Offer) takes() error {
	if err := o.c.w.err(); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if !o.open {
		return errors.New("P2P session: the offer was taken or declined before")
	}
	return nil
}

// receive reads the answer to one request for a part.
func (o *Offer) receive(ctx context.Context, part span, dst io.Writer) (int64, error) {
	w := o.c.w
	var got int64
	for {
		m, err := o.c.answerInTime()
		switch {
		case err != nil:
			w.close(err)
			return got, err
		case m.verb == verbValid:
			return got, nil
		case m.verb == verbInvalid:
			return got, ErrEnded
		case m.verb != verbData:
			return got, o.c.unexpected(m, "DATA, VALID or INVALID")
		}
		if missing := max(part.to-part.from-got, 0); m.number > missing {
			err := fmt.Errorf("%w: %d bytes where %d are missing", ErrTooMuch, m.number, missing)
			w.close(err)
			return got, err
		}
		n, err := w.readData(ctx, m.number, dst)
		got += n
		if err != nil {
			return got, err
		}
	}
}

// Decline lets the session take other requests, unless the offer was taken. It ends one that has not answered all that was asked.
func (o *Offer) Decline(ctx context.Context) error {
	if !o.open || o.c.w.err() != nil {
		return nil
	}
	if len(o.asks) > 0 {
		return o.c.Close()
	}
	o.open, o.c.held = false, false
	defer o.c.w.under(ctx)()
	return o.c.w.send(message{verb: verbFailure})
}
