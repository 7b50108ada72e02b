package annex

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A Promise is a lock on content for somebody who may count on it for some time even if this process ends. Until when is noted beside the object, as
// newer versions of git-annex do it (Annex/Content.hs lockContentShared): in OBJECT.rtm, in seconds since 1970. OBJECT.rtl is locked while
// that is written. Repositories before version 10 have no such notes.
type Promise struct {
	lock  *contentLock
	noted bool
}

// promises are the notes of this process.
type promises struct {
	mu sync.Mutex
	of map[string]*promised // by object
}

// promised is what the promises that are held at the moment have noted for an object.
type promised struct {
	held  int
	until clock // the latest of them
	lost  clock // until when others may count on the content who have no lock any more
}

// PromiseContent is LockContent for somebody who counts on the content for as long as keep also if the lock is lost; not at all when keep is 0.
func (r *Repo) PromiseContent(ctx context.Context, k Key, keep time.Duration) (p *Promise, ok bool, err error) {
	lock, err := r.lockContent(k)
	if lock == nil {
		return nil, false, err
	}
	p = &Promise{lock: lock}
	if lock.beside && keep > 0 {
		// Where it cannot be noted, because the disk is full, it is still locked.
		p.noted = r.promises.note(ctx, lock, time.Now().Add(keep)) == nil
	}
	return p, true, nil
}

// Release ends a promise that nobody counts on any more.
func (p *Promise) Release() {
	switch {
	case p.lock == nil:
	case p.noted:
		p.lock.repo.promises.forget(p.lock)
	default:
		p.lock.release(nil)
	}
	p.lock = nil
}

// Leave is Release when somebody may still count on the content: what is noted stays.
func (p *Promise) Leave() {
	if p.lock != nil && p.noted {
		p.lock.repo.promises.leave(p.lock)
		p.lock = nil
	}
	p.Release()
}

// note has an object that is locked stay until a time, or longer.
func (s *promises) note(ctx context.Context, lock *contentLock, until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := clockAt(until)
	all := s.of[lock.object]
	if all == nil {
		all = &promised{}
	}
	err := lock.repo.intoKeyDir(filepath.Dir(lock.object), func() error {
		writing, err := waitLock(ctx, lock.object+".rtl", true)
		if err != nil {
			return err
		}
		defer writing.unlock()
		before := retention(lock.object)
		if all.held == 0 && before.follows(time.Now()) && !lock.shared() {
			all.lost = before
		}
		return lock.repo.noteRetention(ctx, lock.object, latest(c, before))
	})
	if err != nil {
		return fmt.Errorf("note until when content is kept: %w", err)
	}
	all.held++
	all.until = latest(all.until, c)
	if s.of == nil {
		s.of = make(map[string]*promised)
	}
	s.of[lock.object] = all
	return nil
}

// leave ends a lock whose note stays.
func (s *promises) leave(lock *contentLock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.of[lock.object]
	all.lost = retention(lock.object)
	s.end(lock, all, nil)
}

// forget ends a lock. The last takes away what the locks have noted.
func (s *promises) forget(lock *contentLock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.of[lock.object]
	s.end(lock, all, func() {
		switch now := retention(lock.object); {
		case now.compare(all.until) > 0: // another process has promised it for longer
		case all.lost.follows(time.Now()):
			_ = lock.repo.noteRetention(context.Background(), lock.object, all.lost)
		default:
			_ = errors.Join(os.Remove(lock.object+".rtm"), os.Remove(lock.object+".rtl"))
		}
	})
}

func (s *promises) end(lock *contentLock, all *promised, last func()) {
	if all.held--; all.held == 0 {
		delete(s.of, lock.object)
	}
	lock.release(last)
}

// retention gives until when an object is to be kept; unknown when nothing is noted.
func retention(object string) clock {
	content, err := os.ReadFile(object + ".rtm")
	if err != nil {
		return clock{}
	}
	for line := range logLines(content) {
		until, _ := parseClock(line)
		return until
	}
	return clock{}
}

// noteRetention writes until when an object is to be kept. The directory of the object must be writable.
func (r *Repo) noteRetention(ctx context.Context, object string, until clock) error {
	dir, release, err := r.tmpDir(ctx)
	if err != nil {
		return err
	}
	defer release()
	f, err := createTemp(dir, "retention", 0o666)
	if err != nil {
		return err
	}
	_, err = f.WriteString(until.String())
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), object+".rtm")
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
