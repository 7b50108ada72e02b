package p2p

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
)

// tellApart is the least time between two times of telling how far one content is.
const tellApart = 100 * time.Millisecond

// Meter counts the bytes of a content on its way, and says how fast they come. One goroutine at a time starts it and adds,
// any may read.
type Meter struct {
	bytes     atomic.Int64
	rate      atomic.Int64 // bytes a second
	told      time.Time
	toldBytes int64
}

// Start has the meter begin anew with the bytes that were there before.
func (m *Meter) Start(bytes int64, now time.Time) {
	m.bytes.Store(bytes)
	m.told, m.toldBytes = now, bytes
}

// Add counts bytes, and says whether it is time to tell of them: at most ten times a second.
func (m *Meter) Add(n int, now time.Time) bool {
	bytes := m.bytes.Add(int64(n))
	since := now.Sub(m.told)
	if since < tellApart {
		return false
	}
	rate := float64(bytes-m.toldBytes) / since.Seconds()
	if before := m.rate.Load(); before > 0 {
		rate = 0.7*float64(before) + 0.3*rate
	}
	m.rate.Store(int64(rate))
	m.told, m.toldBytes = now, bytes
	return true
}

// Bytes are those that were there before, and those that were added.
func (m *Meter) Bytes() int64 { return m.bytes.Load() }

// Rate is in bytes a second, smoothed; 0 as long as it is not known.
func (m *Meter) Rate() float64 { return float64(m.rate.Load()) }

// Sent tells how far a content is that a client is sent.
type Sent struct {
	Key   annex.Key
	File  string  // as the client named it; may be empty
	Bytes int64   // that the client has by now, of
	Size  int64   // those of the content
	Rate  float64 // bytes a second, smoothed
	Done  bool    // no more of it is sent in this request
}

// sending is one content on its way to the client; nil when nobody is to be told of it.
type sending struct {
	Sent
	meter Meter
	tell  func(Sent)
	told  bool
}

// sending begins to send content from the offset on.
func (s *session) sending(m message, offset, size int64) *sending {
	if s.Sent == nil {
		return nil
	}
	p := &sending{Sent: Sent{Key: m.key, File: m.file, Size: size}, tell: s.Sent}
	p.meter.Start(offset, time.Now())
	return p
}

// of counts what is read from src.
func (p *sending) of(src io.Reader) io.Reader {
	if p == nil {
		return src
	}
	return sendingReader{p, src}
}

type sendingReader struct {
	p   *sending
	src io.Reader
}

func (r sendingReader) Read(b []byte) (int, error) {
	n, err := r.src.Read(b)
	if r.p.meter.Add(n, time.Now()) {
		r.p.told = true
		r.p.report()
	}
	return n, err
}

// end tells those who were told of it that it is over.
func (p *sending) end() {
	if p != nil && p.told {
		p.Done = true
		p.report()
	}
}

func (p *sending) report() {
	p.Bytes, p.Rate = p.meter.Bytes(), p.meter.Rate()
	p.tell(p.Sent)
}
