package gitrepo

import (
	"bytes"
	"compress/zlib"
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
)

const (
	// maxPending bounds the memory, in bytes, for objects that are not written yet; one that is larger than a part of that is written at once.
	maxPending = 8 << 20
	// looseObjects is how many objects are written as a file each; more become a pack, as git does with what it fetches.
	looseObjects = 64
)

// pending are objects that only this process knows yet. They are written before git may need them: when it is started, when a
// reference moves, and at Sync. So many of them cost two files, not one each.
type pending struct {
	mu      sync.Mutex
	objects map[Hash]object
	order   []Hash
	size    int // bytes
}

func (p *pending) read(h Hash) (o object, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o, ok = p.objects[h]
	return o, ok
}

// hold keeps an object until it is written with others.
func (s *objectStore) hold(h Hash, o object) error {
	p := &s.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.objects == nil {
		p.objects = make(map[Hash]object)
	}
	if _, ok := p.objects[h]; !ok {
		p.objects[h] = o
		p.order = append(p.order, h)
		p.size += len(o.data) + objectOverhead
	}
	if p.size < maxPending {
		return nil
	}
	return s.writePending()
}

// flush writes what is pending, so that git finds it.
func (s *objectStore) flush() error {
	s.pending.mu.Lock()
	defer s.pending.mu.Unlock()
	return s.writePending()
}

// writePending is flush with the mutex held.
func (s *objectStore) writePending() error {
	p := &s.pending
	if len(p.order) > looseObjects {
		if err := s.writePack(); err != nil {
			return fmt.Errorf("write pack: %w", err)
		}
	} else {
		// In the order they came, in which none points to one that comes later.
		for _, h := range p.order {
			if err := s.writeLoose(h, p.objects[h]); err != nil {
				return fmt.Errorf("write object: %w", err)
			}
		}
	}
	p.objects, p.order, p.size = nil, nil, 0
	return nil
}

// writePack makes a pack of what is pending, see gitformat-pack(5). A reader looks for the index, which comes last.
func (s *objectStore) writePack() error {
	w, err := newPackWriter(zlib.BestSpeed)
	if err != nil {
		return err
	}
	var index idxfile.Writer
	for _, h := range s.pending.order {
		o, at := s.pending.objects[h], w.buf.Len()
		if err := w.add(o.kind, Hash{}, o.data); err != nil {
			return err
		}
		index.Add(plumbing.Hash(h), uint64(at), crc32.ChecksumIEEE(w.buf.Bytes()[at:]))
	}
	pack := w.finish()
	sum := pack[len(pack)-len(Hash{}):]
	if err := index.OnFooter(plumbing.Hash(sum)); err != nil {
		return err
	}
	idx, err := index.Index()
	if err != nil {
		return err
	}
	var encoded bytes.Buffer
	if _, err := idxfile.NewEncoder(&encoded).Encode(idx); err != nil {
		return err
	}
	name := filepath.Join(s.dirs[0], "pack", fmt.Sprintf("pack-%x", sum))
	if err := s.writePackFile(name+".pack", pack); err != nil {
		return err
	}
	return s.writePackFile(name+".idx", encoded.Bytes())
}

// writePackFile makes a file of a pack. It has its name only when it is durable: half a pack would keep git from all others.
func (s *objectStore) writePackFile(path string, data []byte) error {
	tmp := filepath.Join(filepath.Dir(path), "tmp_pack_"+rand.Text()) // git prune removes forgotten ones
	err := writeFresh(tmp, data)
	if err == nil {
		err = os.Chmod(tmp, 0o444)
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	s.written(path)
	return nil
}
