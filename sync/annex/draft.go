package annex

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// HugeSize is the size of a content, in bytes, from which copying it takes so long that others must not wait for it: the copy that a file of the
// work tree gets is a Draft.
const HugeSize = 8 << 20

// Huge says whether content of the key has HugeSize or more, as far as the key tells its size.
func (k Key) Huge() bool {
	size, _ := k.Size()
	return size >= HugeSize
}

// A Draft is a copy of a content that is to become a file of the work tree: it is made while the content still comes, or while whoever
// gives files their content does something else, and PopulateAll only puts it in its place. It is a temporary file, and so goes when the
// process is killed. All methods can be called for none, which is nil, and by any goroutine.
type Draft struct {
	drafts *drafts
	key    Key
	size   int64
	from   *os.File
	to     *diskWriter
	more   chan struct{} // 1 long
	until  atomic.Int64  // how many bytes of from may be copied
	copied atomic.Int64
	proven atomic.Bool // the content is the key's
	stop   context.CancelFunc
	ended  chan struct{} // closed when nothing is copied any more
	free   func()        // lets git-annex empty the directory
}

// drafts are those that were begun, have not failed and were not used.
type drafts struct {
	mu      sync.Mutex
	of      map[Key]*Draft
	copying sync.WaitGroup
}

// BeginDraft begins a draft of a content that comes in a file, as much as Until says. It is nil when none of the paths is a pointer that waits for
// a content of this size, or when a copy costs nothing. There must be room for it.
func (r *Repo) BeginDraft(k Key, from *os.File, paths []string) *Draft {
	if !k.Huge() || r.ThinFiles() || !r.isPointer(k, paths) {
		return nil
	}
	d, err := r.beginDraft(k, from)
	if err != nil { // it is made when the content is here, and tells why not
		return nil
	}
	return d
}

// isPointer says whether one of the files is a pointer to the key.
func (r *Repo) isPointer(k Key, paths []string) bool {
	for _, path := range paths {
		if _, content, err := r.readPointer(path); err == nil {
			if named, ok := ParsePointer(content); ok && named == k {
				return true
			}
		}
	}
	return false
}

// beginDraft is nil where the file system can share what from has.
func (r *Repo) beginDraft(k Key, from *os.File) (d *Draft, err error) {
	dir, free, err := r.tmpDir(context.Background())
	if err != nil {
		return nil, err
	}
	size, _ := k.Size()
	d = &Draft{drafts: &r.drafts, key: k, size: size, more: make(chan struct{}, 1), ended: make(chan struct{}), free: free}
	file, err := createTemp(dir, "draft", 0o600)
	if err != nil {
		free()
		return nil, err
	}
	d.to = &diskWriter{File: file}
	shared := CloneFile(file, from) == nil
	if !shared {
		d.from, err = reopen(from)
	}
	if shared || err != nil {
		_ = d.to.Close()
		d.remove()
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	r.drafts.add(d)
	r.drafts.copying.Go(func() { d.run(ctx) })
	return d, nil
}

// reopen gives a file an offset of its own.
func reopen(file *os.File) (*os.File, error) {
	again, err := os.Open(file.Name())
	if err != nil {
		return nil, err
	}
	is, err := again.Stat()
	was, failed := file.Stat()
	if err := errors.Join(err, failed); err != nil || !os.SameFile(is, was) {
		return nil, errors.Join(err, gitrepo.ErrChanged, again.Close())
	}
	return again, nil
}

// Until says that the first bytes of the content may be copied.
func (d *Draft) Until(bytes int64) {
	if d == nil {
		return
	}
	d.until.Store(bytes)
	select {
	case d.more <- struct{}{}:
	default:
	}
}

// Complete says that all of the content is there, and proven.
func (d *Draft) Complete() {
	if d != nil {
		d.proven.Store(true)
		d.Until(d.size)
	}
}

// Drop gives the draft up.
func (d *Draft) Drop() {
	if d != nil {
		d.drafts.drop(func(other *Draft) bool { return other == d })
	}
}

func (d *Draft) run(ctx context.Context) {
	err := d.copy(ctx)
	if err == nil {
		err = d.to.Sync()
	}
	d.end(errors.Join(err, d.from.Close(), d.to.Close()))
}

// copy copies what may be, until all is.
func (d *Draft) copy(ctx context.Context) error {
	for done := int64(0); done < d.size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(d.to, d.from, min(d.until.Load()-done, copyBuffer))
		done += n
		d.copied.Store(done)
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-d.more:
		}
	}
	return nil
}

// remove removes a draft that nobody uses.
func (d *Draft) remove() {
	_ = os.Remove(d.to.Name())
	d.free()
}

// end notes that nothing is copied any more.
func (d *Draft) end(err error) {
	ds := d.drafts
	ds.mu.Lock()
	defer ds.mu.Unlock()
	close(d.ended)
	mine := ds.of[d.key] == d
	if mine && err != nil {
		delete(ds.of, d.key)
	}
	if !mine || err != nil {
		d.remove()
	}
}

func (ds *drafts) add(d *Draft) {
	ds.drop(func(other *Draft) bool { return other.key == d.key })
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.of == nil {
		ds.of = make(map[Key]*Draft)
	}
	ds.of[d.key] = d
}

// drop gives up what is not wanted any more.
func (ds *drafts) drop(unwanted func(*Draft) bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for k, d := range ds.of {
		if !unwanted(d) {
			continue
		}
		delete(ds.of, k)
		d.stop()
		select {
		case <-d.ended:
			d.remove()
		default: // whoever copies removes it
		}
	}
}

// get gives the draft of a key; nil when there is none.
func (ds *drafts) get(k Key) *Draft {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return ds.of[k]
}

// take gives the path of a finished draft of a content, which becomes the caller's, who keeps git-annex from emptying the directory.
func (ds *drafts) take(k Key) (path string, ok bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.of[k]
	if d == nil || !d.proven.Load() {
		return "", false
	}
	select {
	case <-d.ended:
	default:
		return "", false
	}
	delete(ds.of, k)
	d.stop()
	d.free()
	return d.to.Name(), true
}

// missing gives how many bytes drafts will still take on the disk.
func (ds *drafts) missing() (bytes int64) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for _, d := range ds.of {
		bytes += d.size - d.copied.Load()
	}
	return bytes
}

// Draft sees to it that there is a draft of a content that is here, where BeginDraft makes one for the path, and waits until it is done. Why one cannot
// be made PopulateAll tells, which then makes the copy itself. Any goroutine may call it.
func (r *Repo) Draft(ctx context.Context, k Key, path string) {
	d := r.drafts.get(k)
	if d == nil {
		d = r.draftObject(k, path)
	}
	if d == nil {
		return
	}
	select {
	case <-d.ended:
	case <-ctx.Done():
	}
}

// draftObject begins a draft of an object.
func (r *Repo) draftObject(k Key, path string) *Draft {
	object, present := r.ObjectPath(k)
	if size, _ := k.Size(); !present || r.Room(size) != nil {
		return nil
	}
	from, err := os.Open(object)
	if err != nil {
		return nil
	}
	defer func() { _ = from.Close() }()
	d := r.BeginDraft(k, from, []string{path})
	d.Complete()
	return d
}

// DropDrafts removes the drafts of all contents but those that are wanted still.
func (r *Repo) DropDrafts(wanted func(Key) bool) {
	r.drafts.drop(func(d *Draft) bool { return !wanted(d.key) })
}
