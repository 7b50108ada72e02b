package annex

import (
	"context"
	"fmt"
	"os"
	"sync"
)

// blockListMemory bounds the block lists that a Repo remembers, in bytes: those of half a TiB of content.
const blockListMemory = 16 << 20

// blockLists remembers block lists. They are kept in memory alone: a list that was not kept costs one reading of its object,
// where a file for each would have to go whenever git-annex drops the content, and would be one more thing that can be wrong.
type blockLists struct {
	mu      sync.Mutex
	lists   map[Key]*BlockList
	order   []Key // as they came
	bytes   int
	reading map[Key]chan struct{} // closed when the list has been made, or could not be
}

func newBlockLists() *blockLists {
	return &blockLists{lists: map[Key]*BlockList{}, reading: map[Key]chan struct{}{}}
}

// keep remembers a list, and forgets those that came first when there are too many.
func (b *blockLists) keep(l *BlockList) {
	if l == nil || l.Blocks() < 2 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lists[l.key] != nil {
		return
	}
	b.lists[l.key] = l
	b.order = append(b.order, l.key)
	b.bytes += len(l.states)
	for b.bytes > blockListMemory && len(b.order) > 1 {
		oldest := b.order[0]
		b.order = b.order[1:]
		b.bytes -= len(b.lists[oldest].states)
		delete(b.lists, oldest)
	}
}

// begin gives the list if it is remembered. If not, wait is the end of somebody's reading; nil: the caller is to read, and to call
// done.
func (b *blockLists) begin(k Key) (l *BlockList, wait <-chan struct{}, done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.lists[k]; l != nil {
		return l, nil, nil
	}
	if reading, ok := b.reading[k]; ok {
		return nil, reading, nil
	}
	reading := make(chan struct{})
	b.reading[k] = reading
	return nil, nil, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.reading, k)
		close(reading)
	}
}

// KeepBlocks remembers the list of content that has been proven; nil is none.
func (r *Repo) KeepBlocks(l *BlockList) { r.blocks.keep(l) }

// BlockList gives the block list of content that is here. Unless it is remembered, the content is read for it, once however
// many ask, and checked: it is ErrBadContent when it is not the key's.
func (r *Repo) BlockList(ctx context.Context, k Key) (*BlockList, error) {
	for {
		l, wait, done := r.blocks.begin(k)
		switch {
		case l != nil:
			return l, nil
		case wait == nil:
			defer done()
			l, err := r.readBlockList(ctx, k)
			if err != nil {
				return nil, fmt.Errorf("make block list: %w", err)
			}
			r.blocks.keep(l)
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-wait:
		}
	}
}

func (r *Repo) readBlockList(ctx context.Context, k Key) (*BlockList, error) {
	path, _ := r.ObjectPath(k)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	v := k.Verifier()
	if _, err := copyContent(ctx, v, f); err != nil {
		return nil, err
	}
	if err := v.Check(); err != nil {
		return nil, err
	}
	if l := v.Blocks(); l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("%s can only be checked as a whole", k)
}
