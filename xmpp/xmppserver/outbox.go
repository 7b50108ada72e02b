package xmppserver

import (
	"net"
	"sync"
	"time"
)

// chunk is the most that is written under one write deadline, so that a slow
// connection has time in proportion to what it is sent.
const chunk = 64 << 10

// outbox holds the bytes that wait for a connection's writer. Any goroutine may append.
type outbox struct {
	nc       net.Conn
	patience time.Duration // for a chunk to be taken by the network
	parting  time.Duration // for everything once the outbox is closed
	wake     chan struct{} // of capacity 1

	mu     sync.Mutex
	buf    []byte
	closed bool // nothing is taken any more; the writer ends when buf is out
	// XEP-0198: <r/> follows what is sent, but only one at a time is under way.
	asked   bool // an <r/> waits for its <a/>
	unasked bool // counted stanzas went out since the last <r/>
}

// push appends b and returns how many bytes wait. Counted stanzas are asked about.
func (o *outbox) push(b []byte, counted bool) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return 0
	}
	o.buf = append(o.buf, b...)
	o.unasked = o.unasked || counted
	o.signal()
	return len(o.buf)
}

// answered takes note of an <a/>.
func (o *outbox) answered() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = false
	if o.unasked {
		o.signal()
	}
}

// ask sends an <r/> in any case.
func (o *outbox) ask() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked, o.unasked = false, true
	o.signal()
}

// close lets b be the last bytes sent.
func (o *outbox) close(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.closed = true
	o.buf = append(o.buf, b...)
	_ = o.nc.SetWriteDeadline(time.Now().Add(o.parting))
	o.signal()
}

// extend allows the writer the time for one more chunk.
func (o *outbox) extend() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		_ = o.nc.SetWriteDeadline(time.Now().Add(o.patience))
	}
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take returns everything that waits, and whether more can come. spare is
// memory to collect the next bytes in.
func (o *outbox) take(spare []byte) (b []byte, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.unasked && !o.asked && !o.closed {
		o.buf = append(o.buf, "<r xmlns='"+nsSM+"'/>"...)
		o.asked, o.unasked = true, false
	}
	b, o.buf = o.buf, spare[:0]
	return b, !o.closed
}

// run sends what is pushed until the outbox is closed or a write fails, and
// then closes the connection, which ends its reader.
func (o *outbox) run() {
	defer o.nc.Close()
	var spare []byte
	for more := true; more; {
		<-o.wake
		var b []byte
		b, more = o.take(spare)
		for rest := b; len(rest) > 0; {
			n := min(len(rest), chunk)
			o.extend()
			if _, err := o.nc.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
		spare = nil
		if cap(b) <= chunk {
			spare = b
		}
	}
}
