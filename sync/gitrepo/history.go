package gitrepo

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
)

// Marks of a walk from two sides, after git's commit-reach.c: what one side reaches is painted with its colour; what both reach is a common ancestor, and all below a common ancestor is stale.
const (
	paintA = 1 << iota
	paintB
	stale
	base
)

// walkItem is one commit of a history walk.
type walkItem struct {
	hash    Hash
	parents []Hash
	date    int64
	paint   uint8
	queued  bool
}

// dateQueue is a heap with the youngest commit on top; equal dates are ordered by hash, so that a walk does not depend
// on the order of its starting points.
type dateQueue []*walkItem

func (q dateQueue) Len() int      { return len(q) }
func (q dateQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q dateQueue) Less(i, j int) bool {
	if q[i].date != q[j].date {
		return q[i].date > q[j].date
	}
	return bytes.Compare(q[i].hash[:], q[j].hash[:]) > 0
}
func (q *dateQueue) Push(x any) { *q = append(*q, x.(*walkItem)) }
func (q *dateQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

// walk paints histories from their tips downwards, youngest commit first.
type walk struct {
	r     *Repo
	seen  map[Hash]*walkItem
	queue dateQueue
	live  int // items in the queue that are not stale
	fresh int // items in the queue that only side A is known to reach
}

// count adds n for a queued item to the counters it belongs to.
func (w *walk) count(it *walkItem, n int) {
	switch it.paint & (paintA | paintB | stale) {
	case paintA:
		w.live += n
		w.fresh += n
	case paintB, paintA | paintB:
		w.live += n
	}
}

func (w *walk) add(h Hash, paint uint8) error {
	it := w.seen[h]
	if it == nil {
		c, err := w.r.Commit(h)
		if err != nil {
			return err
		}
		it = &walkItem{hash: h, parents: c.Parents, date: c.Committer.When.Unix()}
		w.seen[h] = it
	}
	if it.paint&paint == paint {
		return nil
	}
	if it.queued {
		w.count(it, -1)
	} else {
		it.queued = true
		heap.Push(&w.queue, it)
	}
	it.paint |= paint
	w.count(it, 1)
	return nil
}

// step takes the youngest commit out of the queue and paints its parents.
func (w *walk) step() (*walkItem, error) {
	it := heap.Pop(&w.queue).(*walkItem)
	w.count(it, -1)
	it.queued = false
	down := it.paint & (paintA | paintB | stale)
	if down&(paintA|paintB) == paintA|paintB {
		down |= stale
	}
	for _, p := range it.parents {
		if err := w.add(p, down); err != nil {
			return nil, err
		}
	}
	return it, nil
}

func (r *Repo) newWalk(a, b []Hash) (*walk, error) {
	w := &walk{r: r, seen: make(map[Hash]*walkItem)}
	for _, side := range []struct {
		tips  []Hash
		paint uint8
	}{{a, paintA}, {b, paintB}} {
		for _, h := range side.tips {
			if err := w.add(h, side.paint); err != nil {
				return nil, err
			}
		}
	}
	return w, nil
}

// commonAncestors returns what both sides reach first, sorted: it walks until nothing but stale commits is left.
func (r *Repo) commonAncestors(ctx context.Context, a, b []Hash) ([]Hash, error) {
	w, err := r.newWalk(a, b)
	if err != nil {
		return nil, err
	}
	var found []*walkItem
	for w.live > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		it, err := w.step()
		if err != nil {
			return nil, err
		}
		if it.paint&(paintA|paintB|stale|base) == paintA|paintB {
			it.paint |= base
			found = append(found, it)
		}
	}
	var bases []Hash
	for _, it := range found {
		if it.paint&stale == 0 {
			bases = append(bases, it.hash)
		}
	}
	sortHashes(bases)
	return bases, nil
}

// mergeBases returns the best common ancestors of two sets of commits. Dates that run backwards can make the walk
// report an ancestor of another base too; those are taken out.
func (r *Repo) mergeBases(ctx context.Context, a, b []Hash) ([]Hash, error) {
	bases, err := r.commonAncestors(ctx, a, b)
	if err != nil || len(bases) < 2 {
		return bases, err
	}
	var best []Hash
	for i, h := range bases {
		others := slices.Concat(bases[:i], bases[i+1:])
		common, err := r.commonAncestors(ctx, []Hash{h}, others)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(common, h) {
			best = append(best, h)
		}
	}
	return best, nil
}

// MergeBases returns the best common ancestors of two commits, sorted; none for unrelated histories. The cost follows
// how far they are apart, not how long their history is. Any goroutine may call it.
func (r *Repo) MergeBases(ctx context.Context, a, b Hash) ([]Hash, error) {
	if a == b {
		return []Hash{a}, nil
	}
	return r.mergeBases(ctx, []Hash{a}, []Hash{b})
}

// IsAncestor reports whether a can be reached from b. A commit is its own ancestor; the zero commit is everybody's.
// Any goroutine may call it.
func (r *Repo) IsAncestor(ctx context.Context, a, b Hash) (bool, error) {
	if a == b || a.IsZero() {
		return true, nil
	}
	if b.IsZero() {
		return false, nil
	}
	bases, err := r.commonAncestors(ctx, []Hash{a}, []Hash{b})
	if err != nil {
		return false, err
	}
	return slices.Contains(bases, a), nil
}

// newCommits returns the commits that want reaches and have does not, parents after children. Those of have that
// are not here are passed over. Where dates run backwards there may be some more. ErrTooBig when it meets more than
// limit commits; zero is no limit.
func (r *Repo) newCommits(ctx context.Context, want Hash, have []Hash, limit int) ([]Hash, error) {
	var known []Hash
	for _, h := range have {
		if r.objects.has(h) {
			known = append(known, h)
		}
	}
	w, err := r.newWalk([]Hash{want}, known)
	if err != nil {
		return nil, err
	}
	for w.fresh > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if limit > 0 && len(w.seen)-len(known) > limit {
			return nil, fmt.Errorf("walk history: %w", ErrTooBig)
		}
		if _, err := w.step(); err != nil {
			return nil, err
		}
	}
	var fresh []*walkItem
	for _, it := range w.seen {
		if it.paint&(paintA|paintB) == paintA {
			fresh = append(fresh, it)
		}
	}
	slices.SortFunc(fresh, func(a, b *walkItem) int {
		return cmp.Or(cmp.Compare(b.date, a.date), bytes.Compare(a.hash[:], b.hash[:]))
	})
	hashes := make([]Hash, len(fresh))
	for i, it := range fresh {
		hashes[i] = it.hash
	}
	return hashes, nil
}

func sortHashes(hs []Hash) {
	slices.SortFunc(hs, func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
}
