package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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
}

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
	if !o.open {
		return 0, errors.New("P2P session: the offer was taken or declined before")
	}
	o.open, o.c.held = false, false
	defer o.c.w.under(ctx)()
	n, err := o.get(ctx, offset, dst)
	if err != nil {
		return n, fmt.Errorf("get blocks of %s: %w", o.List.Key(), err)
	}
	return n, nil
}

func (o *Offer) get(ctx context.Context, offset int64, dst io.Writer) (int64, error) {
	w := o.c.w
	if err := w.send(message{verb: verbBlocksFrom, number: offset}); err != nil {
		return 0, err
	}
	var got int64
	r := GetRequest{Key: o.List.Key(), Offset: offset}
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
		if err := r.admit(m.number); err != nil {
			w.close(err)
			return got, err
		}
		n, err := w.readData(ctx, m.number, dst)
		got += n
		r.Offset += n
		if err != nil {
			return got, err
		}
	}
}

// Decline lets the session take other requests, unless the offer was taken.
func (o *Offer) Decline(ctx context.Context) error {
	if !o.open {
		return nil
	}
	o.open, o.c.held = false, false
	defer o.c.w.under(ctx)()
	return o.c.w.send(message{verb: verbFailure})
}
