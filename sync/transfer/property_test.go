package transfer_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
)

// rounds is how many worlds TestAnyMapAnyFailures makes. The seed of each is the name of its subtest.
const rounds = 20

// patience is what all wait for in vain at most: only what hangs waits so long.
const patience = time.Minute

// TestAnyMapAnyFailures: whoever can reach somebody who has the content and tells the truth, or gets it so himself, gets it,
// whatever fails on the way. Nothing false is ever seen, the queues end empty, and nothing goes on after them.
func TestAnyMapAnyFailures(t *testing.T) {
	t.Run("seed", func(t *testing.T) { // so that all have ended when goroutines are counted
		for seed := range uint64(rounds) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, seed)
				w.start()
				w.settle()
				w.finish()
			})
		}
	})
	awaitNoGoroutines(t)
}

// awaitNoGoroutines waits until none is left in the packages that transfer.
func awaitNoGoroutines(t *testing.T) {
	t.Helper()
	left := func() []string {
		buf := make([]byte, 4<<20)
		stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		return slices.DeleteFunc(stacks, func(s string) bool {
			return !strings.Contains(s, "/sync/transfer.(") && !strings.Contains(s, "/sync/p2p.")
		})
	}
	for deadline := time.Now().Add(patience); len(left()) > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("goroutines are left:\n%s", strings.Join(left(), "\n\n"))
		}
	}
}

// trouble is what comes over the first sessions that a member serves. After them the member serves as it should.
type trouble struct {
	kind     string
	sessions int
	bytes    int64 // that pass before, where it comes in the middle
}

// The kinds of trouble.
const (
	refuses     = "refuses"
	unreachable = "unreachable"
	vanishes    = "vanishes" // the connection breaks
	stalls      = "stalls"   // nothing comes any more
	dies        = "dies"     // all it serves and receives ends, and begins anew later
	leaves      = "leaves"   // as vanishes, and it never comes back
)

// link is how a member sees another that it can reach.
type link struct {
	cost    int
	rate    float64
	partial bool // of a liar: what it claims
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
	down   bool
	left   bool // for ever
	conns  []net.Conn

	// These are the test's.
	queue *transfer.Queue
	end   context.CancelFunc
	done  chan struct{}
	seen  map[annex.Key]bool // objects that were read, and are right
}

// world is clones that get content from each other as far as a random map and random troubles let them.
type world struct {
	t        *testing.T
	contents map[annex.Key][]byte
	keys     []annex.Key
	members  []*member
	named    map[string]*member
	lies     map[string]peer

	more    chan struct{} // 1 long
	serving sync.WaitGroup
	mu      sync.Mutex
	events  []string // what happened, to show
	came    bool     // content, since the holders were asked last
	dead    []*member
	back    []string
}

func newWorld(t *testing.T, seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 0x6172626f72)) //nolint:gosec // it must be the same in every run
	w := &world{t: t, contents: map[annex.Key][]byte{}, named: map[string]*member{}, more: make(chan struct{}, 1)}
	for i := range 2 + r.IntN(3) {
		size := r.IntN(100_000)
		if i == 0 || r.IntN(2) == 0 {
			size = mib + 1 + r.IntN(3*mib) // comes in blocks
		}
		content := random(size, byte(seed)+byte(i))
		key := keyOf(content)
		w.contents[key] = content
		w.keys = append(w.keys, key)
	}
	w.lies = lies(w.contents)
	for i := range 3 + r.IntN(3) {
		m := &member{clone: newClone(t), w: w, name: fmt.Sprintf("%c", 'a'+i), links: map[string]link{}, holds: map[annex.Key]bool{}, seen: map[annex.Key]bool{}}
		w.members = append(w.members, m)
		w.named[m.name] = m
	}
	names := make([]string, 0, len(w.lies))
	for name := range w.lies {
		names = append(names, name)
	}
	slices.Sort(names) // a map's order would not be the same in every run
	for _, m := range w.members {
		if r.IntN(5) == 0 {
			m.lie = names[r.IntN(len(names))]
		}
		m.down = m.lie == "" // until it is started
		if r.IntN(3) > 0 {
			m.trouble = trouble{
				kind:     []string{refuses, unreachable, vanishes, vanishes, stalls, stalls, dies, dies, leaves}[r.IntN(9)],
				sessions: 1 + r.IntN(3),
				bytes:    int64(r.IntN(2 * mib)),
			}
		}
		for _, other := range w.members {
			if other != m && r.IntN(3) > 0 {
				m.links[other.name] = link{r.IntN(3), []float64{0, 0, mib, 1 << 30}[r.IntN(4)], r.IntN(2) == 0}
			}
		}
	}
	for _, key := range w.keys {
		first := r.IntN(len(w.members))
		for i, m := range w.members {
			switch {
			case m.lie != "":
			case i == first || r.IntN(6) == 0:
				m.put(t, w.contents[key])
				m.holds[key] = true
			case r.IntN(8) > 0:
				m.wants = append(m.wants, key)
			}
		}
	}
	t.Cleanup(func() { // what is left of a failure
		w.mu.Lock()
		for _, m := range w.members {
			w.disconnect(m)
		}
		w.mu.Unlock()
		for _, m := range w.members {
			if m.end != nil {
				m.end()
				<-m.done
			}
		}
		w.serving.Wait()
	})
	return w
}

// lies are the ways to answer with what is not the content.
func lies(contents map[annex.Key][]byte) map[string]peer {
	all := faults(contents)
	lies := map[string]peer{}
	for _, name := range []string{"wrong bytes", "one wrong byte", "half, and wrong", "too much", "less", "empty and valid", "garbage for content"} {
		lies[name] = all[name]
	}
	list := func(content []byte) []byte {
		v := keyOf(content).Verifier()
		_, _ = v.Write(content)
		return v.Blocks().Bytes()
	}
	// wrong is as long as the content, and differs only late, so that much of it passes.
	wrong := func(content []byte) []byte {
		content = bytes.Clone(content)
		content[len(content)-len(content)/3] ^= 1
		return content
	}
	lies["a bad block"] = blocksOf(func(key annex.Key) ([]byte, []byte) { return list(contents[key]), wrong(contents[key]) })
	lies["a bad list"] = blocksOf(func(key annex.Key) ([]byte, []byte) { return list(wrong(contents[key])), contents[key] })
	lies["another key"] = blocksOf(func(key annex.Key) ([]byte, []byte) {
		other := wrong(contents[key])
		return list(other), other
	})
	return lies
}

// blocksOf is a peer that answers with the list and the content that are given for a key, and has nothing in one piece.
func blocksOf(of func(annex.Key) (list, content []byte)) peer {
	return func(_ context.Context, conn net.Conn) {
		_, _ = io.WriteString(conn, "AUTH-SUCCESS liar\nVERSION 4\n")
		var content []byte
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			verb, rest, _ := strings.Cut(lines.Text(), " ")
			switch verb {
			case "ARBOR-BLOCKS":
				_, name, _ := strings.Cut(rest, " ")
				key, err := annex.ParseKey(name)
				if err != nil {
					return
				}
				var list []byte
				list, content = of(key)
				_, _ = fmt.Fprintf(conn, "ARBOR-LIST %d\n%s", len(list), list)
			case "ARBOR-FROM":
				var offset int
				_, _ = fmt.Sscan(rest, &offset)
				rest := content[min(offset, len(content)):]
				_, _ = fmt.Fprintf(conn, "DATA %d\n%sVALID\n", len(rest), rest)
			case "GET":
				_, _ = io.WriteString(conn, "DATA 0\nINVALID\n")
			}
		}
	}
}

// troubled is a server's connection, over which trouble comes when enough has been written.
type troubled struct {
	net.Conn
	left    int64
	trouble func() // gives up nothing that the connection has: it only closes, or waits
}

func (c *troubled) Write(b []byte) (int, error) {
	if int64(len(b)) <= c.left {
		c.left -= int64(len(b))
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(b[:c.left])
	c.left = 0
	if err != nil {
		return n, err
	}
	c.trouble()
	return n, io.ErrClosedPipe
}

// closing is a client's connection that tells when it is closed.
type closing struct {
	net.Conn
	closed func()
}

func (c closing) Close() error {
	c.closed()
	return c.Conn.Close()
}

// note writes down what happened, and has the test look at it.
func (w *world) note(format string, a ...any) {
	w.events = append(w.events, fmt.Sprintf(format, a...))
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// disconnect ends the sessions that a member serves. The world's mutex is held.
func (w *world) disconnect(m *member) {
	for _, conn := range m.conns {
		_ = conn.Close()
	}
	m.conns = nil
}

// dial begins a session of a member with another.
func (m *member) dial(ctx context.Context, name string) (*p2p.Client, error) {
	w, from := m.w, m.w.named[name]
	const silence = 500 * time.Millisecond
	w.mu.Lock()
	server, down, trouble := from.server, from.down || from.left, from.trouble
	if !down {
		if from.served++; from.served > trouble.sessions {
			trouble.kind = ""
		}
	}
	over := trouble.kind != "" && from.served == trouble.sessions
	if trouble.kind != "" {
		w.note("%s has a session with %s, which %s", m.name, name, trouble.kind)
	}
	w.mu.Unlock()
	comeBack := func() {
		if over && trouble.kind != leaves {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.back = append(w.back, name)
			w.note("%s serves as it should from now on", name)
		}
	}
	if down {
		return nil, errUnreachable
	}
	if trouble.kind == unreachable {
		comeBack()
		return nil, errUnreachable
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	theirs, err := l.Accept()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	sessionCtx := context.WithoutCancel(ctx) // the server learns only from the connection that the client is gone
	closed := make(chan struct{})
	mine := closing{conn, sync.OnceFunc(func() { close(closed) })}
	serve := func(conn net.Conn) { _ = server.ServeAuthed(sessionCtx, conn, m.name) }
	if from.lie != "" {
		serve = func(conn net.Conn) { w.lies[from.lie](sessionCtx, conn) }
	}
	served := theirs
	switch trouble.kind {
	case refuses:
		serve = func(conn net.Conn) { _, _ = io.WriteString(conn, "AUTH-FAILURE\n") }
	case stalls:
		served = &troubled{theirs, trouble.bytes, func() { <-closed }}
	case vanishes, leaves, dies:
		served = &troubled{theirs, trouble.bytes, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			_ = theirs.Close()
			switch {
			case trouble.kind == leaves:
				from.left = true
				w.disconnect(from)
				w.note("%s is gone for good", name)
			case trouble.kind == dies && from.server == server && !from.down:
				from.down = true
				w.disconnect(from)
				w.dead = append(w.dead, from)
				w.note("%s is dead", name)
			}
		}}
	}
	w.mu.Lock()
	from.conns = append(from.conns, theirs)
	w.mu.Unlock()
	w.serving.Go(func() {
		defer comeBack()
		defer theirs.Close()
		serve(served)
	})
	return p2p.NewClient(ctx, mine, p2p.ClientOptions{Self: m.name, Greeted: true, Silence: silence})
}

// holders gives whom the member knows to have the content, or to be about to.
func (m *member) holders(key annex.Key) []transfer.Holder {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	var hs []transfer.Holder
	for name, l := range m.links {
		from := m.w.named[name]
		h := transfer.Holder{Clone: name, Cost: l.cost, Rate: l.rate}
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
		Repo: m.Repo, Arrivals: arrivals, Holders: m.holders, Open: m.dial, Log: log,
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
		// The longest wait is longer than any attempt, as it is by default. Were it shorter, two cheap holders that fail could
		// take turns, each being ready again when the other has failed, and a dearer one would never be asked.
		Retry: transfer.Retry{First: 5 * time.Millisecond, Longest: 2 * time.Second},
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

func (w *world) start() {
	for _, m := range w.members {
		if m.lie == "" {
			m.start()
		}
	}
}

// deserving gives the members that must get each content: who tells the truth, and can be reached in the end, has it or gets
// it itself.
func (w *world) deserving() map[annex.Key][]*member {
	deserving := map[annex.Key][]*member{}
	for _, key := range w.keys {
		gives := map[string]bool{}
		has := map[*member]bool{}
		for _, m := range w.members {
			if m.lie == "" && !slices.Contains(m.wants, key) && m.Has(key) {
				has[m] = true
				gives[m.name] = m.trouble.kind != leaves
			}
		}
		for again := true; again; {
			again = false
			for _, m := range w.members {
				if has[m] || !slices.Contains(m.wants, key) {
					continue
				}
				for name := range m.links {
					if gives[name] {
						has[m], again = true, true
						gives[m.name] = m.trouble.kind != leaves
						deserving[key] = append(deserving[key], m)
						break
					}
				}
			}
		}
	}
	return deserving
}

// settle does what the world around the queues does, until all have what they deserve.
func (w *world) settle() {
	deserving := w.deserving()
	settled := func() bool {
		for key, members := range deserving {
			for _, m := range members {
				if !m.holds[key] {
					return false
				}
			}
		}
		return true
	}
	deadline := time.After(patience)
	for {
		w.mu.Lock()
		came, dead, back, all := w.came, w.dead, w.back, settled()
		w.came, w.dead, w.back = false, nil, nil
		w.mu.Unlock()
		w.look(false)
		for _, m := range dead {
			if m.lie == "" {
				m.stop()
				m.start()
			} else {
				w.mu.Lock()
				m.down = false
				w.mu.Unlock()
			}
			back = append(back, m.name)
		}
		if came || len(back) > 0 {
			for _, m := range w.members {
				if m.queue != nil {
					m.queue.Refresh(back...)
				}
			}
		}
		if all && len(dead) == 0 {
			return
		}
		select {
		case <-w.more:
		case <-deadline:
			w.fatal("not everybody gets what he could")
		}
	}
}

// look compares the objects that there are, or only those that are new, with the contents.
func (w *world) look(again bool) {
	for _, m := range w.members {
		for _, key := range w.keys {
			if m.seen[key] && !again {
				continue
			}
			path, _ := m.ObjectPath(key)
			b, err := os.ReadFile(path)
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				w.fatal(err.Error())
			case !bytes.Equal(b, w.contents[key]):
				w.fatal(fmt.Sprintf("%s has an object of %s that is not its content", m.name, key))
			default:
				m.seen[key] = true
			}
		}
	}
}

// finish checks what is to be at the end.
func (w *world) finish() {
	for key, members := range w.deserving() {
		for _, m := range members {
			if !m.Has(key) {
				w.fatal(fmt.Sprintf("%s was told to have %s, and has not", m.name, key))
			}
		}
	}
	for _, m := range w.members {
		if m.queue == nil {
			continue
		}
		for _, key := range m.wants {
			// What nobody had to bring may have come all the same, before its holder left.
			if !slices.Contains(w.deserving()[key], m) {
				m.queue.Cancel(key)
			}
		}
		jobs, size := m.queue.Pending()
		if next := m.queue.Next(10); jobs > 0 || size > 0 || len(next) > 0 {
			w.fatal(fmt.Sprintf("%s's queue has %d jobs with %d bytes left, next %+v", m.name, jobs, size, next))
		}
	}
	for _, m := range w.members {
		if m.queue != nil {
			m.stop()
			m.queue = nil
		}
	}
	// Nobody closes the servers' side: a session that outlives its queue is a leak.
	served := make(chan struct{})
	go func() {
		defer close(served)
		w.serving.Wait()
	}()
	select {
	case <-served:
	case <-time.After(patience):
		w.fatal("sessions outlive their queues")
	}
	w.look(true)
	for _, m := range w.members {
		for _, key := range m.wants {
			_, err := os.Lstat(m.TmpPath(key))
			if m.Has(key) && !errors.Is(err, fs.ErrNotExist) {
				w.fatal(fmt.Sprintf("%s has %s, and its temporary file: %v", m.name, filepath.Base(m.TmpPath(key)), err))
			}
		}
	}
}

// fatal fails the test, and shows the world.
func (w *world) fatal(what string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var s strings.Builder
	for _, m := range w.members {
		fmt.Fprintf(&s, "%s: lie %q, trouble %+v, left %t, reaches %v\n", m.name, m.lie, m.trouble, m.left, m.links)
		for _, key := range w.keys {
			size, _ := key.Size()
			fmt.Fprintf(&s, "\t%d bytes: wanted %t, held %t\n", size, slices.Contains(m.wants, key), m.holds[key])
		}
	}
	last := w.events[max(len(w.events)-150, 0):]
	w.t.Fatalf("%s\n%s%s", what, s.String(), strings.Join(last, "\n"))
}
