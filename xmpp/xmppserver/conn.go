package xmppserver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

var (
	errStanzaTooBig = &streamError{condition: "policy-violation", text: "stanza is too big"}
	errReplaced     = errors.New("session moved to another connection")
	errSilent       = errors.New("no answer to a probe")
)

// streamError ends a stream (RFC 6120 §4.9). The client is told.
type streamError struct {
	condition string
	text      string
	app       *element // application-specific condition
}

func (e *streamError) Error() string {
	if e.text == "" {
		return e.condition
	}
	return e.condition + ": " + e.text
}

func (e *streamError) bytes() []byte {
	x := el(nsStream, "error").add(el(nsStreamErrs, e.condition))
	if e.text != "" {
		x.add(el(nsStreamErrs, "text").add(e.text))
	}
	if e.app != nil {
		x.add(e.app)
	}
	return x.bytes()
}

// conn is one connection. The goroutine of run owns it, but for out.
type conn struct {
	srv    *Server
	nc     net.Conn // replaced by STARTTLS
	direct bool     // TLS comes first of all
	secure bool     // TLS is up
	in     reader
	dec    *xml.Decoder
	user   *user // nil before authentication
	failed int   // attempts to authenticate or register
	proven bool  // the registration token was presented
	seat   *seat

	bound *session // nil during negotiation
	out   *outbox  // since then
}

// run serves a connection to its end.
func (c *conn) run(ctx context.Context) {
	defer c.seat.leave()
	raw := c.nc
	defer raw.Close()
	// A deadline for everything before the session, however little trickles
	// in. Setting one fails on a closed connection only, which reading shows.
	_ = raw.SetDeadline(time.Now().Add(c.srv.limits.negotiation))
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Now()) })
	err := c.negotiate(ctx)
	stop()
	if err != nil {
		c.srv.log.Debug("no session", "remote", c.nc.RemoteAddr(), "err", err)
		if se, ok := errors.AsType[*streamError](err); ok {
			_ = c.write(append(se.bytes(), streamEnd...)) // it ends either way
		}
		return
	}
	_ = raw.SetDeadline(time.Time{})
	var writer sync.WaitGroup
	writer.Go(c.out.run)
	err = c.serve()
	c.srv.log.Debug("connection ended", "jid", c.bound.full, "remote", c.nc.RemoteAddr(), "err", err)
	c.srv.do(func() { c.srv.disconnected(c, err) })
	writer.Wait()
}

// serve reads and routes stanzas until the stream ends.
func (c *conn) serve() error {
	for {
		e, err := c.next()
		if err != nil {
			return err
		}
		c.srv.do(func() {
			if c.bound.conn != c { // resumed elsewhere, or ended: whatever came after that does not count
				err = errReplaced
				return
			}
			err = c.srv.receive(c.bound, e)
		})
		if err != nil {
			return err
		}
	}
}

// lost reports whether reading ended because of the transport and not of what the client sent.
func (c *conn) lost() bool { return c.in.err != nil }

// next returns the next element of the stream: io.EOF after </stream:stream>.
func (c *conn) next() (*element, error) {
	if err := c.await(); err != nil {
		return nil, err
	}
	tok, err := c.dec.Token()
	var e *element
	if err == nil {
		switch tok := tok.(type) {
		case xml.StartElement:
			e, err = parseElement(c.dec, tok, 0)
		case xml.EndElement:
			err = io.EOF
		default:
			err = &streamError{condition: "restricted-xml"}
		}
	}
	return e, c.readError(err)
}

// readError turns a syntax error into the stream error it is, unless it only follows from the end of the bytes.
func (c *conn) readError(err error) error {
	var syntax *xml.SyntaxError
	switch {
	case c.lost():
		return fmt.Errorf("read: %w", c.in.err)
	case errors.As(err, &syntax):
		return &streamError{condition: "not-well-formed"}
	}
	return err
}

// await waits for the first byte of an element, skipping the white space that
// clients send to keep a connection alive. A client silent for long is probed.
func (c *conn) await() error {
	probed := false
	for {
		if c.bound != nil {
			wait := c.srv.limits.idle
			if probed {
				wait = c.srv.limits.probe
			}
			_ = c.nc.SetReadDeadline(time.Now().Add(wait))
		}
		if c.user != nil {
			c.in.left = c.srv.limits.stanza // before that one allowance has to do for everything
		}
		b, err := c.in.ReadByte()
		switch {
		case err != nil && c.bound != nil && errors.Is(err, os.ErrDeadlineExceeded):
			if probed {
				return errSilent
			}
			probed = true
			c.in.err = nil
			c.srv.probe(c)
		case err != nil:
			return c.readError(err)
		case b == ' ' || b == '\n' || b == '\r' || b == '\t':
			probed = false
		case b != '<':
			return &streamError{condition: "bad-format", text: "text between stanzas"}
		default:
			if c.bound != nil {
				_ = c.nc.SetReadDeadline(time.Now().Add(c.srv.limits.idle))
			}
			return c.in.unread()
		}
	}
}

// restart begins a new stream on nc: after connecting, TLS and authentication.
func (c *conn) restart(nc net.Conn) {
	c.nc = nc
	c.in.r = bufio.NewReader(nc)
	c.dec = xml.NewDecoder(&c.in)
}

// startTLS answers <starttls/> (RFC 6120 §5).
func (c *conn) startTLS(ctx context.Context) error {
	early, err := c.in.r.Peek(c.in.r.Buffered())
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(early)) > 0 { // go-sendxmpp ends its lines
		// Sent in clear by whoever was on the way, to be taken for protected text.
		return &streamError{condition: "policy-violation", text: "data after starttls"}
	}
	if err := c.write(el(nsTLS, "proceed").bytes()); err != nil {
		return err
	}
	return c.handshake(ctx)
}

func (c *conn) handshake(ctx context.Context) error {
	t := tls.Server(c.nc, c.srv.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	c.secure = true
	c.restart(t)
	return nil
}

const streamEnd = "</stream:stream>"

// open reads the client's stream header and answers it (RFC 6120 §4.2).
func (c *conn) open() error {
	start, err := c.header()
	head := fmt.Sprintf("<?xml version='1.0'?><stream:stream xmlns='%s' xmlns:stream='%s' id='%s' from='%s' version='1.0' xml:lang='en'>",
		nsClient, nsStream, rand.Text(), c.srv.domain)
	if c.lost() {
		return err
	}
	if werr := c.write([]byte(head)); werr != nil {
		return werr
	}
	if err != nil {
		return err
	}
	var to, version string
	for _, a := range start.Attr {
		switch a.Name {
		case xml.Name{Local: "to"}:
			to = a.Value
		case xml.Name{Local: "version"}:
			version = a.Value
		}
	}
	switch {
	case start.Name != xml.Name{Space: nsStream, Local: "stream"}:
		return &streamError{condition: "invalid-namespace"}
	case !strings.EqualFold(to, c.srv.domain):
		return &streamError{condition: "host-unknown"}
	case version != "1.0":
		return &streamError{condition: "unsupported-version"}
	}
	return nil
}

func (c *conn) header() (xml.StartElement, error) {
	for declared := false; ; {
		if err := c.await(); err != nil {
			return xml.StartElement{}, err
		}
		tok, err := c.dec.Token()
		if err != nil {
			return xml.StartElement{}, c.readError(err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			return tok.Copy(), nil
		case xml.ProcInst:
			if tok.Target != "xml" || declared {
				return xml.StartElement{}, &streamError{condition: "restricted-xml"}
			}
			declared = true
		default:
			return xml.StartElement{}, &streamError{condition: "bad-format"}
		}
	}
}

// write sends during negotiation, before the writer runs.
func (c *conn) write(b []byte) error {
	_, err := c.nc.Write(b)
	return err
}

// reader reads bytes up to a limit and keeps the error of the transport.
type reader struct {
	r    *bufio.Reader
	left int
	err  error
}

// ReadByte makes encoding/xml read no byte more than it needs.
func (r *reader) ReadByte() (byte, error) {
	if r.left <= 0 {
		return 0, errStanzaTooBig
	}
	b, err := r.r.ReadByte()
	if err != nil {
		r.err = err
		return 0, err
	}
	r.left--
	return b, nil
}

// Read is there for the type that encoding/xml asks for; it uses ReadByte.
func (r *reader) Read(p []byte) (int, error) {
	b, err := r.ReadByte()
	if err != nil || len(p) == 0 {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

func (r *reader) unread() error {
	r.left++
	return r.r.UnreadByte()
}
