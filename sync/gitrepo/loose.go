package gitrepo

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// Objects are written whatever packs hold: an object that only an unreachable pack has may be pruned by git at any moment. Format of
// loose ones: gitformat-loose(5), zlib of "type size NUL content".

// WriteBlob writes a blob object. Git sees it when it is next started by r or a reference moves; it is on disk for certain after Sync.
func (r *Repo) WriteBlob(data []byte) (Hash, error) {
	return r.objects.write(plumbing.BlobObject, bytes.Clone(data))
}

// BlobFromFile writes what rd yields, exactly size bytes, as a blob without holding it in memory. ErrChanged when
// there are fewer or more.
func (r *Repo) BlobFromFile(rd io.Reader, size int64) (Hash, error) {
	return r.objects.writeStream(rd, size)
}

// write stores an object whose bytes are already trusted, and do not change any more.
func (s *objectStore) write(kind plumbing.ObjectType, data []byte) (Hash, error) {
	h, o := hashObject(kind, data), object{kind, data}
	if s.freshen(h) {
		return h, nil
	}
	var err error
	if len(data) > maxPending/8 {
		if err = s.flush(); err == nil { // first what it may point to
			err = s.writeLoose(h, o)
		}
	} else {
		err = s.hold(h, o)
	}
	if err != nil {
		return Hash{}, fmt.Errorf("write object: %w", err)
	}
	s.remember(h, o)
	return h, nil
}

// writeLoose makes an object a file.
func (s *objectStore) writeLoose(h Hash, o object) error {
	lw, err := s.newLoose(o.kind, int64(len(o.data)))
	if err != nil {
		return err
	}
	if _, err = lw.zw.Write(o.data); err != nil {
		lw.abort()
		return err
	}
	return s.commitLoose(lw, h)
}

func (s *objectStore) writeStream(rd io.Reader, size int64) (h Hash, err error) {
	lw, err := s.newLoose(plumbing.BlobObject, size)
	if err != nil {
		return Hash{}, fmt.Errorf("write object: %w", err)
	}
	sum := sha1.New()
	fmt.Fprintf(sum, "blob %d\x00", size)
	n, err := io.Copy(io.MultiWriter(lw.zw, sum), io.LimitReader(rd, size+1))
	if err == nil && n != size {
		err = ErrChanged
	}
	if err != nil {
		lw.abort()
		return Hash{}, fmt.Errorf("write object: %w", err)
	}
	sum.Sum(h[:0])
	if s.freshen(h) {
		lw.abort()
		return h, nil
	}
	if err := s.commitLoose(lw, h); err != nil {
		return Hash{}, fmt.Errorf("write object: %w", err)
	}
	return h, nil
}

// freshen reports whether the loose object exists already, and makes it young, so that a prune in progress keeps it.
func (s *objectStore) freshen(h Hash) bool {
	path := loosePath(s.dirs[0], h)
	st, err := os.Lstat(path)
	if err != nil || st.Size() == 0 {
		return false // an empty one is what a power loss leaves: replace it
	}
	now := time.Now()
	if now.Sub(st.ModTime()) < time.Hour {
		return true
	}
	return os.Chtimes(path, now, now) == nil
}

// looseWriter is an object under way to its place.
type looseWriter struct {
	f  *os.File
	zw *zlib.Writer
}

func (s *objectStore) newLoose(kind plumbing.ObjectType, size int64) (*looseWriter, error) {
	// git prune removes forgotten tmp_obj_ files.
	f, err := os.CreateTemp(s.dirs[0], "tmp_obj_")
	if err != nil {
		return nil, err
	}
	// A new compressor costs more than compressing a small object.
	zw, ok := s.compressors.Get().(*zlib.Writer)
	if ok {
		zw.Reset(f)
	} else {
		zw, err = zlib.NewWriterLevel(f, zlib.BestSpeed)
	}
	if err == nil {
		_, err = fmt.Fprintf(zw, "%s %d\x00", kind, size)
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return &looseWriter{f: f, zw: zw}, nil
}

func (lw *looseWriter) abort() {
	lw.f.Close()
	os.Remove(lw.f.Name())
}

func (s *objectStore) commitLoose(lw *looseWriter, h Hash) error {
	if err := lw.zw.Close(); err != nil {
		lw.abort()
		return err
	}
	s.compressors.Put(lw.zw)
	if err := lw.f.Chmod(0o444); err != nil {
		lw.abort()
		return err
	}
	if err := lw.f.Close(); err != nil {
		lw.abort()
		return err
	}
	path := loosePath(s.dirs[0], h)
	err := os.Rename(lw.f.Name(), path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Mkdir(filepath.Dir(path), 0o777); err == nil || errors.Is(err, fs.ErrExist) {
			err = os.Rename(lw.f.Name(), path)
		}
	}
	if err != nil {
		os.Remove(lw.f.Name())
		return err
	}
	s.written(path)
	return nil
}

// written notes a file that the next Sync is to make durable.
func (s *objectStore) written(path string) {
	s.unsyncedMu.Lock()
	s.unsynced = append(s.unsynced, path)
	s.unsyncedMu.Unlock()
}

// Sync makes every object written so far durable. It may run after a commit was announced: a loss of power before
// it costs this clone the objects, which then come back from those who heard.
func (r *Repo) Sync() error {
	s := &r.objects
	if err := s.flush(); err != nil {
		return err
	}
	s.unsyncedMu.Lock()
	paths := s.unsynced
	s.unsynced = nil
	s.unsyncedMu.Unlock()
	if err := syncFiles(s.dirs[0], paths); err != nil {
		s.unsyncedMu.Lock()
		s.unsynced = append(paths, s.unsynced...)
		s.unsyncedMu.Unlock()
		return fmt.Errorf("sync objects: %w", err)
	}
	return nil
}

// syncFiles makes files of one file system durable, and the names they have. Those that are gone need nothing.
func syncFiles(top string, paths []string) error {
	if len(paths) > manyFiles && syncAll(top) == nil {
		return nil
	}
	dirs := make(map[string]bool)
	for _, p := range paths {
		if err := syncPath(p); err != nil {
			return err
		}
		dirs[filepath.Dir(p)] = true
	}
	for d := range dirs {
		if err := syncPath(d); err != nil {
			return err
		}
	}
	return nil
}

// manyFiles is where one sync of the file system is cheaper than one per file.
const manyFiles = 64

func syncPath(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
