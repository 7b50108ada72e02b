package xmpp

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"sync/atomic"
	"time"
)

const (
	// maxNegotiation bounds what a server may send until the session is up.
	maxNegotiation = 256 << 10
	// maxStanza bounds one stanza. It is far above what servers let pass, since a
	// stanza beyond it costs the connection.
	maxStanza = 8 << 20
)

var errStanzaTooBig = errors.New("the server sent a stanza beyond all bounds")

// wire is a connection that hands out single bytes. An xml.Decoder takes what
// offers ReadByte as it is, so the decoder of the negotiation does not read
// ahead, and another one goes on exactly where it stopped.
type wire struct {
	net.Conn
	r      *bufio.Reader
	budget int          // bytes that may be read until it is filled again
	heard  atomic.Int64 // when something was read last, in Unix nanoseconds
	broken error        // why reading ended; decoders report it as bad syntax
}

func newWire(conn net.Conn, budget int) *wire {
	w := &wire{Conn: conn, r: bufio.NewReader(conn), budget: budget}
	w.heard.Store(time.Now().UnixNano())
	return w
}

func (w *wire) Read(p []byte) (int, error) {
	if w.budget <= 0 {
		return 0, errStanzaTooBig
	}
	n, err := w.r.Read(p)
	w.budget -= n
	if err != nil {
		w.broken = err
	}
	if n > 0 {
		w.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

// ReadByte implements io.ByteReader.
func (w *wire) ReadByte() (byte, error) {
	if w.budget <= 0 {
		return 0, errStanzaTooBig
	}
	w.budget--
	b, err := w.r.ReadByte()
	if err != nil {
		w.broken = err
	}
	return b, err
}

// cause is why reading failed with err: the state of the connection, if that is
// what failed.
func (w *wire) cause(err error) error {
	if errors.Is(w.broken, io.EOF) {
		return errors.New("the server closed the connection")
	}
	return cmp.Or(w.broken, err)
}

// ConnectionState is that of the TLS layer; SCRAM binds to it. It is zero
// without one.
func (w *wire) ConnectionState() tls.ConnectionState {
	if conn, ok := w.Conn.(*tls.Conn); ok {
		return conn.ConnectionState()
	}
	return tls.ConnectionState{}
}

// secured is the wire inside TLS over w. The bytes below are not counted twice.
func (w *wire) secured(conn *tls.Conn) *wire {
	inner := newWire(conn, w.budget)
	w.budget = math.MaxInt
	return inner
}
