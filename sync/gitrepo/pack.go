package gitrepo

import (
	"compress/zlib"
	"context"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

const (
	// maxDeltaSize bounds objects that are made into deltas; larger ones do not fit a message anyway.
	maxDeltaSize = 1 << 20
	// minDeltaSize is below which a delta saves nothing.
	minDeltaSize = 64
	// bytesPerCommit is the least a commit takes in a pack: it bounds how many are looked at.
	bytesPerCommit = 60
)

// Pack returns a thin pack of all that want has and the have commits lack: deltas may be against objects of have,
// which the receiver must have completely. ErrTooBig beyond max bytes. It starts no process. Any goroutine may call it.
func (r *Repo) Pack(ctx context.Context, want Hash, have []Hash, max int) ([]byte, error) {
	// It travels inside messages of a few kilobytes: the best compression is worth its microseconds.
	w, err := newPackWriter(zlib.BestCompression)
	if err != nil {
		return nil, err
	}
	p := &packer{r: r, w: w, max: max, sent: make(map[Hash]bool)}
	if err := p.pack(ctx, want, have); err != nil {
		return nil, fmt.Errorf("pack %s: %w", want, err)
	}
	return p.w.finish(), nil
}

// packer collects the objects of one pack.
type packer struct {
	r    *Repo
	w    *packWriter
	max  int
	sent map[Hash]bool
}

func (p *packer) pack(ctx context.Context, want Hash, have []Hash) error {
	commits, err := p.r.newCommits(ctx, want, have, 2+2*p.max/bytesPerCommit)
	if err != nil {
		return err
	}
	for _, h := range commits {
		if err := p.add(plumbing.CommitObject, h, Hash{}); err != nil {
			return err
		}
	}
	// Oldest first: its trees are then bases for those of its children.
	for _, h := range slices.Backward(commits) {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, err := p.r.Commit(h)
		if err != nil {
			return err
		}
		parents := make([]Hash, 0, len(c.Parents))
		for _, parent := range c.Parents {
			tree, err := p.r.rootTree(parent)
			if err != nil {
				return err
			}
			parents = append(parents, tree)
		}
		if err := p.addTree(c.Tree, parents); err != nil {
			return err
		}
	}
	return nil
}

// addTree adds a tree and all below it that none of the parents' trees at the same place has.
func (p *packer) addTree(tree Hash, parents []Hash) error {
	if p.sent[tree] {
		return nil
	}
	var base Hash
	var olds []map[string]Entry
	for _, parent := range parents {
		if parent == tree {
			return nil
		}
		if parent.IsZero() {
			continue
		}
		entries, err := p.r.objects.tree(parent)
		if err != nil {
			return err
		}
		m := make(map[string]Entry, len(entries))
		for _, e := range entries {
			m[e.Name] = e.Entry
		}
		olds = append(olds, m)
		if base.IsZero() {
			base = parent
		}
	}
	if err := p.add(plumbing.TreeObject, tree, base); err != nil {
		return err
	}
	entries, err := p.r.objects.tree(tree)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := p.addEntry(e, olds); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) addEntry(e treeEntry, olds []map[string]Entry) error {
	if e.Mode == ModeGitlink {
		return nil
	}
	var dirs []Hash
	var base Hash
	for _, m := range olds {
		old := m[e.Name]
		if old.Hash == e.Hash {
			return nil
		}
		if old.isDir() {
			dirs = append(dirs, old.Hash)
		} else if base.IsZero() && old.Mode != ModeGitlink {
			base = old.Hash
		}
	}
	if e.isDir() {
		return p.addTree(e.Hash, dirs)
	}
	return p.add(plumbing.BlobObject, e.Hash, base)
}

// add adds one object, as a delta against base where that is smaller.
func (p *packer) add(kind plumbing.ObjectType, h, base Hash) error {
	if p.sent[h] {
		return nil
	}
	// Nothing shrinks a thousand times: do not read what cannot fit.
	data, err := p.r.objects.readKind(h, kind, int64(p.max)*1000)
	if err != nil {
		return err
	}
	p.sent[h] = true
	if delta := p.delta(kind, base, data); delta != nil {
		err = p.w.add(kind, base, delta)
	} else {
		err = p.w.add(kind, Hash{}, data)
	}
	if err == nil && p.w.size() > p.max {
		err = ErrTooBig
	}
	return err
}

// delta returns data as a delta against base, nil when that is not worth it.
func (p *packer) delta(kind plumbing.ObjectType, base Hash, data []byte) []byte {
	if base.IsZero() || len(data) < minDeltaSize || len(data) > maxDeltaSize {
		return nil
	}
	old, err := p.r.objects.readKind(base, kind, maxDeltaSize)
	if err != nil || len(old) < minDeltaSize {
		return nil
	}
	delta := packfile.DiffDelta(old, data)
	if len(delta) > len(data)/2 {
		return nil
	}
	return delta
}
