package agent

import (
	"sync"

	"github.com/git-arbor/arbor/sync/annex"
)

// arrivals collects what the queue's goroutines have done, for the actor.
type arrivals struct {
	mu    sync.Mutex
	keys  []annex.Key            // placed
	puts  map[string][]annex.Key // put to remotes, by their ids
	moved bool                   // something went back into the queue
	wake  chan struct{}          // 1 long
}

func (a *arrivals) add(k annex.Key) {
	a.mu.Lock()
	a.keys = append(a.keys, k)
	a.mu.Unlock()
	a.signal()
}

func (a *arrivals) put(remote string, k annex.Key) {
	a.mu.Lock()
	if a.puts == nil {
		a.puts = make(map[string][]annex.Key)
	}
	a.puts[remote] = append(a.puts[remote], k)
	a.mu.Unlock()
	a.signal()
}

func (a *arrivals) putBack() {
	a.mu.Lock()
	a.moved = true
	a.mu.Unlock()
	a.signal()
}

func (a *arrivals) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *arrivals) take() (keys []annex.Key, puts map[string][]annex.Key, moved bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	keys, puts, moved = a.keys, a.puts, a.moved
	a.keys, a.puts, a.moved = nil, nil, false
	return keys, puts, moved
}
