package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
)

const (
	maxSources = 4                      // that bring one content
	maxAhead   = 32                     // blocks, from the first that is missing, that may be asked for: they are kept in memory
	maxSpan    = 4                      // blocks that are asked for at once
	spansAhead = 2                      // how many times a source is asked before it has answered, so that it never waits
	spanTime   = 250 * time.Millisecond // how long a source shall take for what it is asked for at once
)

// swarm is content that several holders, its sources, bring at once, each other blocks of it. Each source asks for the first
// blocks that nobody has asked for, so that what is here grows from the first byte on, without gaps, as fast as all together
// bring it: that alone is in the file. What comes before its turn waits in memory.
type swarm struct {
	list  *annex.BlockList
	count atomic.Int32 // of sources
	bytes atomic.Int64 // that are here, in the file or in memory

	mu       sync.Mutex
	changed  chan struct{} // closed, and made anew, at every change
	dst      io.Writer     // nil when the swarm has ended
	err      error         // of dst
	offset   int64         // bytes that are written
	asked    int64         // blocks before this one were asked for
	returned []span        // but not these, which their source has not brought
	ready    map[int64][]byte
	sources  []*source
	spare    [][]byte // buffers
}

// span is blocks, from the one to before the other.
type span struct{ from, to int64 }

// source is a session that brings blocks. The swarm's mutex guards it.
type source struct {
	asked []span // without what has come, the oldest first
	most  int64  // blocks to ask for at once
	last  time.Time
	block time.Duration // that a block takes
	cut   context.CancelCauseFunc
}

// errOver ends what a source still does when the swarm has ended.
var errOver = errors.New("the rest of the content is not wanted any more")

// newSwarm makes a swarm that writes content to dst, from the offset on.
func newSwarm(list *annex.BlockList, offset int64, dst io.Writer) *swarm {
	s := &swarm{
		list: list, changed: make(chan struct{}), dst: dst, offset: offset, asked: offset / annex.BlockSize, ready: map[int64][]byte{},
	}
	s.bytes.Store(offset / annex.BlockSize * annex.BlockSize)
	return s
}

// bring gets blocks through an offer until all are here, and none is left for it. came is told of bytes: those that were thrown away
// count against it. It returns context.Cause when ctx ends, or when another source has proven to be much faster.
func (s *swarm) bring(ctx context.Context, offer *p2p.Offer, came func(bytes int)) error {
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	src := &source{most: 1, cut: cut}
	in := &blockWriter{swarm: s, source: src, came: func(bytes int) {
		s.bytes.Add(int64(bytes))
		came(bytes)
	}}
	s.join(src)
	err := s.bringFor(ctx, src, offer, in)
	s.leave(src)
	in.came(-len(in.block))
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

func (s *swarm) bringFor(ctx context.Context, src *source, offer *p2p.Offer, in io.Writer) error {
	for {
		spans, wait, err := s.next(src)
		if err != nil {
			return err
		}
		for _, ask := range spans {
			if err := offer.Ask(ctx, ask.from*annex.BlockSize, s.list.End(ask.to-1)); err != nil {
				return err
			}
		}
		switch {
		case wait == nil:
			if _, err := offer.Next(ctx, in); err != nil {
				return err
			}
		case !wait.until(ctx):
			return ctx.Err()
		case wait.whole:
			return nil
		}
	}
}

// pause is what a source waits for that has nothing to do.
type pause struct {
	whole   bool // all has come
	changed <-chan struct{}
	most    time.Duration
}

// until waits, and says whether ctx goes on.
func (p *pause) until(ctx context.Context) bool {
	if p.whole {
		return true
	}
	timer := time.NewTimer(p.most)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-p.changed:
	case <-timer.C:
	}
	return true
}

// change wakes all who wait. The mutex is held.
func (s *swarm) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *swarm) join(src *source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources = append(s.sources, src)
	s.count.Add(1)
}

// leave gives back what the source has not brought.
func (s *swarm) leave(src *source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources = slices.DeleteFunc(s.sources, func(other *source) bool { return other == src })
	s.count.Add(-1)
	s.returned = append(s.returned, src.asked...)
	slices.SortFunc(s.returned, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	s.change()
}

func (s *swarm) whole() bool { return s.offset == s.list.End(s.list.Blocks()-1) }

// next gives what the source is to ask for now. When it has nothing to wait for from its holder, it gives what else to wait for.
func (s *swarm) next(src *source) (ask []span, wait *pause, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return nil, nil, s.err
	case s.whole():
		return nil, &pause{whole: true}, nil
	case s.dst == nil:
		return nil, nil, errOver
	}
	now := time.Now()
	for len(src.asked) < spansAhead {
		claimed, ok := s.claim(src.most)
		if !ok {
			break
		}
		if len(src.asked) == 0 {
			src.last = now
		}
		src.asked = append(src.asked, claimed)
		ask = append(ask, claimed)
	}
	if len(src.asked) > 0 {
		return ask, nil, nil
	}
	return nil, &pause{changed: s.changed, most: s.overtake(src, now)}, nil
}

// claim takes the first blocks that nobody brings, at most so many, and less where the end is near, so that all end together.
func (s *swarm) claim(most int64) (span, bool) {
	first := s.offset / annex.BlockSize
	if len(s.returned) > 0 {
		r := &s.returned[0]
		claimed := span{r.from, min(r.to, r.from+most)}
		if r.from = claimed.to; r.from == r.to {
			s.returned = s.returned[1:]
		}
		return claimed, true
	}
	left := s.list.Blocks() - s.asked
	n := min(most, max(left/int64(spansAhead*len(s.sources)), 1), left, first+maxAhead-s.asked)
	if n <= 0 {
		return span{}, false
	}
	s.asked += n
	return span{s.asked - n, s.asked}, true
}

// overtake cuts the source for whose block all wait, if this one, which has nothing to do, could have brought all that it was asked for
// twice since its last block: it stalls, or is much slower. It gives how long to wait before it is to be tried again.
func (s *swarm) overtake(src *source, now time.Time) time.Duration {
	const sometime = time.Hour
	first := s.offset / annex.BlockSize
	for _, other := range s.sources {
		if src.block == 0 || len(other.asked) == 0 || other.asked[0].from != first {
			continue
		}
		var blocks int64
		for _, a := range other.asked {
			blocks += a.to - a.from
		}
		allowed := spanTime + 2*src.block*time.Duration(blocks) - now.Sub(other.last)
		if allowed > 0 {
			return allowed
		}
		other.cut(errBelow)
	}
	return sometime
}

// deliver takes the first block that the source was asked for, and writes what now has its turn.
func (s *swarm) deliver(src *source, block []byte) error {
	i := src.asked[0].from // which only this goroutine changes
	err := s.list.Check(i, at{i * annex.BlockSize, block})
	if errors.Is(err, annex.ErrBadContent) {
		return fmt.Errorf("%w: %w", p2p.ErrLied, err)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	src.came(time.Now())
	s.ready[i] = block
	defer s.change()
	for s.err == nil && !s.whole() {
		i = s.offset / annex.BlockSize
		block, ok := s.ready[i]
		if !ok {
			return nil
		}
		if s.dst == nil {
			return errOver
		}
		n, err := s.dst.Write(block[s.offset-i*annex.BlockSize:])
		s.offset += int64(n)
		s.err = err
		delete(s.ready, i)
		s.spare = append(s.spare, block[:0])
	}
	return s.err
}

// came notes that a block has come.
func (src *source) came(now time.Time) {
	took := now.Sub(src.last)
	if src.block > 0 {
		took = (3*src.block + took) / 4
	}
	src.block, src.last = max(took, 1), now
	switch took := src.block * time.Duration(src.most); {
	case took < spanTime:
		src.most = min(2*src.most, maxSpan)
	case took > 4*spanTime:
		src.most = max(src.most/2, 1)
	}
	if src.asked[0].from++; src.asked[0].from == src.asked[0].to {
		src.asked = src.asked[1:]
	}
}

// buffer gives room for a block.
func (s *swarm) buffer() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.spare)
	if n == 0 {
		return make([]byte, 0, annex.BlockSize)
	}
	b := s.spare[n-1]
	s.spare = s.spare[:n-1]
	return b
}

// await waits until all has come, or nobody brings more, and ends the swarm: dst is not written to any more. It says whether all has come.
func (s *swarm) await(ctx context.Context) (whole bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.whole() && s.err == nil && len(s.sources) > 0 && ctx.Err() == nil {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-changed:
		}
		s.mu.Lock()
	}
	s.dst = nil
	if !s.whole() {
		for _, src := range s.sources {
			src.cut(errOver)
		}
	}
	return s.whole(), s.err
}

// blockWriter makes blocks of what a source brings.
type blockWriter struct {
	*swarm
	*source
	came  func(bytes int)
	block []byte // the one that comes
}

func (w *blockWriter) Write(b []byte) (int, error) {
	written := len(b)
	w.came(written)
	for len(b) > 0 {
		if w.block == nil {
			w.block = w.buffer()
		}
		i := w.source.asked[0].from
		missing := int(w.list.End(i)-i*annex.BlockSize) - len(w.block)
		n := min(missing, len(b))
		w.block = append(w.block, b[:n]...)
		b = b[n:]
		if n == missing {
			block := w.block
			w.block = nil
			if err := w.deliver(w.source, block); err != nil {
				w.came(-len(block))
				return written - len(b), err
			}
		}
	}
	return written, nil
}

// at is bytes from an offset on.
type at struct {
	offset int64
	bytes  []byte
}

func (a at) ReadAt(b []byte, offset int64) (int, error) {
	if offset < a.offset || offset-a.offset >= int64(len(a.bytes)) {
		return 0, io.EOF
	}
	n := copy(b, a.bytes[offset-a.offset:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}
