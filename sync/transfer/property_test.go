package transfer_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
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
	w.count()
	for _, m := range w.members {
		for _, key := range m.wants {
			_, err := os.Lstat(m.TmpPath(key))
			if m.Has(key) && !errors.Is(err, fs.ErrNotExist) {
				w.fatal(fmt.Sprintf("%s has %s, and its temporary file: %v", m.name, filepath.Base(m.TmpPath(key)), err))
			}
		}
	}
}

// count sees that nothing has come twice, but a block for each session that ended. Who was lied to, or has died, may have got more.
func (w *world) count() {
	for _, m := range w.members {
		liar := slices.ContainsFunc(w.members, func(from *member) bool {
			_, reached := m.links[from.name]
			return reached && from.lie != ""
		})
		most := int64(m.begun) * (mib + overhead)
		for _, key := range m.wants {
			size, _ := key.Size()
			most += size
		}
		if !liar && m.trouble.kind != dies && m.got > most {
			w.fatal(fmt.Sprintf("%s got %d bytes in %d sessions, more than %d", m.name, m.got, m.begun, most))
		}
	}
}
