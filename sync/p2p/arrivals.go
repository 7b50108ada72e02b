package p2p

import (
	"context"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/sync/annex"
)

const (
	// handover is how long those who are sent an arriving content are kept waiting while its next source is found.
	handover = 3 * time.Second
	// maxInterrupted bounds the contents of which it is remembered how far they were checked.
	maxInterrupted = 64
)

// Arrivals knows which contents a clone is receiving block by block, and how far each is checked, so that a Server can pass
// them on meanwhile. It outlives the single attempts: who waits for more is not told when one source is replaced by another,
// and what was checked is not read again. The zero value is ready; any goroutine may use it.
type Arrivals struct {
	mu sync.Mutex
	of map[annex.Key]*arrival
}

// arrival is a content that comes, is waited for, or was interrupted. The mutex of Arrivals guards it.
type arrival struct {
	changed chan struct{} // closed, and made anew, at every change
	waiting int           // who read it, or wait for it to begin
	list    *annex.BlockList
	via     []string
	file    *os.File    // while it comes
	left    os.FileInfo // of the file when it was interrupted
	checked int64       // bytes; what is before them is what the list says
	over    bool        // it has come, or was given up; another of the same key may have begun
}

// change wakes all who wait.
func (a *arrival) change() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// find gives the arrival of the key, if need be a new one.
func (s *Arrivals) find(key annex.Key) *arrival {
	a := s.of[key]
	if a == nil {
		a = &arrival{changed: make(chan struct{})}
		if s.of == nil {
			s.of = map[annex.Key]*arrival{}
		}
		s.of[key] = a
	}
	return a
}

// known gives how many blocks of the file need no check: they were checked, by a list that says the same of them, and the
// file is as it was left.
func (s *Arrivals) known(file *os.File, list *annex.BlockList) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.of[list.Key()]
	if a == nil || a.left == nil || !sameFile(file, a.left) || !unchanged(file, a.left) {
		return 0
	}
	blocks := a.list.Agree(list)
	for blocks > 0 && list.End(blocks-1) > a.checked {
		blocks--
	}
	return blocks
}

// begin notes that content comes into the file, of which this many bytes are checked.
func (s *Arrivals) begin(file *os.File, list *annex.BlockList, via []string, checked int64) *arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(list.Key())
	goesOn := a.list == nil || a.left != nil && a.checked <= checked && a.list.Agree(list) == list.Blocks() && sameFile(file, a.left)
	if !goesOn {
		s.end(a, 0)
		a = s.find(list.Key())
	}
	a.list, a.via, a.file, a.left, a.checked = list, via, file, nil, checked
	a.change()
	return a
}

func sameFile(file *os.File, other os.FileInfo) bool {
	fi, err := file.Stat()
	return err == nil && os.SameFile(fi, other)
}

// advance notes how far the content is checked.
func (s *Arrivals) advance(a *arrival, checked int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.checked = checked
	a.change()
}

// interrupt notes that no more comes for now.
func (s *Arrivals) interrupt(a *arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left, err := a.file.Stat()
	if err != nil {
		s.end(a, 0)
		return
	}
	a.file, a.left = nil, left
	a.change()
	s.forget(a)
}

// forget takes away interrupted arrivals that nobody reads, other than the newest, when there are too many.
func (s *Arrivals) forget(newest *arrival) {
	var idle []*arrival
	for _, a := range s.of {
		if a.left != nil && a.waiting == 0 && a != newest {
			idle = append(idle, a)
		}
	}
	for len(idle) >= maxInterrupted {
		s.end(idle[0], 0)
		idle = idle[1:]
	}
}

// finish notes that the content has come.
func (s *Arrivals) finish(a *arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(a, a.checked)
}

// disown notes that the list was a lie.
func (s *Arrivals) disown(a *arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(a, 0)
}

// end takes an arrival away; its readers may still have this many bytes. The mutex is held.
func (s *Arrivals) end(a *arrival, checked int64) {
	a.over, a.file, a.left, a.checked = true, nil, nil, checked
	a.change()
	if key := a.list.Key(); s.of[key] == a {
		delete(s.of, key)
	}
}

// arriving is one reader of an arrival.
type arriving struct {
	s    *Arrivals
	a    *arrival
	list *annex.BlockList
	via  []string
	file *os.File
}

// open waits for content of the key to come, and gives it; nil when that does not happen in time.
func (s *Arrivals) open(ctx context.Context, key annex.Key, wait time.Duration) (*arriving, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(key)
	a.waiting++
	for a.file == nil && !a.over {
		changed := a.changed
		s.mu.Unlock()
		var late bool
		select {
		case <-ctx.Done():
			late = true
		case <-timer.C:
			late = true
		case <-changed:
		}
		s.mu.Lock()
		if late {
			break
		}
	}
	if a.file == nil {
		s.leave(key, a)
		return nil, ctx.Err()
	}
	// A descriptor of its own: the file outlives its Partial, and its name.
	fd, err := unix.FcntlInt(a.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		s.leave(key, a)
		return nil, err
	}
	return &arriving{s: s, a: a, list: a.list, via: a.via, file: os.NewFile(uintptr(fd), a.file.Name())}, nil
}

// leave counts one reader less. The mutex is held.
func (s *Arrivals) leave(key annex.Key, a *arrival) {
	a.waiting--
	if a.waiting == 0 && a.list == nil && s.of[key] == a {
		delete(s.of, key)
	}
}

// more waits until the content is checked beyond the offset, and gives how far; ErrEnded when no more comes.
func (r *arriving) more(ctx context.Context, offset int64) (int64, error) {
	var late <-chan time.Time
	for {
		r.s.mu.Lock()
		checked, changed, over, comes := r.a.checked, r.a.changed, r.a.over, r.a.file != nil
		r.s.mu.Unlock()
		switch {
		case checked > offset:
			return checked, nil
		case over:
			return 0, ErrEnded
		case comes:
			late = nil
		case late == nil:
			timer := time.NewTimer(handover)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-late:
			return 0, ErrEnded
		case <-changed:
		}
	}
}

func (r *arriving) close() {
	_ = r.file.Close()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.leave(r.list.Key(), r.a)
}
