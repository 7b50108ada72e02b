package status

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"sync"
	"time"
)

// Store holds the newest [Snapshot]. All methods may be called from any goroutine. What is passed in is kept as it is:
// the caller must not change its slices afterwards. A call that changes nothing makes no new version.
type Store struct {
	mu      sync.Mutex
	current Snapshot
	changed chan struct{} // closed and replaced at each change
}

// NewStore returns a store with an empty snapshot. Its version starts at the time of day in milliseconds, so that those
// who followed an agent before its restart see a newer version afterwards.
func NewStore() *Store {
	now := time.Now()
	return &Store{
		current: Snapshot{
			Schema:    Schema,
			Version:   uint64(now.UnixMilli()),
			Time:      now,
			Limits:    Limits{Peers: []PeerLimits{}},
			Clones:    []Clone{},
			Transfers: []Transfer{},
			Warnings:  []Warning{},
		},
		changed: make(chan struct{}),
	}
}

// Snapshot returns the newest snapshot.
func (s *Store) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// Wait returns the newest snapshot as soon as its version is not since; versions in between are dropped.
// The error is the cause of ctx's end.
func (s *Store) Wait(ctx context.Context, since uint64) (Snapshot, error) {
	for {
		s.mu.Lock()
		current, changed := s.current, s.changed
		s.mu.Unlock()
		if current.Version != since {
			return current, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Snapshot{}, context.Cause(ctx)
		}
	}
}

// UpdateAgent changes what is known of the agent itself. change must not call the store.
func (s *Store) UpdateAgent(change func(*Agent)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	agent := s.current.Agent
	change(&agent)
	if agent == s.current.Agent {
		return
	}
	s.current.Agent = agent
	s.publish()
}

// SetLimits shows the limits in force. The order of their Peers means nothing.
func (s *Store) SetLimits(l Limits) {
	l.Peers = slices.SortedFunc(slices.Values(l.Peers), func(a, b PeerLimits) int { return cmp.Compare(a.Name, b.Name) })
	if l.Peers == nil {
		l.Peers = []PeerLimits{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !reflect.DeepEqual(l, s.current.Limits) {
		s.current.Limits = l
		s.publish()
	}
}

// SetClone adds the clone, or replaces the one with the same Path.
func (s *Store) SetClone(c Clone) {
	if c.Peers == nil {
		c.Peers = []Peer{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	put(s, &s.current.Clones, c, compareClones)
}

// RemoveClone forgets the clone at path, its transfers and its warnings.
func (s *Store) RemoveClone(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	remove(s, &s.current.Clones, func(c Clone) bool { return c.Path == path })
	remove(s, &s.current.Transfers, func(t Transfer) bool { return t.Clone == path })
	remove(s, &s.current.Warnings, func(w Warning) bool { return w.Clone == path })
}

// SetTransfer adds the transfer, or replaces the one with the same Key, Clone, Peer and Direction. One that runs is
// neither queued nor paused any more.
func (s *Store) SetTransfer(t Transfer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.State == TransferRunning {
		remove(s, &s.current.Transfers, func(have Transfer) bool {
			return have.waits() && have.Clone == t.Clone && have.Key == t.Key && have.Direction == t.Direction
		})
	}
	put(s, &s.current.Transfers, t, compareTransfers)
}

// waits tells whether the transfer is one of those that SetQueue sets.
func (t Transfer) waits() bool { return t.State == TransferQueued || t.State == TransferPaused }

// SetQueue replaces the queued and paused transfers of the clone at path.
func (s *Store) SetQueue(path string, queued []Transfer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := slices.DeleteFunc(slices.Clone(s.current.Transfers), func(t Transfer) bool {
		return t.Clone == path && t.waits()
	})
	rows = append(rows, queued...)
	slices.SortFunc(rows, compareTransfers)
	if !slices.Equal(rows, s.current.Transfers) {
		s.current.Transfers = rows
		s.publish()
	}
}

// RemoveTransfer forgets the transfer with t's Key, Clone, Peer and Direction.
func (s *Store) RemoveTransfer(t Transfer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	remove(s, &s.current.Transfers, func(have Transfer) bool { return compareTransfers(have, t) == 0 })
}

// Raise adds the warning, or replaces the one with the same Code and Clone. A zero Since becomes the time it was first
// raised.
func (s *Store) Raise(w Warning) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.Since.IsZero() {
		w.Since = time.Now()
		if i, found := slices.BinarySearchFunc(s.current.Warnings, w, compareWarnings); found {
			w.Since = s.current.Warnings[i].Since
		}
	}
	put(s, &s.current.Warnings, w, compareWarnings)
}

// Clear takes the warning back. Clone is empty for one about the whole agent.
func (s *Store) Clear(code, clone string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	remove(s, &s.current.Warnings, func(w Warning) bool { return w.Code == code && w.Clone == clone })
}

// publish makes what s.current holds a new version. The caller holds s.mu.
func (s *Store) publish() {
	s.current.Version++
	s.current.Time = time.Now()
	close(s.changed)
	s.changed = make(chan struct{})
}

// put inserts row in order or replaces its equal. Rows are never changed in place: snapshots handed out share them.
func put[T any](s *Store, rows *[]T, row T, compare func(a, b T) int) {
	i, found := slices.BinarySearchFunc(*rows, row, compare)
	switch {
	case !found:
		*rows = slices.Insert(slices.Clone(*rows), i, row)
	case reflect.DeepEqual((*rows)[i], row):
		return
	default:
		*rows = slices.Clone(*rows)
		(*rows)[i] = row
	}
	s.publish()
}

// remove drops the rows that match.
func remove[T any](s *Store, rows *[]T, match func(T) bool) {
	if !slices.ContainsFunc(*rows, match) {
		return
	}
	*rows = slices.DeleteFunc(slices.Clone(*rows), match)
	s.publish()
}

func compareClones(a, b Clone) int {
	return cmp.Compare(a.Path, b.Path)
}

func compareTransfers(a, b Transfer) int {
	return cmp.Or(
		cmp.Compare(a.Clone, b.Clone),
		cmp.Compare(a.Key, b.Key),
		cmp.Compare(a.Peer, b.Peer),
		cmp.Compare(a.Direction, b.Direction),
	)
}

func compareWarnings(a, b Warning) int {
	return cmp.Or(cmp.Compare(a.Clone, b.Clone), cmp.Compare(a.Code, b.Code))
}
