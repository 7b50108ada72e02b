package gitrepo

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// New content of work-tree files is made ready in .git/arbor/tmp and moved to its place whole; what it replaces comes
// out under the same name and is looked at before it is removed. A name beginning with "new" never holds anything a
// person wrote; one beginning with "old" may.
const (
	stagedNew = "new-"
	stagedOld = "old-"
)

// stagePath returns a fresh path for staging.
func (r *Repo) stagePath(prefix string) (string, error) {
	dir := r.ownPath("tmp")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	return filepath.Join(dir, prefix+rand.Text()), nil
}

// recoverStaging clears what a killed Checkout left. Content that no object has was a person's: it is kept in
// .git/arbor/lost, see Lost.
func (r *Repo) recoverStaging(ctx context.Context) error {
	dir := r.ownPath("tmp")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	unlock, err := r.lockToRecover(ctx)
	if unlock == nil {
		return err
	}
	defer unlock()
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), stagedOld) && !r.recorded(path) {
			if err := r.keepLost(path); err != nil {
				return fmt.Errorf("recover: %w", err)
			}
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("recover: %w", err)
		}
	}
	return nil
}

// recorded reports whether the content of a file is an object here.
func (r *Repo) recorded(path string) bool {
	st, err := os.Lstat(path)
	if err != nil {
		return false
	}
	if st.Mode().Type() == fs.ModeSymlink {
		target, err := os.Readlink(path)
		return err == nil && r.Has(HashBlob([]byte(target)))
	}
	if !st.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	h, err := hashFile(f, st.Size())
	return err == nil && r.Has(h)
}

func (r *Repo) keepLost(path string) error {
	dir := r.ownPath("lost")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return os.Rename(path, filepath.Join(dir, filepath.Base(path)))
}

// Lost lists files, as absolute paths, that held uncommitted content when the agent was killed in the instant it was
// exchanging them. They are a person's to look at and remove.
func (r *Repo) Lost() ([]string, error) {
	entries, err := os.ReadDir(r.ownPath("lost"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list lost files: %w", err)
	}
	paths := make([]string, len(entries))
	for i, e := range entries {
		paths[i] = filepath.Join(r.ownPath("lost"), e.Name())
	}
	return paths, nil
}

// hashFile names the content of a file as a blob. ErrChanged when there are not exactly size bytes.
func hashFile(rd io.Reader, size int64) (h Hash, err error) {
	sum := sha1.New()
	fmt.Fprintf(sum, "blob %d\x00", size)
	n, err := io.Copy(sum, io.LimitReader(rd, size+1))
	if err != nil {
		return Hash{}, err
	}
	if n != size {
		return Hash{}, ErrChanged
	}
	sum.Sum(h[:0])
	return h, nil
}
