package p2p

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
)

// lockTimeout bounds the time a clone has to be reached and to lock content.
const lockTimeout = 10 * time.Second

// Locker locks content at other clones: whoever removes its own copy proves in this way that there are others, which stay meanwhile. Sessions are
// kept for the next content. Its methods may be called by many goroutines at once.
type Locker struct {
	Open func(ctx context.Context, clone string) (*Client, error)

	mu   sync.Mutex
	idle map[string][]*Client
}

// Locked is content that other clones keep until Unlock is called.
type Locked struct {
	Held   []string         // the clones that have locked it
	Failed map[string]error // those that were asked and have not, and why

	unlock []func()
}

// Unlock lets the clones remove the content again.
func (l *Locked) Unlock() {
	for _, unlock := range l.unlock {
		unlock()
	}
}

// Lock has at least need of the clones lock the content, if that many can: the first of them, and where these do not do all others at once. It takes
// no longer than lockTimeout for each of the two. Unlock must follow, however many have done it.
func (l *Locker) Lock(ctx context.Context, key annex.Key, need int, clones []string) *Locked {
	locked := &Locked{Failed: make(map[string]error)}
	first := min(max(need, 0), len(clones))
	for _, some := range [][]string{clones[:first], clones[first:]} {
		if len(locked.Held) < need {
			l.lockAll(ctx, key, some, locked)
		}
	}
	return locked
}

func (l *Locker) lockAll(ctx context.Context, key annex.Key, clones []string, locked *Locked) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, clone := range clones {
		all.Go(func() {
			unlock, err := l.lockAt(ctx, key, clone)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				locked.Failed[clone] = err
				return
			}
			locked.Held = append(locked.Held, clone)
			locked.unlock = append(locked.unlock, unlock)
		})
	}
	all.Wait()
}

// lockAt locks the content at one clone. A kept session may have ended meanwhile: then a new one is tried.
func (l *Locker) lockAt(ctx context.Context, key annex.Key, clone string) (unlock func(), err error) {
	client, kept := l.take(clone)
	for {
		if client == nil {
			if client, err = l.Open(ctx, clone); err != nil {
				return nil, fmt.Errorf("lock %s: %w", key, err)
			}
		}
		release, err := client.Lock(ctx, key)
		if err == nil {
			return func() {
				if release(context.WithoutCancel(ctx)) == nil {
					l.keep(clone, client)
				}
			}, nil
		}
		ended := client.Err() != nil
		l.keep(clone, client)
		if !ended || !kept || ctx.Err() != nil {
			return nil, err
		}
		client, kept = nil, false
	}
}

func (l *Locker) take(clone string) (client *Client, kept bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sessions := l.idle[clone]
	if len(sessions) == 0 {
		return nil, false
	}
	l.idle[clone] = sessions[:len(sessions)-1]
	return sessions[len(sessions)-1], true
}

// keep keeps a session for the next content, if it goes on.
func (l *Locker) keep(clone string, client *Client) {
	if client.Err() != nil {
		_ = client.Close()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.idle == nil {
		l.idle = make(map[string][]*Client)
	}
	l.idle[clone] = append(l.idle[clone], client)
}

// Close ends the sessions. Nothing may be locked any more.
func (l *Locker) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, sessions := range l.idle {
		for _, client := range sessions {
			_ = client.Close()
		}
	}
	l.idle = nil
}
