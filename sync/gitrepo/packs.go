package gitrepo

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// racyWindow is how old the last change of a directory must be before its time stamp proves that nothing
	// was added since: file systems stamp in steps of several milliseconds.
	racyWindow = 100 * time.Millisecond
)

// packStore reads the packs of some objects directories. It follows git making and removing packs
// beside it: only what is new is loaded, and only when an object is not found.
type packStore struct {
	dirs []string

	mu    sync.Mutex // the reader is not concurrent
	packs map[string]*pack
	seen  []time.Time // per directory: modification time of objects/pack when it was listed; zero: list again
	rd    packReader
}

// pack is one pack with its index in memory.
type pack struct {
	idx  *packIndex
	data *os.File
}

func (s *packStore) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first error
	for path := range s.packs {
		if err := s.drop(path); err != nil && first == nil {
			first = fmt.Errorf("close pack: %w", err)
		}
	}
	s.seen = nil
	return first
}

func (s *packStore) drop(path string) error {
	p := s.packs[path]
	delete(s.packs, path)
	s.rd.leave(p)
	return p.data.Close()
}

// refresh lists the directories that changed since they were listed. It reports whether the set of packs changed.
func (s *packStore) refresh() (bool, error) {
	if s.seen == nil {
		s.seen = make([]time.Time, len(s.dirs))
		s.packs = make(map[string]*pack)
	}
	changed := false
	for i, objects := range s.dirs {
		dir := filepath.Join(objects, "pack")
		st, err := os.Stat(dir)
		if err != nil || (!s.seen[i].IsZero() && st.ModTime().Equal(s.seen[i])) {
			continue
		}
		s.seen[i] = time.Time{}
		if time.Since(st.ModTime()) > racyWindow {
			s.seen[i] = st.ModTime()
		}
		c, settled, err := s.list(dir)
		if err != nil {
			return changed, err
		}
		if !settled {
			s.seen[i] = time.Time{}
		}
		changed = changed || c
	}
	return changed, nil
}

// list opens the packs of one directory that are new and forgets those that are gone. settled is false when git was seen
// replacing one.
func (s *packStore) list(dir string) (changed, settled bool, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, false, err
	}
	settled = true
	here := make(map[string]bool)
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".idx")
		if !ok || !strings.HasPrefix(name, "pack-") {
			continue
		}
		path := filepath.Join(dir, name)
		here[path] = true
		if s.packs[path] != nil {
			continue
		}
		p, err := s.openPack(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errPackReplaced) {
			settled = false
			continue
		}
		if err != nil {
			return changed, settled, err
		}
		s.packs[path] = p
		changed = true
	}
	for path := range s.packs {
		if filepath.Dir(path) == dir && !here[path] {
			_ = s.drop(path)
			changed = true
		}
	}
	return changed, settled, nil
}

// errPackReplaced says that a pack and its index were not made together: a repack with the same objects gives the same
// name to another order.
var errPackReplaced = errors.New("pack and index do not match")

// openPack opens a pack with its index. Both stay readable when git removes the files.
func (s *packStore) openPack(path string) (*pack, error) {
	idx, err := readPackIndex(path + ".idx")
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path + ".pack")
	if err != nil {
		return nil, err
	}
	var trailer [20]byte
	end, err := f.Seek(-int64(len(trailer)), io.SeekEnd)
	if err == nil {
		_, err = f.ReadAt(trailer[:], end)
	}
	if err == nil && trailer != idx.pack {
		err = errPackReplaced
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &pack{idx, f}, nil
}

// find calls fn with the pack that has h. When none has it, it looks for new packs and tries again. ErrNotFound.
func (s *packStore) find(h Hash, fn func(p *pack, offset int64) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		if _, err := s.refresh(); err != nil {
			return err
		}
	}
	for {
		failed := s.findOpen(h, fn)
		if failed == nil || errors.Is(failed, ErrTooBig) {
			return failed
		}
		changed, err := s.refresh()
		if err != nil {
			return err
		}
		if !changed {
			return failed
		}
	}
}

// findOpen is find in the packs that are open. s.mu is held.
func (s *packStore) findOpen(h Hash, fn func(p *pack, offset int64) error) error {
	failed := ErrNotFound
	for _, p := range s.packs {
		offset, ok := p.idx.find(h)
		if !ok {
			continue
		}
		err := fn(p, offset)
		if err == nil || errors.Is(err, ErrTooBig) {
			return err
		}
		failed = err
	}
	return failed
}

func (s *packStore) has(h Hash) bool {
	return s.find(h, func(*pack, int64) error { return nil }) == nil
}

func (s *packStore) size(h Hash) (n int64, err error) {
	err = s.find(h, func(p *pack, offset int64) error {
		n, err = s.rd.size(p, offset)
		return err
	})
	return n, err
}

func (s *packStore) read(h Hash, max int64) (o object, err error) {
	err = s.find(h, func(p *pack, offset int64) error {
		o, err = s.rd.read(p, offset, max)
		return err
	})
	return o, err
}

// readOpen is read from the packs that are open.
func (s *packStore) readOpen(h Hash, max int64) (o object, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.findOpen(h, func(p *pack, offset int64) error {
		o, err = s.rd.read(p, offset, max)
		return err
	})
	return o, err
}

// PackOrder gives in which order objects are read fastest: that of the packs, where many are what is different from one nearby. Which object is the
// i-th, hash says. It is no more than a hint.
func (r *Repo) PackOrder(n int, hash func(i int) Hash) []int {
	s := &r.objects.packs
	s.mu.Lock()
	defer s.mu.Unlock()
	offsets := make([]int64, n)
	order := make([]int, n)
	for i := range n {
		order[i] = i
		for _, p := range s.packs {
			if offset, ok := p.idx.find(hash(i)); ok {
				offsets[i] = offset
				break
			}
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(offsets[a], offsets[b]) })
	return order
}
