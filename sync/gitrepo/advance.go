package gitrepo

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// indexPatience is how long Advance waits for another process to release index.lock.
	indexPatience = 500 * time.Millisecond
	// indexPoll is how often it looks.
	indexPoll = time.Millisecond
	// optimisticTries is how often Advance starts again because the index was changed meanwhile, before it keeps
	// the lock from the start.
	optimisticTries = 5
)

// Advance describes the step from one commit to the next.
type Advance struct {
	Ref      string // full name; the branch HEAD points to when Index is not empty
	Old, New Hash
	Index    []IndexEntry
	Reason   string // for the reflog
}

// Advance moves the branch and the index entries together, keeping all else that is staged. The objects written so far
// are made durable first. ErrRefMoved when Ref (or HEAD) is not as expected, ErrIndexLocked when another process keeps
// the index.
//
// The new index is made beside the old one, becomes index.lock by link(2), and takes the index's place only when that is
// still the one it was made from. The reference is locked and verified before that and moves after it. A crash in
// between leaves an index that is ahead of the branch: git shows the change as staged, nothing is undone.
func (r *Repo) Advance(ctx context.Context, a Advance) error {
	if err := r.Sync(); err != nil {
		return err
	}
	if len(a.Index) == 0 {
		return r.UpdateRefs(ctx, a.updates(), a.Reason)
	}
	if r.bare {
		return errors.New("advance: a bare repository has no index")
	}
	for _, e := range a.Index {
		if err := ValidPath(e.Path); err != nil {
			return fmt.Errorf("advance: %w", err)
		}
	}
	unlock, err := r.lockOwn(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for range optimisticTries {
		done, err := r.tryAdvance(ctx, a)
		if done || err != nil {
			return err
		}
	}
	return r.advanceLocked(ctx, a)
}

func (a Advance) updates() []RefUpdate {
	return []RefUpdate{{Name: a.Ref, New: a.New, Old: a.Old}}
}

// tryAdvance makes the new index first and holds the lock for an instant only: a person's git does not wait for
// index.lock, it fails. done is false when the index changed under us.
func (r *Repo) tryAdvance(ctx context.Context, a Advance) (done bool, err error) {
	path := filepath.Join(r.gitDir, "index")
	before, err := versionOf(path)
	if err != nil {
		return false, fmt.Errorf("advance: %w", err)
	}
	private := r.ownPath("index")
	defer os.Remove(private)
	if err := r.prepareIndex(ctx, private, a.Index); err != nil {
		return false, err
	}
	release, err := takeLock(ctx, private, path+".lock")
	if err != nil {
		return false, err
	}
	defer release()
	if after, err := versionOf(path); err != nil || before != after {
		return false, err
	}
	return true, r.swapIndex(ctx, a, path+".lock")
}

// advanceLocked is for an index that others change all the time: it keeps the lock while it makes the new one.
func (r *Repo) advanceLocked(ctx context.Context, a Advance) error {
	private, next := r.ownPath("index"), r.ownPath("index.next")
	if err := os.WriteFile(private, nil, 0o666); err != nil {
		return fmt.Errorf("advance: %w", err)
	}
	defer os.Remove(private)
	release, err := takeLock(ctx, private, filepath.Join(r.gitDir, "index.lock"))
	if err != nil {
		return err
	}
	defer release()
	defer os.Remove(next)
	if err := r.prepareIndex(ctx, next, a.Index); err != nil {
		return err
	}
	return r.swapIndex(ctx, a, next)
}

// swapIndex puts the new index in place and moves the reference. The caller holds index.lock.
func (r *Repo) swapIndex(ctx context.Context, a Advance, next string) error {
	ref, _, err := r.Head(ctx)
	if err != nil {
		return fmt.Errorf("advance: %w", err)
	}
	if ref != a.Ref {
		return fmt.Errorf("advance %s: %w: HEAD points to %q", a.Ref, ErrRefMoved, ref)
	}
	tx, err := r.beginRefs(ctx, a.updates(), a.Reason)
	if err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(r.gitDir, "index")); err != nil {
		tx.abort()
		return fmt.Errorf("advance: %w", err)
	}
	if err := tx.commit(); err != nil {
		return err
	}
	_, _ = r.readIndex() // now, when nobody waits, and not when the next change comes; it will say what is wrong
	return nil
}

// indexVersion tells one state of the index from the next, even when both were written in one clock tick.
type indexVersion struct {
	ino         uint64
	size, mtime int64
	checksum    [sha1.Size]byte
}

// versionOf looks at an index; one that does not exist is a version too.
func versionOf(path string) (v indexVersion, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return v, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return v, err
	}
	s := statOf(&st)
	v.ino, v.size, v.mtime = s.Ino, s.Size, s.Mtime
	if _, err := f.ReadAt(v.checksum[:], max(0, s.Size-sha1.Size)); err != nil && !isEOF(err) {
		return v, err
	}
	return v, nil
}

// prepareIndex makes a private copy of the index with the entries changed, durable.
func (r *Repo) prepareIndex(ctx context.Context, private string, entries []IndexEntry) error {
	data, mtime, err := readIndexFile(filepath.Join(r.gitDir, "index"))
	if err != nil {
		return fmt.Errorf("prepare index: %w", err)
	}
	tree, err := r.openWorkTree()
	if err != nil {
		return err
	}
	defer tree.close()
	edited, err := editIndex(data, mtime, entries, tree.lstat)
	if errors.Is(err, errIndexForGit) {
		edited, err = r.editIndexByGit(ctx, private, entries)
	}
	if err != nil {
		return fmt.Errorf("prepare index: %w", err)
	}
	// A fresh file: the private path may still be a second name of the index.
	if err := os.Remove(private); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("prepare index: %w", err)
	}
	if err := writeDurable(private, edited); err != nil {
		return fmt.Errorf("prepare index: %w", err)
	}
	return outdate(private, entries)
}

// readIndexFile returns the index and when it was written; nil when there is none.
func readIndexFile(path string) (data []byte, mtime int64, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	data = make([]byte, st.Size())
	_, err = io.ReadFull(f, data)
	return data, st.ModTime().UnixNano(), err
}

func writeDurable(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// outdate makes the index younger than the files of its new entries. Git reads files again that are not older than the
// index, which for annexed ones means running a filter. A later change of such a file in the same clock tick is not
// missed: the watcher reports it, and Snapshot reads what it is told to.
func outdate(private string, entries []IndexEntry) error {
	var newest int64
	for _, e := range entries {
		newest = max(newest, e.Stat.Mtime)
	}
	st, err := os.Stat(private)
	if err != nil {
		return fmt.Errorf("prepare index: %w", err)
	}
	now := time.Now()
	if st.ModTime().UnixNano() > newest || now.UnixNano() <= newest {
		return nil
	}
	if err := os.Chtimes(private, now, now); err != nil {
		return fmt.Errorf("prepare index: %w", err)
	}
	return nil
}

// editIndexByGit is editIndex for indexes with extensions that only git knows to carry over.
func (r *Repo) editIndexByGit(ctx context.Context, private string, entries []IndexEntry) ([]byte, error) {
	if err := r.copyIndex(private); err != nil {
		return nil, err
	}
	// Removals first, so that a file can take the place of a directory and the other way round.
	var removals, additions bytes.Buffer
	for _, e := range entries {
		if e.Entry.IsZero() {
			fmt.Fprintf(&removals, "0 %s\t%s\x00", Hash{}, e.Path)
		} else {
			fmt.Fprintf(&additions, "%o %s\t%s\x00", uint32(e.Entry.Mode), e.Entry.Hash, e.Path)
		}
	}
	removals.Write(additions.Bytes())
	args := []string{"-c", "core.hooksPath=/dev/null", "update-index", "-z", "--index-info"}
	cmd := r.command(ctx, args...)
	cmd.Env = append(cmd.Env, "GIT_INDEX_FILE="+private)
	if _, err := run(ctx, cmd, removals.Bytes(), args); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(private)
	if err != nil {
		return nil, err
	}
	return data, patchStats(data, entries)
}

// copyIndex copies the index to a private path, with its time, by which git tells racy entries; without an index there is
// no copy, and git starts with an empty one.
func (r *Repo) copyIndex(private string) error {
	for _, leftover := range []string{private, private + ".lock"} {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	data, mtime, err := readIndexFile(filepath.Join(r.gitDir, "index"))
	if data == nil || err != nil {
		return err
	}
	if err := os.WriteFile(private, data, 0o666); err != nil {
		return err
	}
	return os.Chtimes(private, time.Time{}, time.Unix(0, mtime))
}

// takeLock makes private the index lock: git takes it by O_EXCL, which link respects. After a kill the lock is known to
// be ours by being the private file under a second name. release gives it back, unless it was renamed.
func takeLock(ctx context.Context, private, lock string) (release func(), err error) {
	deadline := time.Now().Add(indexPatience)
	for {
		err := os.Link(private, lock)
		if err == nil {
			ours, err := identify(private)
			return func() {
				if id, lerr := identify(lock); err == nil && lerr == nil && id == ours {
					os.Remove(lock)
				}
			}, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("lock index: %w", err)
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("advance: %w", ErrIndexLocked)
		}
		if err := pause(ctx, indexPoll); err != nil {
			return nil, err
		}
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// ownPath is a path in the folder that is ours inside the git directory.
func (r *Repo) ownPath(name string) string { return filepath.Join(r.gitDir, "arbor", name) }

// lockOwn takes the lock that keeps a second process of ours from the private index and the staging folder.
func (r *Repo) lockOwn(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(r.ownPath(""), 0o777); err != nil {
		return nil, fmt.Errorf("lock %s: %w", r.gitDir, err)
	}
	for {
		unlock, err := r.tryLockOwn()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return unlock, err
		}
		if err := pause(ctx, indexPoll); err != nil {
			return nil, err
		}
	}
}

// tryLockOwn fails with EWOULDBLOCK when another process has the lock. The kernel releases it when a process dies.
func (r *Repo) tryLockOwn() (unlock func(), err error) {
	f, err := os.OpenFile(r.ownPath("lock"), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", r.gitDir, err)
	}
	if err := retryEINTR(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", r.gitDir, err)
	}
	return func() { f.Close() }, nil
}

// recoverAdvance removes what a killed Advance left. Its index.lock is known by being the private index under a second
// name; another's is never touched.
func (r *Repo) recoverAdvance() error {
	private := r.ownPath("index")
	if _, err := os.Lstat(private); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := r.tryLockOwn()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil // not left behind: at work
	}
	if err != nil {
		return err
	}
	defer unlock()
	ours, err := identify(private)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	lock := filepath.Join(r.gitDir, "index.lock")
	if id, err := identify(lock); err == nil && id == ours {
		if err := os.Remove(lock); err != nil {
			return fmt.Errorf("recover: %w", err)
		}
	}
	if err := os.Remove(private); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	return nil
}
