package annex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

// spoolMemory is how much content of one file is kept in memory, in bytes; what is longer goes to disk.
const spoolMemory = 1 << 20

// A spool holds content that came over a pipe, until it is known what is to become of it.
type spool struct {
	head    []byte   // all of it, or its first bytes when there is a file
	file    *os.File // in the directory of temporary files; nil when all fits into memory
	size    int64
	release func()
}

// spoolContent reads all of in. begin is called when the content is too long for memory, and may give a hash that it goes through.
func (r *Repo) spoolContent(ctx context.Context, in io.Reader, begin func() (hash.Hash, error)) (s *spool, err error) {
	s = &spool{release: func() {}}
	defer func() {
		if err != nil {
			s.close()
			s, err = nil, fmt.Errorf("read content: %w", err)
		}
	}()
	if s.head, err = io.ReadAll(io.LimitReader(in, spoolMemory)); err != nil {
		return s, err
	}
	s.size = int64(len(s.head))
	if s.size < spoolMemory {
		return s, nil
	}
	h, err := begin()
	if err != nil {
		return s, err
	}
	dir, release, err := r.tmpDir(ctx)
	if err != nil {
		return s, err
	}
	s.release = release
	if s.file, err = createTemp(dir, "clean", 0o600); err != nil {
		return s, err
	}
	to := io.Writer(s.file)
	if h != nil {
		to = io.MultiWriter(h, s.file)
	}
	s.size, err = copyContent(ctx, to, io.MultiReader(bytes.NewReader(s.head), in))
	return s, err
}

// writeTo writes the content to out.
func (s *spool) writeTo(ctx context.Context, out io.Writer) error {
	if s.file == nil {
		_, err := out.Write(s.head)
		return err
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := copyContent(ctx, out, s.file)
	return err
}

// durable gives the path of a file with the content, on disk for certain, which the caller moves away.
func (s *spool) durable(ctx context.Context, r *Repo) (path string, err error) {
	if s.file == nil {
		dir, release, err := r.tmpDir(ctx)
		if err != nil {
			return "", err
		}
		s.release = release
		if s.file, err = createTemp(dir, "clean", 0o600); err != nil {
			return "", err
		}
		if _, err := s.file.Write(s.head); err != nil {
			return "", err
		}
	}
	return s.file.Name(), s.file.Sync()
}

// close removes what was kept on disk.
func (s *spool) close() {
	if s.file != nil {
		_ = errors.Join(s.file.Close(), os.Remove(s.file.Name()))
	}
	s.release()
}
