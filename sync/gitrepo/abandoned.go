package gitrepo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A git that is killed, or loses power, leaves the files by which it locks references, the index and the configuration, and every later git refuses. So
// does one that is ended by a signal while it makes such a file. They say nothing of who made them. So only those are removed that cannot be
// anybody's, or whose loss harms nobody: the references that follow what others have.

// abandonedAfter is how old the lock of a reference that follows another's is when it is taken for abandoned. Should a git still be about to use it, the
// reference does not move, and does the next time.
const abandonedAfter = 10 * time.Second

// bootMargin is by how much the time of the start of the machine may be wrong.
const bootMargin = 2 * time.Second

// recoverLocks removes the locks that were made before the machine was started.
func (r *Repo) recoverLocks() error {
	boot, ok := bootTime()
	if !ok {
		return nil
	}
	boot = boot.Add(-bootMargin)
	for _, name := range []string{"index.lock", "config.lock", "HEAD.lock", "packed-refs.lock"} {
		if err := removeLock(filepath.Join(r.gitDir, name), boot); err != nil {
			return err
		}
	}
	return removeLocks(filepath.Join(r.gitDir, "refs"), boot)
}

// releaseRefs removes abandoned locks of the references in a folder which follow what others have, after git has failed there.
func (r *Repo) releaseRefs(folder string) error {
	return removeLocks(filepath.Join(r.gitDir, filepath.FromSlash(folder)), time.Now().Add(-abandonedAfter))
}

// removeLocks removes all locks of references below dir that were made before a time.
func removeLocks(dir string, before time.Time) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for abandoned locks: %w", err)
		}
		if !d.Type().IsRegular() || !strings.HasSuffix(path, ".lock") {
			return nil
		}
		return removeLock(path, before)
	})
}

// removeLock removes a file that was made before a time, if there is one.
func removeLock(path string, before time.Time) error {
	st, err := os.Lstat(path)
	if err == nil && st.ModTime().Before(before) {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove abandoned lock: %w", err)
	}
	return nil
}
