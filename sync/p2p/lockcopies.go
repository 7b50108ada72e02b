package p2p

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
)

// lockTimeout bounds the time a place has to be reached and to lock content.
const lockTimeout = 10 * time.Second

// LockSession is a session with a place that can prove to have contents: with another clone (Client), or with a remote.
type LockSession interface {
	// Lock has the place keep the content until unlock is called; ErrFailed when it does not. The session takes no other request meanwhile.
	Lock(ctx context.Context, key annex.Key) (unlock func(context.Context) error, err error)

	Close() error
}

// Locker locks content at other places: whoever removes its own copy proves in this way that there are others, which stay meanwhile. Sessions are
// kept for the next content, and who has not answered once is asked no more. Its methods may be called by many goroutines at once.
type Locker struct {
	Open func(ctx context.Context, place string) (LockSession, error)

	mu     sync.Mutex
	idle   map[string][]LockSession
	silent map[string]error
}

// Locked is content that other places keep until Unlock is called.
type Locked struct {
	Held   []string         // the places that have locked it
	Failed map[string]error // those that were asked and have not, and why

	unlock []func()
}

// Unlock lets the places remove the content again.
func (l *Locked) Unlock() {
	for _, unlock := range l.unlock {
		unlock()
	}
}

// Lock has at least need of the places lock the content, if that many can: the first of them, and where these do not do all others at once. Those of
// the next tier are asked when a tier does not suffice. It takes no longer than twice lockTimeout for each tier. Unlock must follow, however many
// have done it.
func (l *Locker) Lock(ctx context.Context, key annex.Key, need int, tiers ...[]string) *Locked {
	locked := &Locked{Failed: make(map[string]error)}
	for _, places := range tiers {
		first := min(max(need-len(locked.Held), 0), len(places))
		for _, some := range [][]string{places[:first], places[first:]} {
			if len(locked.Held) < need {
				l.lockAll(ctx, key, some, locked)
			}
		}
	}
	return locked
}

func (l *Locker) lockAll(ctx context.Context, key annex.Key, places []string, locked *Locked) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, place := range places {
		all.Go(func() {
			unlock, err := l.lockAt(ctx, key, place)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				locked.Failed[place] = err
				return
			}
			locked.Held = append(locked.Held, place)
			locked.unlock = append(locked.unlock, unlock)
		})
	}
	all.Wait()
}

// lockAt locks the content at one place. A kept session may have ended meanwhile: then a new one is tried.
func (l *Locker) lockAt(ctx context.Context, key annex.Key, place string) (unlock func(), err error) {
	session, kept, err := l.take(place)
	for err == nil {
		if session == nil {
			if session, err = l.Open(ctx, place); err != nil {
				err = fmt.Errorf("lock %s: %w", key, err)
				break
			}
		}
		var release func(context.Context) error
		if release, err = session.Lock(ctx, key); err == nil {
			return func() {
				if release(context.WithoutCancel(ctx)) == nil {
					l.keep(place, session)
				} else {
					_ = session.Close()
				}
			}, nil
		}
		if errors.Is(err, ErrFailed) {
			l.keep(place, session)
			return nil, err
		}
		_ = session.Close()
		if kept && ctx.Err() == nil {
			session, kept, err = nil, false, nil
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.silent == nil {
		l.silent = make(map[string]error)
	}
	l.silent[place] = err
	return nil, err
}

// take gives a session that was kept, if there is one. The error is why the place is not to be asked.
func (l *Locker) take(place string) (session LockSession, kept bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.silent[place]; err != nil {
		return nil, false, err
	}
	sessions := l.idle[place]
	if len(sessions) == 0 {
		return nil, false, nil
	}
	l.idle[place] = sessions[:len(sessions)-1]
	return sessions[len(sessions)-1], true, nil
}

// keep keeps a session for the next content.
func (l *Locker) keep(place string, session LockSession) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.idle == nil {
		l.idle = make(map[string][]LockSession)
	}
	l.idle[place] = append(l.idle[place], session)
}

// Close ends the sessions. Nothing may be locked any more.
func (l *Locker) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, sessions := range l.idle {
		for _, session := range sessions {
			_ = session.Close()
		}
	}
	l.idle = nil
}
