package annex

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// A Batch makes contents objects, and durable together: one sync of the file system costs less than three of each small content. Contents
// are written by Put, and become objects by Place: all of them reach the disk, then they get their names, then the names reach the disk. So
// there never is an object whose bytes could be lost, and nothing may be told of a content before Place has returned. A process that is killed
// before leaves temporary files, which Open removes. One goroutine may use a Batch.
type Batch struct {
	repo    *Repo
	waiting []waiting

	mu  sync.Mutex // AddAll ingests in many goroutines
	tmp *tmpGroup  // nil when it is not needed yet
}

// waiting is content in a temporary file that is to become an object.
type waiting struct {
	key    Key
	path   string
	thin   bool // it is the file itself
	blocks *BlockList
	placed func(error) // told by Place; may be nil
}

// NewBatch makes an empty batch. The caller must call Close.
func (r *Repo) NewBatch() *Batch { return &Batch{repo: r} }

// Put takes content that the caller has proven to be the key's. placed is told by Place, or by Close, whether it has become an object.
func (b *Batch) Put(ctx context.Context, k Key, content []byte, placed func(error)) error {
	tmp, err := b.tmpGroup(ctx)
	if err != nil {
		return fmt.Errorf("put %s: %w", k, err)
	}
	f, err := createTemp(tmp.dir, "put", 0o644)
	if err != nil {
		return fmt.Errorf("put %s: %w", k, err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("put %s: %w", k, errors.Join(err, os.Remove(f.Name())))
	}
	b.waiting = append(b.waiting, waiting{key: k, path: f.Name(), placed: placed})
	return nil
}

// Place makes objects of what was put, and gives the first error. What fails is lost: a system that could not write may forget that it should.
func (b *Batch) Place() error {
	all := b.waiting
	b.waiting = nil
	paths := make([]string, len(all))
	for i, w := range all {
		paths[i] = w.path
	}
	lost := b.sync(paths)
	failed := make([]error, len(all))
	var names []string
	if lost == nil {
		objects := make([]string, len(all))
		gitrepo.Each(len(all), func(i int) { objects[i], failed[i] = b.repo.rename(all[i].key, all[i].path, all[i].thin) })
		for i, object := range objects {
			if failed[i] == nil {
				b.repo.KeepBlocks(all[i].blocks)
				names = append(names, filepath.Dir(object), filepath.Dir(filepath.Dir(object)))
			}
		}
	}
	lost = cmp.Or(lost, b.sync(names))
	var first error
	for i, w := range all {
		err := cmp.Or(failed[i], lost)
		if err != nil {
			err = fmt.Errorf("place %s: %w", w.key, err)
		}
		w.done(err)
		first = cmp.Or(first, err)
	}
	return first
}

// done tells whether the content has become an object, which its temporary file has gone for then.
func (w waiting) done(err error) {
	if err != nil {
		_ = os.Remove(w.path)
	}
	if w.placed != nil {
		w.placed(err)
	}
}

// errNotPlaced says that a batch was closed before.
var errNotPlaced = errors.New("content was not placed")

// Close forgets what was not placed. It may be called twice.
func (b *Batch) Close() {
	for _, w := range b.waiting {
		w.done(errNotPlaced)
	}
	if b.tmp != nil {
		b.tmp.close()
	}
	b.waiting, b.tmp = nil, nil
}

// tmpGroup gives what the temporary files are in, which is kept until Close.
func (b *Batch) tmpGroup(ctx context.Context) (*tmpGroup, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	if b.tmp == nil {
		b.tmp, err = b.repo.tmpGroup(ctx)
	}
	return b.tmp, err
}

// sync makes files and directories of the annex durable.
func (b *Batch) sync(paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	return b.tmp.sync(paths)
}
