package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/time/rate"

	"github.com/git-arbor/arbor/sync/annex"
)

var (
	// ErrRefused says that the server does not take this client or its token.
	ErrRefused = errors.New("authentication refused")
	// ErrAbsent says that the server does not have the content.
	ErrAbsent = errors.New("the peer does not have the content")
	// ErrChanged says that the content changed on the server while it was being sent, so what came may be a mixture.
	ErrChanged = errors.New("the content changed while it was being sent")
	// ErrFailed says that the server answered FAILURE.
	ErrFailed = errors.New("the peer failed")
	// ErrUnsupported says that the version of the protocol that was agreed on cannot say this.
	ErrUnsupported = errors.New("not in the peer's version of the protocol")
	// ErrTooMuch says that the server offers more bytes than the content has.
	ErrTooMuch = errors.New("more content than expected")
)

// RemoteError is what a server said in an ERROR message: it did not do what was asked, and takes further requests.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return fmt.Sprintf("the peer says: %q", e.Text) }

// ClientOptions say who asks for what.
type ClientOptions struct {
	Self    string        // uuid of the clone that asks
	Token   string        // proves or, on a link, names what is wanted: the id of the peer's clone; not empty
	Greeted bool          // the server speaks first and takes no AUTH, as git-annex-shell p2pstdio does
	Version int64         // newest version to offer; 0 is MaxVersion
	Silence time.Duration // 0 is DefaultSilence
	Limits  Limits
}

// Client is one session with a server. It serves one call at a time: whoever shares it must take turns.
//
// Every call ends when its context does, at the price of the session: the connection is closed then, as it is after
// every error but RemoteError, ErrAbsent, ErrFailed, ErrEnded, ErrCircular and ErrUnsupported. Err tells whether the session
// goes on.
type Client struct {
	w       *wire
	self    string
	peer    string
	version int64
	stock   bool         // the server has refused to talk of blocks
	asked   []GetRequest // not yet answered
	held    bool         // the server waits for what belongs to the last request, or serves a service: it takes no request
}

// NewClient begins a session on a connection: it authenticates and agrees on a version. It owns the connection from
// here on, and closes it when it fails.
func NewClient(ctx context.Context, conn io.ReadWriteCloser, o ClientOptions) (*Client, error) {
	c := &Client{w: newWire(conn, o.Silence, o.Limits), self: o.Self}
	defer c.w.under(ctx)()
	if err := c.begin(o); err != nil {
		c.w.close(err)
		return nil, fmt.Errorf("begin P2P session: %w", err)
	}
	return c, nil
}

func (c *Client) begin(o ClientOptions) error {
	if !o.Greeted {
		if err := c.w.send(message{verb: verbAuth, words: []string{o.Self, o.Token}}); err != nil {
			return err
		}
	}
	m, err := c.answer()
	switch {
	case err != nil:
		return err
	case m.verb == verbAuthFailure:
		return ErrRefused
	case m.verb != verbAuthSuccess:
		return c.unexpected(m, "AUTH-SUCCESS")
	}
	c.peer = m.words[0]
	version := o.Version
	if version <= 0 || version > MaxVersion {
		version = MaxVersion
	}
	if err := c.w.send(message{verb: verbVersion, number: version}); err != nil {
		return err
	}
	m, err = c.answer()
	var refusal *RemoteError
	switch {
	case errors.As(err, &refusal): // a server from before version 1
		return nil
	case err != nil:
		return err
	case m.verb != verbVersion:
		return c.unexpected(m, "VERSION")
	case m.number > version:
		return c.w.breach("version %d, when %d is the newest that was offered", m.number, version)
	}
	c.version = m.number
	return nil
}

// Peer is the uuid by which the server names itself.
func (c *Client) Peer() string { return c.peer }

// Version is the version of the protocol that was agreed on.
func (c *Client) Version() int { return int(c.version) }

// Err says why the session has ended; nil while it goes on. Any goroutine may call it.
func (c *Client) Err() error { return c.w.err() }

// Waited is how long the session has waited for its server, in all: not for a limit, nor for the disk. Any goroutine may call it.
func (c *Client) Waited() time.Duration { return c.w.waited.elapsed() }

// Limited says whether what comes waits for a limit of this side now. Any goroutine may call it.
func (c *Client) Limited() bool {
	down := c.w.limits.Down
	return down != nil && down.Limit() != rate.Inf
}

// Close ends the session, and with it a call under way. Any goroutine may call it.
func (c *Client) Close() error {
	c.w.close(ErrClosed)
	return nil
}

// answer reads the server's next message. An ERROR comes out as a *RemoteError.
func (c *Client) answer() (message, error) { return c.answerWithin(c.w.silence) }

func (c *Client) answerWithin(wait time.Duration) (message, error) {
	m, err := c.w.readMessage(wait)
	switch {
	case errors.Is(err, errUnknownMessage):
		return message{}, c.w.breach("%v", err)
	case errors.Is(err, io.EOF):
		return message{}, fmt.Errorf("read answer: %w", io.ErrUnexpectedEOF)
	case err != nil:
		return message{}, err
	case m.verb == verbError:
		return message{}, &RemoteError{m.text}
	}
	return m, nil
}

// unexpected ends the session. The server is told, which makes it close its side too.
func (c *Client) unexpected(m message, want string) error {
	_ = c.w.send(message{verb: verbError, text: "expected " + want})
	return c.w.breach("%s instead of %s", m.verb, want)
}

// ready checks that the session can take a request and answer it at once.
func (c *Client) ready() error {
	if len(c.asked) > 0 {
		return errors.New("P2P session: answers are still on their way")
	}
	return c.takes()
}

// takes checks that the session can take a request.
func (c *Client) takes() error {
	if err := c.w.err(); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if c.held {
		return errors.New("P2P session: content is locked or offered, or a service runs")
	}
	return nil
}

// request sends a message and reads SUCCESS or FAILURE, and the uuids a PLUS form adds.
func (c *Client) request(ctx context.Context, m message) (also []string, err error) {
	if err := c.ready(); err != nil {
		return nil, err
	}
	defer c.w.under(ctx)()
	if err := c.w.send(m); err != nil {
		return nil, err
	}
	return c.success(c.w.silence)
}

func (c *Client) success(wait time.Duration) (also []string, err error) {
	m, err := c.answerWithin(wait)
	if err != nil {
		return nil, err
	}
	switch m.verb {
	case verbSuccess, verbSuccessPlus:
		return m.words, nil
	case verbFailure, verbFailurePlus:
		return m.words, ErrFailed
	}
	return nil, c.unexpected(m, "SUCCESS or FAILURE")
}

// CheckPresent asks whether the server has the content now. It may be about to remove it: Lock gives a promise.
func (c *Client) CheckPresent(ctx context.Context, key annex.Key) (bool, error) {
	_, err := c.request(ctx, message{verb: verbCheckPresent, key: key})
	if errors.Is(err, ErrFailed) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("check presence of %s: %w", key, err)
	}
	return true, nil
}

// Lock keeps the server from removing the content until unlock is called or, with servers from before version 3, the
// session ends. The session takes no other request meanwhile. Content that cannot be locked is ErrFailed.
func (c *Client) Lock(ctx context.Context, key annex.Key) (unlock func(context.Context) error, err error) {
	if _, err := c.request(ctx, message{verb: verbLockContent, key: key}); err != nil {
		return nil, fmt.Errorf("lock %s: %w", key, err)
	}
	c.held = true
	return func(ctx context.Context) error {
		if !c.held {
			return nil
		}
		c.held = false
		defer c.w.under(ctx)()
		return c.w.send(message{verb: verbUnlockContent})
	}, nil
}

// Remove asks the server to remove the content. The protocol leaves the safety of that to the client: enough other
// copies must be proven, and locked, before. It gives further repositories from which the content went.
func (c *Client) Remove(ctx context.Context, key annex.Key) (also []string, err error) {
	also, err = c.request(ctx, message{verb: verbRemove, key: key})
	if err != nil {
		return also, fmt.Errorf("remove %s: %w", key, err)
	}
	return also, nil
}

// RemoveBefore is Remove that the server refuses once its own clock (Timestamp) has reached the time, in seconds.
func (c *Client) RemoveBefore(ctx context.Context, key annex.Key, seconds int64) (also []string, err error) {
	if c.version < 3 {
		return nil, fmt.Errorf("remove %s in time: %w", key, ErrUnsupported)
	}
	also, err = c.request(ctx, message{verb: verbRemoveBefore, number: seconds, key: key})
	if err != nil {
		return also, fmt.Errorf("remove %s in time: %w", key, err)
	}
	return also, nil
}

// Timestamp reads the server's monotonic clock, in seconds.
func (c *Client) Timestamp(ctx context.Context) (int64, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	if c.version < 3 {
		return 0, fmt.Errorf("get timestamp: %w", ErrUnsupported)
	}
	defer c.w.under(ctx)()
	if err := c.w.send(message{verb: verbGetTimestamp}); err != nil {
		return 0, fmt.Errorf("get timestamp: %w", err)
	}
	m, err := c.answer()
	if err != nil {
		return 0, fmt.Errorf("get timestamp: %w", err)
	}
	if m.verb != verbTimestamp {
		return 0, c.unexpected(m, "TIMESTAMP")
	}
	return m.number, nil
}

// Bypass names cluster gateways that the server shall not go through. It must come right after NewClient.
func (c *Client) Bypass(ctx context.Context, uuids []string) error {
	if err := c.ready(); err != nil {
		return err
	}
	if c.version < 2 {
		return fmt.Errorf("bypass: %w", ErrUnsupported)
	}
	defer c.w.under(ctx)()
	return c.w.send(message{verb: verbBypass, words: uuids})
}
