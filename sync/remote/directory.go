package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
)

// directorySession reads and writes git-annex's special remote of type directory: <hash>/KEY/KEY below it, with the hash directories of
// bare repositories, or the others in old ones (Remote/Directory.hs).
type directorySession struct {
	remote  *Remote
	dir     string
	root    *os.Root
	limits  p2p.Limits
	program programSession // for what was stored in chunks before that was turned off
}

func openDirectory(r *Remote, limits p2p.Limits) (Session, error) {
	if !filepath.IsAbs(r.place.dir) {
		return nil, fmt.Errorf("remote.%s.annex-directory is no absolute path: %q", r.Name, r.place.dir)
	}
	root, err := os.OpenRoot(r.place.dir)
	if err != nil {
		return nil, unreachable(err)
	}
	return &directorySession{remote: r, dir: r.place.dir, root: root, limits: limits, program: programSession{r, limits}}, nil
}

func (s *directorySession) Close() error { return s.root.Close() }

// plugged is gitrepo.ErrUnreachable when the directory is no longer what was opened: its drive was unplugged.
func (s *directorySession) plugged() error {
	opened, err := s.root.Stat(".")
	if err != nil {
		return unreachable(err)
	}
	there, err := os.Stat(s.dir)
	if err != nil {
		return unreachable(err)
	}
	if !os.SameFile(opened, there) {
		return unreachable(fmt.Errorf("%s is another directory now", s.dir))
	}
	return nil
}

// empty says whether nothing at all is in the directory: when something should be, its drive is not mounted there.
func (s *directorySession) empty() (bool, error) {
	top, err := s.root.Open(".")
	if err != nil {
		return false, unreachable(err)
	}
	defer top.Close()
	_, err = top.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

// paths are where the content of a key may be; the first is where it is put.
func paths(key annex.Key) []string {
	return []string{
		path.Join(key.HashDirLower(), key.File(), key.File()),
		path.Join(key.HashDirMixed(), key.File(), key.File()),
	}
}

// find gives where content is, which can be another's by its size; "" when it is nowhere in the directory, as surely as can be told.
func (s *directorySession) find(ctx context.Context, key annex.Key) (string, fs.FileInfo, error) {
	if err := s.plugged(); err != nil {
		return "", nil, err
	}
	for _, name := range paths(key) {
		info, err := s.root.Stat(name)
		if err == nil {
			return name, info, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", nil, unreachable(err)
		}
	}
	unused, err := s.empty()
	if err != nil || !unused {
		return "", nil, err
	}
	holders, err := s.remote.repo.Locations(ctx, key)
	if err != nil {
		return "", nil, err
	}
	if slices.Contains(holders, s.remote.UUID) {
		return "", nil, unreachable(fmt.Errorf("%s is empty, and should not be: its drive is not mounted", s.dir))
	}
	return "", nil, nil
}

// Has is false as well for content whose size is wrong, which Put replaces.
func (s *directorySession) Has(ctx context.Context, key annex.Key) (bool, error) {
	name, info, err := s.find(ctx, key)
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", key, err)
	}
	if name != "" {
		return fits(key, info) == nil, nil
	}
	if chunked, err := s.remote.repo.Chunked(ctx, key, s.remote.UUID); err != nil || !chunked {
		return false, err
	}
	return s.program.Has(ctx, key)
}

func (s *directorySession) Get(ctx context.Context, key annex.Key, file string, progress func(int64)) error {
	name, _, err := s.find(ctx, key)
	if err != nil {
		return fmt.Errorf("get %s: %w", key, err)
	}
	if name == "" {
		chunked, err := s.remote.repo.Chunked(ctx, key, s.remote.UUID)
		if err == nil && !chunked {
			err = fmt.Errorf("get %s: %w", key, p2p.ErrAbsent)
		}
		if err != nil {
			return err
		}
		return s.program.Get(ctx, key, file, progress)
	}
	src, err := openContent(key, filepath.Join(s.dir, name))
	if err != nil {
		return fmt.Errorf("get %s: %w", key, err)
	}
	defer src.Close()
	return arrival{s.remote.repo, key, s.remote.UUID, progress}.copy(ctx, src, s.limits.Down)
}

func (s *directorySession) Lock(ctx context.Context, key annex.Key) (unlock func(context.Context) error, err error) {
	return lockPresent(ctx, s, key)
}

// Put writes the content beside those that are there, and moves it among them when it is proven and on disk. What was written before an interruption
// is compared and kept.
func (s *directorySession) Put(ctx context.Context, key annex.Key, _ string, progress func(int64)) error {
	src, err := s.remote.outgoing(key)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := s.put(ctx, key, src, progress); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

func (s *directorySession) put(ctx context.Context, key annex.Key, src object, progress func(int64)) error {
	if present, err := s.Has(ctx, key); err != nil || present {
		return err
	}
	unlock, err := p2p.LockUpload(s.remote.repo, key, s.remote.UUID)
	if err != nil {
		return err
	}
	defer unlock()
	// Not git-annex's own tmp/KEY: another clone may be writing that.
	tmp := path.Join("tmp", "arbor-"+s.remote.repo.UUID())
	if err := s.root.MkdirAll(tmp, 0o777); err != nil {
		return err
	}
	partial := path.Join(tmp, key.File())
	if err := s.write(ctx, key, src, partial, progress); err != nil {
		if errors.Is(err, annex.ErrBadContent) {
			err = errors.Join(err, s.root.Remove(partial))
		}
		return err
	}
	if err := s.place(partial, paths(key)[0]); err != nil {
		return err
	}
	_ = s.root.Remove(tmp) // unless more is in it
	return s.plugged()
}

// write makes a file have the content, durably.
func (s *directorySession) write(ctx context.Context, key annex.Key, src object, partial string, progress func(int64)) (err error) {
	file, err := s.root.OpenFile(partial, os.O_RDWR|os.O_CREATE, 0o644)
	if errors.Is(err, fs.ErrPermission) && s.root.Chmod(partial, 0o644) == nil {
		file, err = s.root.OpenFile(partial, os.O_RDWR, 0) // killed when it was complete
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	size := src.info.Size()
	sum := key.Verifier()
	done, err := resume(sum, io.NewSectionReader(src, 0, size), file)
	if err != nil {
		return err
	}
	if err := s.remote.repo.RoomAt(s.dir, size-done); err != nil {
		return err
	}
	if err := file.Truncate(done); err != nil {
		return err
	}
	if _, err := file.Seek(done, io.SeekStart); err != nil {
		return err
	}
	m := meter{io.MultiWriter(file, sum), done, progress}
	m.tell()
	if _, err := p2p.Copy(ctx, &m, io.NewSectionReader(src, done, size-done), s.limits.Up); err != nil {
		return err
	}
	if err := sum.Check(); err != nil {
		return fmt.Errorf("the object here is broken: %w", err)
	}
	_ = file.Chmod(0o444) // not on every file system
	return file.Sync()
}

// resume gives how many bytes old, which was left by a transfer that was interrupted, has in common with src, and puts them into sum.
func resume(sum io.Writer, src, old io.Reader) (int64, error) {
	const piece = 256 << 10
	want, have := make([]byte, piece), make([]byte, piece)
	var done int64
	for {
		n, err := io.ReadFull(old, have)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, err
		}
		m, err := io.ReadFull(src, want[:n])
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, err
		}
		if n == 0 || n != m || !bytes.Equal(want[:m], have[:n]) {
			return done, nil
		}
		_, _ = sum.Write(want[:n])
		done += int64(n)
	}
}

// place moves a complete file to where the content of its key belongs, durably.
func (s *directorySession) place(partial, name string) error {
	dir := path.Dir(name)
	if err := s.root.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	_ = s.root.Chmod(dir, 0o755) // it may be sealed, with broken content in it
	if err := s.root.Rename(partial, name); err != nil {
		return err
	}
	_ = s.root.Chmod(dir, 0o555)
	for ; ; dir = path.Dir(dir) {
		if err := s.sync(dir); err != nil {
			return err
		}
		if dir == "." {
			return nil
		}
	}
}

// sync makes the names in a directory durable.
func (s *directorySession) sync(dir string) error {
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil // as well where the file system, such as that of a foreign drive, cannot
}
