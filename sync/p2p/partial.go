package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/git-arbor/arbor/sync/annex"
)

var (
	// ErrBusy says that another session or process is receiving the same content.
	ErrBusy = errors.New("the content is being received already")
	// ErrIncomplete says that fewer bytes came than the key has. They are kept, for the next time to go on from.
	ErrIncomplete = errors.New("incomplete content")
)

// hashAlongside is the size, in bytes, from which content is hashed while it still comes in, on a core of its own.
const hashAlongside = 1 << 20

// Partial is the content of a key on its way into the repository: the file .git/annex/tmp/KEY, which git-annex resumes
// from too, held by one session alone. Its length is all that is known of how far a transfer came, so being killed at any
// moment costs the bytes that were not written yet.
//
// What is hashed is read back from the file, not what came in: other programs write that file as well, and only what is in
// it becomes content.
type Partial struct {
	repo  *annex.Repo
	key   annex.Key
	file  *os.File
	locks []*os.File
	size  atomic.Int64 // bytes in the file
	draft *annex.Draft // nil: none is made
}

// OpenPartial takes hold of the key's temporary file; ErrBusy when somebody else has it. from is the uuid of the clone that
// sends the content: git-annex names transfers by it. The caller must call Close.
func OpenPartial(repo *annex.Repo, key annex.Key, from string) (*Partial, error) {
	path := repo.TmpPath(key)
	p := &Partial{repo: repo, key: key}
	if err := p.open(path, from); err != nil {
		p.Close()
		return nil, fmt.Errorf("open partial content of %s: %w", key, err)
	}
	return p, nil
}

func (p *Partial) open(path, from string) error {
	// The locks of git-annex: the first since 10.20240430 for any source, the second, for one source, of all versions.
	downloads := filepath.Join(filepath.Dir(filepath.Dir(path)), "transfer", "download")
	for _, dir := range []string{"lck", from} {
		if dir == "" || dir != filepath.Base(dir) {
			continue
		}
		lock, err := lockFile(filepath.Join(downloads, dir, "lck."+p.key.File()))
		if err != nil {
			return err
		}
		p.locks = append(p.locks, lock)
	}
	flags := os.O_RDWR | os.O_CREATE | syscall.O_NOFOLLOW
	file, err := os.OpenFile(path, flags, 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		file, err = os.OpenFile(path, flags, 0o644)
	}
	if errors.Is(err, fs.ErrPermission) && os.Chmod(path, 0o644) == nil {
		// Complete content that was about to be placed, and so write-protected, when its process was killed.
		file, err = os.OpenFile(path, flags, 0)
	}
	if err != nil {
		return err
	}
	p.file = file
	fi, err := file.Stat()
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%s is no file", path)
	}
	p.size.Store(fi.Size())
	if size, ok := p.key.Size(); ok && fi.Size() > size {
		return p.Discard()
	}
	return nil
}

// Show has `git annex info` show that the content is coming, under the name of a file.
func (p *Partial) Show(file string) {
	if len(p.locks) > 1 { // the first is that of any source
		noteTransfer(p.locks[1], p.key, file)
	}
}

// Draft has what is known to be right, or is about to be, be copied by the next Fill or FillBlocks as it comes, for one of these files of the work
// tree if it waits for it.
func (p *Partial) Draft(paths []string) { p.draft = p.repo.BeginDraft(p.key, p.file, paths) }

// dropDraft gives up the draft, if there is one.
func (p *Partial) dropDraft() {
	p.draft.Drop()
	p.draft = nil
}

// Size is how many bytes are here, and so the offset of what is missing. Any goroutine may call it.
func (p *Partial) Size() int64 { return p.size.Load() }

// Complete says whether nothing is missing, as far as the key tells its size.
func (p *Partial) Complete() bool {
	size, ok := p.key.Size()
	return ok && p.Size() == size
}

// Fill has fetch write what is missing, proves that the content is the key's and puts it in place. An error of fetch is
// returned as it is, and what was written is kept; so is everything after ErrIncomplete, and nothing after
// annex.ErrBadContent.
func (p *Partial) Fill(ctx context.Context, fetch func(w io.Writer) error) error {
	defer p.dropDraft()
	sum := p.key.Verifier()
	if err := p.fill(ctx, sum, fetch); err != nil {
		if errors.Is(err, annex.ErrBadContent) {
			return errors.Join(err, p.Discard())
		}
		return err
	}
	p.repo.KeepBlocks(sum.Blocks())
	return p.place()
}

// place makes proven content an object.
func (p *Partial) place() error {
	path := p.repo.TmpPath(p.key)
	mine, err := p.file.Stat()
	if err != nil {
		return fmt.Errorf("store %s: %w", p.key, err)
	}
	if there, err := os.Lstat(path); err != nil || !os.SameFile(mine, there) {
		return fmt.Errorf("store %s: %w: the temporary file was replaced meanwhile", p.key, ErrIncomplete)
	}
	p.draft.Complete()
	if err := p.repo.PlaceVerified(p.key, path); err != nil {
		return err
	}
	p.draft = nil // it is whoever's who gives it to a file
	return nil
}

// fill is Fill without the placing.
func (p *Partial) fill(ctx context.Context, sum *annex.Verifier, fetch func(w io.Writer) error) error {
	w := partialWriter{p, make(chan struct{}, 1)}
	size, sized := p.key.Size()
	if sized && size < hashAlongside {
		if err := fetch(w); err != nil {
			return err
		}
		if _, err := p.hash(sum, 0); err != nil {
			return err
		}
	} else {
		g, ctx := errgroup.WithContext(ctx)
		whole := make(chan struct{})
		g.Go(func() error { return p.follow(ctx, sum, w.more, whole) })
		g.Go(func() error {
			defer close(whole)
			return fetch(w)
		})
		if err := g.Wait(); err != nil {
			return err
		}
	}
	if sized && p.Size() < size {
		return fmt.Errorf("%w: %d of %d bytes", ErrIncomplete, p.Size(), size)
	}
	return sum.Check()
}

// follow hashes the file as it grows, until whole is closed and all is hashed.
func (p *Partial) follow(ctx context.Context, sum io.Writer, more, whole <-chan struct{}) error {
	var done int64
	for {
		n, err := p.hash(sum, done)
		if err != nil {
			return err
		}
		done += n
		p.draft.Until(done)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
		case <-whole:
			_, err := p.hash(sum, done)
			return err
		}
	}
}

// hash adds what the file has from the offset on.
func (p *Partial) hash(sum io.Writer, offset int64) (int64, error) {
	missing := p.Size() - offset
	if missing <= 0 {
		return 0, nil
	}
	n, err := io.CopyBuffer(sum, io.NewSectionReader(p.file, offset, missing), make([]byte, min(missing, bufferSize)))
	if err != nil {
		return n, fmt.Errorf("read back partial content of %s: %w", p.key, err)
	}
	if n < missing {
		return n, fmt.Errorf("%w: the file of %s became shorter", ErrIncomplete, p.key)
	}
	return n, nil
}

// Write appends content that the caller has of its own, for the next Fill to go on from.
func (p *Partial) Write(b []byte) (int, error) {
	n, err := p.file.WriteAt(b, p.size.Load())
	p.size.Add(int64(n))
	return n, err
}

// partialWriter appends to the file, and says so to who follows.
type partialWriter struct {
	p    *Partial
	more chan struct{}
}

func (w partialWriter) Write(b []byte) (int, error) {
	n, err := w.p.Write(b)
	select {
	case w.more <- struct{}{}:
	default:
	}
	return n, err
}

// Clone makes the file share what another has on disk, which should be the content, where the file system can; what came so
// far is overwritten then.
func (p *Partial) Clone(from *os.File) error {
	if err := annex.CloneFile(p.file, from); err != nil {
		return fmt.Errorf("clone into %s: %w", p.key, err)
	}
	fi, err := p.file.Stat()
	if err != nil {
		return fmt.Errorf("clone into %s: %w", p.key, err)
	}
	p.size.Store(fi.Size())
	return nil
}

// Discard forgets what came so far.
func (p *Partial) Discard() error { return p.cut(0) }

// cut forgets what came beyond a size in bytes.
func (p *Partial) cut(size int64) error {
	if err := p.file.Truncate(size); err != nil {
		return fmt.Errorf("discard partial content of %s: %w", p.key, err)
	}
	p.size.Store(size)
	return nil
}

// Close lets go of the file. Content that is not in place yet stays for the next time; of nothing, nothing stays. It may be
// called twice.
func (p *Partial) Close() {
	if p.file != nil {
		path := p.repo.TmpPath(p.key)
		if mine, err := p.file.Stat(); err == nil && mine.Size() == 0 {
			if there, err := os.Lstat(path); err == nil && os.SameFile(mine, there) {
				_ = os.Remove(path)
			}
		}
		_ = p.file.Close()
	}
	for _, lock := range p.locks {
		unlockTransfer(lock)
	}
	p.file, p.locks = nil, nil
}
