package transfer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
)

// random gives n bytes that are the same in every run, and others for every seed.
func random(n int, seed byte) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed, byte(n), byte(n >> 8), byte(n >> 16)}).Read(b)
	return b
}

func keyOf(content []byte) annex.Key {
	return annex.KeyFor(sha256.Sum256(content), int64(len(content)), "", annex.DefaultMaxExtensionLength)
}

// gitRun runs git in a folder.
func gitRun(t testing.TB, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", args...)
	home := filepath.Dir(dir)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C", "GIT_TERMINAL_PROMPT=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// clone is a clone with an annex, and nothing in it.
type clone struct {
	*annex.Repo
	git *gitrepo.Repo
	dir string
}

// uuid is every clone's: nothing here tells them apart by it.
const uuid = "00000000-0000-4000-8000-00000000000a"

// newClone makes a clone. settings are names below annex, and values.
func newClone(t testing.TB, settings ...string) *clone {
	t.Helper()
	dir := filepath.Join(annextest.TempDir(t), "repo")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	gitRun(t, dir, "init", "-q")
	config, err := os.OpenFile(filepath.Join(dir, ".git", "config"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(settings, "diskreserve") {
		settings = append(settings, "diskreserve", "1 mb")
	}
	settings = append(settings, "uuid", uuid, "version", "10")
	fmt.Fprintln(config, "[annex]")
	for i := 0; i+1 < len(settings); i += 2 {
		fmt.Fprintf(config, "%s = %s\n", settings[i], settings[i+1])
	}
	if err := config.Close(); err != nil {
		t.Fatal(err)
	}
	return openClone(t, dir)
}

func openClone(t testing.TB, dir string) *clone {
	t.Helper()
	git, err := gitrepo.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := annex.Open(t.Context(), git)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = repo.Close()
		_ = git.Close()
	})
	return &clone{repo, git, dir}
}

// put places content.
func (c *clone) put(t testing.TB, contents ...[]byte) []annex.Key {
	t.Helper()
	var keys []annex.Key
	for _, content := range contents {
		key := keyOf(content)
		tmp := c.TmpPath(key)
		if err := os.MkdirAll(filepath.Dir(tmp), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(tmp, content, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := c.PlaceVerified(key, tmp); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// check checks that every object is what its key says, and that all wanted ones are here.
func (c *clone) check(t interface{ Errorf(string, ...any) }, wanted ...annex.Key) {
	for _, key := range wanted {
		if !c.Has(key) {
			t.Errorf("%s is not here", key)
		}
	}
	err := c.Keys(func(key annex.Key) error {
		path, _ := c.ObjectPath(key)
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		v := key.Verifier()
		if _, err := io.Copy(v, file); err != nil {
			return err
		}
		if err := v.Check(); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	if err != nil {
		t.Errorf("%v", err)
	}
}

// peer is a clone that others get content from: what it does with a connection.
type peer func(ctx context.Context, conn net.Conn)

// honest serves what the clone has.
func honest(c *clone, limits p2p.Limits) peer {
	s := &p2p.Server{UUID: c.UUID(), Annex: c.Repo, Limits: limits, Log: slog.New(slog.DiscardHandler)}
	return func(ctx context.Context, conn net.Conn) { _ = s.ServeAuthed(ctx, conn, "client") }
}

// network is the peers that a queue can reach.
type network struct {
	done    <-chan struct{} // closed when the peers must end
	mu      sync.Mutex
	peers   map[string]peer
	opened  map[string]int // sessions begun
	open    map[string]int // sessions there are
	most    map[string]int // at once
	costs   map[string]int
	silence time.Duration
	serves  sync.WaitGroup
}

func newNetwork(t testing.TB, peers map[string]peer) *network {
	ctx, cancel := context.WithCancel(context.Background())
	n := &network{done: ctx.Done(), peers: peers, opened: map[string]int{}, open: map[string]int{}, most: map[string]int{}, costs: map[string]int{}, silence: 2 * time.Second}
	t.Cleanup(func() {
		cancel()
		n.serves.Wait()
	})
	return n
}

var errUnreachable = errors.New("no route to host")

// socketPair gives the two ends of a connection that buffers, as real ones do.
func socketPair() (mine, theirs net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if mine, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	if theirs, err = l.Accept(); err != nil {
		mine.Close()
		return nil, nil, err
	}
	return mine, theirs, nil
}

func (n *network) dial(ctx context.Context, name string) (*p2p.Client, error) {
	n.mu.Lock()
	serve := n.peers[name]
	n.opened[name]++
	n.mu.Unlock()
	if serve == nil {
		return nil, errUnreachable
	}
	mine, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.open[name]++
	n.most[name] = max(n.most[name], n.open[name])
	n.mu.Unlock()
	n.serves.Go(func() {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		go func() {
			select {
			case <-n.done:
			case <-ctx.Done():
			}
			_ = theirs.Close()
		}()
		serve(ctx, theirs)
		_ = theirs.Close()
		n.mu.Lock()
		n.open[name]--
		n.mu.Unlock()
	})
	return p2p.NewClient(ctx, mine, p2p.ClientOptions{Self: "client", Greeted: true, Silence: n.silence})
}

func (n *network) set(name string, p peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peers[name] = p
}

// holders has every peer hold everything.
func (n *network) holders(annex.Key) []transfer.Holder {
	n.mu.Lock()
	defer n.mu.Unlock()
	var hs []transfer.Holder
	for name := range n.peers {
		hs = append(hs, transfer.Holder{Clone: name, Cost: n.costs[name]})
	}
	return hs
}

// each makes Options.Holders of what gives the holders of one key.
func each(of func(annex.Key) []transfer.Holder) func([]annex.Key) [][]transfer.Holder {
	return func(keys []annex.Key) [][]transfer.Holder {
		all := make([][]transfer.Holder, len(keys))
		for i, k := range keys {
			all[i] = of(k)
		}
		return all
	}
}

// optionsFor are those of a queue of the clone on the network.
func optionsFor(c *clone, n *network) transfer.Options {
	return transfer.Options{Repo: c.Repo, Holders: each(n.holders), Open: n.dial}
}

// watched is a queue that runs, and what it told.
type watched struct {
	*transfer.Queue
	mu     sync.Mutex
	events []transfer.Event
	more   chan struct{} // 1 long
	stop   func()
}

func startQueue(t testing.TB, o transfer.Options) *watched {
	t.Helper()
	w := &watched{more: make(chan struct{}, 1)}
	o.Event = func(e transfer.Event) {
		w.mu.Lock()
		w.events = append(w.events, e)
		w.mu.Unlock()
		select {
		case w.more <- struct{}{}:
		default:
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Retry == (transfer.Retry{}) {
		o.Retry = transfer.Retry{First: 5 * time.Millisecond, Longest: 50 * time.Millisecond}
	}
	w.Queue = transfer.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.Run(ctx)
	}()
	w.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(w.stop)
	return w
}

// told gives the events of a state so far.
func (w *watched) told(s transfer.State) []transfer.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []transfer.Event
	for _, e := range w.events {
		if e.State == s {
			found = append(found, e)
		}
	}
	return found
}

// await waits until a condition on what was told holds.
func (w *watched) await(t interface {
	Helper()
	Fatalf(string, ...any)
}, what string, condition func() bool,
) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !condition() {
		select {
		case <-w.more:
		case <-deadline:
			jobs, bytes := w.Pending()
			t.Fatalf("waited in vain for %s: %d jobs with %d bytes are left", what, jobs, bytes)
		}
	}
}

// awaitPresent waits until n jobs are done.
func (w *watched) awaitPresent(t interface {
	Helper()
	Fatalf(string, ...any)
}, n int,
) {
	t.Helper()
	w.await(t, fmt.Sprint(n, " contents"), func() bool { return len(w.told(transfer.Present)) >= n })
}

func jobs(keys ...annex.Key) []transfer.Job {
	var js []transfer.Job
	for i, key := range keys {
		js = append(js, transfer.Job{Key: key, File: fmt.Sprint("file ", i)})
	}
	return js
}
