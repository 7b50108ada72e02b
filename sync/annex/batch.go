package annex

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// A Batch adds files and makes their contents durable together: one sync of the file system costs less than three of each small
// file. Contents are copied and hashed by Add, and become objects, in this order, by Place: all copies reach the disk, then they get their
// names, then the names reach the disk. So there never is an object whose bytes could be lost, and nothing may be told of a content before
// Place has returned. A process that is killed before leaves temporary files, which Open removes. One goroutine may use a Batch.
type Batch struct {
	repo    *Repo
	dir     string   // of temporary files
	opened  *os.File // dir, since before anything was written there: a sync tells of errors since then
	release func()   // lets git-annex empty dir
	waiting []copied
}

// copied is the content of a file that is to become an object.
type copied struct {
	key    Key
	path   string
	thin   bool // it is the file itself
	blocks *BlockList
}

// NewBatch makes an empty batch. The caller must call Close.
func (r *Repo) NewBatch() *Batch { return &Batch{repo: r} }

// Add is Repo.Add but for the object, which there is after Place. A file that is locked, or becomes its object, cannot wait: with it, all before it are
// placed.
func (b *Batch) Add(ctx context.Context, path string, opts AddOptions) (Added, error) {
	added, err := b.add(ctx, path, opts)
	if err != nil {
		return Added{}, fmt.Errorf("add %s: %w", path, err)
	}
	return added, nil
}

// Place makes objects of what was added. After an error the rest is lost, and to be added anew: a system that could not write may forget
// that it should.
func (b *Batch) Place() (err error) {
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	paths := make([]string, len(b.waiting))
	for i, c := range b.waiting {
		paths[i] = c.path
	}
	if err := b.sync(paths); err != nil {
		return fmt.Errorf("place added content: %w", err)
	}
	var dirs []string
	for len(b.waiting) > 0 {
		c := b.waiting[0]
		object, err := b.repo.rename(c.key, c.path, c.thin)
		if err != nil {
			return fmt.Errorf("place %s: %w", c.key, err)
		}
		b.repo.KeepBlocks(c.blocks)
		dirs = append(dirs, filepath.Dir(object), filepath.Dir(filepath.Dir(object)))
		b.waiting = b.waiting[1:]
	}
	if err := b.sync(dirs); err != nil {
		return fmt.Errorf("place added content: %w", err)
	}
	return nil
}

// Close forgets what was not placed. It may be called twice.
func (b *Batch) Close() {
	for _, c := range b.waiting {
		_ = os.Remove(c.path)
	}
	if b.release != nil {
		_ = b.opened.Close()
		b.release()
	}
	b.waiting, b.release = nil, nil
}

// tmpDir gives the directory for temporary files, which is kept until Close.
func (b *Batch) tmpDir(ctx context.Context) (string, error) {
	if b.release != nil {
		return b.dir, nil
	}
	dir, release, err := b.repo.tmpDir(ctx)
	if err != nil {
		return "", err
	}
	if b.opened, err = os.Open(dir); err != nil {
		release()
		return "", err
	}
	b.dir, b.release = dir, release
	return dir, nil
}

// manyPaths is from how many files on one sync of the file system is cheaper than one of each.
const manyPaths = 64

// sync makes files and directories of the annex durable.
func (b *Batch) sync(paths []string) error {
	if len(paths) > manyPaths {
		if err := syncFileSystem(b.opened); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	for _, path := range paths {
		if err := syncFile(path); err != nil {
			return err
		}
	}
	return nil
}
