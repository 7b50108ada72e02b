package transfer_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
)

// link is how a member sees another that it can reach.
type link struct {
	cost    int
	rate    float64
	partial bool // of a liar: what it claims
	beside  bool // it may bring parts of a content beside another
}

// member is a clone of a world.
type member struct {
	*clone
	w       *world
	name    string
	links   map[string]link
	lie     string // what it does with what it is asked for; empty: it tells the truth
	trouble trouble
	wants   []annex.Key

	// The world's mutex guards the rest.
	server *p2p.Server
	holds  map[annex.Key]bool // as the others know
	served int                // sessions
	begun  int                // sessions with others
	got    int64              // bytes
	down   bool
	left   bool // for ever
	conns  []net.Conn

	// These are the test's.
	queue *transfer.Queue
	end   context.CancelFunc
	done  chan struct{}
	seen  map[annex.Key]bool // objects that were read, and are right
}

// holders gives whom the member knows to have the content, or to be about to.
func (m *member) holders(key annex.Key) []transfer.Holder {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	var hs []transfer.Holder
	for name, l := range m.links {
		from := m.w.named[name]
		h := transfer.Holder{Clone: name, Cost: l.cost, Rate: l.rate, Beside: l.beside}
		switch {
		case from.lie != "":
			h.Partial = l.partial
		case from.holds[key]:
		case slices.Contains(from.wants, key):
			h.Partial = true
		default:
			continue
		}
		hs = append(hs, h)
	}
	return hs
}

// start begins to serve, and to get what is wanted, as a process that knows nothing of one before it.
func (m *member) start() {
	arrivals := new(p2p.Arrivals)
	log := slog.New(slog.DiscardHandler)
	m.w.mu.Lock()
	m.server = &p2p.Server{UUID: m.name, Annex: m.Repo, Arrivals: arrivals, Silence: 500 * time.Millisecond, Log: log}
	m.down = false
	m.w.mu.Unlock()
	m.queue = transfer.New(transfer.Options{
		Repo: m.Repo, Arrivals: arrivals, Holders: each(m.holders), Open: m.dial, Log: log,
		Event: func(e transfer.Event) {
			m.w.mu.Lock()
			defer m.w.mu.Unlock()
			if e.State == transfer.Present {
				m.holds[e.Job.Key], m.w.came = true, true
			}
			size, _ := e.Job.Key.Size()
			m.w.note("%s: %d of %d bytes from %q: %s %v", m.name, e.Bytes, size, e.Clone, e.State, e.Err)
		},
		Patience: 200 * time.Millisecond,
		Shared:   1,                                                                           // whatever has blocks
		Retry:    transfer.Retry{First: 5 * time.Millisecond, Longest: 50 * time.Millisecond}, // shorter than many an attempt
	})
	m.queue.Add(jobs(m.wants...)...)
	var ctx context.Context
	ctx, m.end = context.WithCancel(context.Background())
	done, queue := make(chan struct{}), m.queue
	m.done = done
	go func() {
		defer close(done)
		_ = queue.Run(ctx)
	}()
}

// stop ends what start began.
func (m *member) stop() {
	m.end()
	select {
	case <-m.done:
	case <-time.After(patience):
		m.w.fatal(m.name + "'s queue does not end")
	}
	if running := m.queue.Running(); len(running) > 0 {
		m.w.fatal(fmt.Sprintf("%s's queue has ended, and still %+v runs", m.name, running))
	}
}
