package transfer_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
)

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
				m.links[other.name] = link{r.IntN(3), []float64{0, 0, mib, 1 << 30}[r.IntN(4)], r.IntN(2) == 0, r.IntN(2) == 0}
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

// note writes down what happened, and has the test look at it.
func (w *world) note(format string, a ...any) {
	w.events = append(w.events, fmt.Sprintf(format, a...))
	select {
	case w.more <- struct{}{}:
	default:
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
