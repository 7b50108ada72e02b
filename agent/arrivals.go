package agent

import (
	"sync"

	"github.com/git-arbor/arbor/agent/status"
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

// shownJobs is how many of those that wait are shown.
const shownJobs = 10

// showQueue shows people what the queue will do next.
func (c *clone) showQueue() {
	if c.queue == nil {
		return
	}
	var rows []status.Transfer
	for i, j := range c.queue.Next(shownJobs) {
		size, ok := j.Key.Size()
		if !ok {
			size = -1
		}
		rows = append(rows, status.Transfer{
			Key: j.Key.String(), File: j.File, Clone: c.conf.Path, Direction: status.Down, Size: size,
			State: status.TransferQueued, Position: i + 1, Asked: j.Urgent,
		})
	}
	c.agent.store.SetQueue(c.conf.Path, rows)
}
