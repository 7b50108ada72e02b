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

// optimisticTries is how often Advance starts again because the index was changed meanwhile, before it keeps the lock
// from the start.
const optimisticTries = 5

// Advance describes the step from one commit to the next.
type Advance struct {
	Ref      string // full name; the branch HEAD points to when Index is not empty, "" where HEAD is detached
	Old, New Hash   // the same where HEAD is detached: only the index changes
	Index    []IndexEntry
	Held     IndexState // what the index must hold before, unless it is zero
	Reason   string     // for the reflog
}

// Advance moves the branch and the index entries together, keeping all else that is staged. The objects written so far
// are made durable first. ErrRefMoved when Ref, HEAD or what the index holds is not as expected, ErrIndexLocked when
// another process keeps the index.
//
// The new index is made beside the old one, becomes index.lock by link(2), and takes the index's place only when that is
// still the one it was made from. The reference is locked and verified before that and moves after it. A crash in
// between leaves an index that is ahead of the branch: git shows the change as staged, nothing is undone.
func (r *Repo) Advance(ctx context.Context, a Advance) error {
	if err := r.prepareAdvance(a); err != nil {
		return err
	}
	if len(a.Index) == 0 {
		return r.UpdateRefs(ctx, a.updates(), a.Reason)
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
	l, err := r.holdIndex(ctx) // others change it all the time
	if err != nil {
		return err
	}
	defer l.Unlock()
	return l.advance(ctx, a)
}

// prepareAdvance checks what Advance is given and makes the objects durable.
func (r *Repo) prepareAdvance(a Advance) error {
	if r.bare && len(a.Index) > 0 {
		return errors.New("advance: a bare repository has no index")
	}
	for _, e := range a.Index {
		if err := ValidPath(e.Path); err != nil {
			return fmt.Errorf("advance: %w", err)
		}
	}
	if err := r.Sync(); err != nil {
		return fmt.Errorf("write objects to disk: %w", err)
	}
	return nil
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
	if err := r.prepareIndex(ctx, private, a); err != nil {
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

// swapIndex puts the new index in place and moves the reference. The caller holds index.lock.
func (r *Repo) swapIndex(ctx context.Context, a Advance, next string) error {
	ref, head, err := r.Head(ctx)
	if err != nil {
		return fmt.Errorf("advance: %w", err)
	}
	if ref != a.Ref {
		return fmt.Errorf("advance %s: %w: HEAD points to %q", a.Ref, ErrRefMoved, ref)
	}
	if ref == "" {
		if head != a.Old || a.New != a.Old {
			return fmt.Errorf("advance: %w: HEAD is detached, at %s", ErrRefMoved, head)
		}
		return r.renameIndex(next)
	}
	tx, err := r.beginRefs(ctx, a.updates(), a.Reason)
	if err != nil {
		return err
	}
	if err := r.renameIndex(next); err != nil {
		tx.abort()
		return err
	}
	if err := tx.commit(); err != nil {
		return err
	}
	_, _ = r.readIndex() // now, when nobody waits, and not when the next change comes; it will say what is wrong
	return nil
}

// renameIndex puts the new index in place.
func (r *Repo) renameIndex(next string) error {
	err := r.markIndex(next)
	if err == nil {
		err = os.Rename(next, filepath.Join(r.gitDir, "index"))
	}
	if err != nil {
		return fmt.Errorf("advance: %w", err)
	}
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
func (r *Repo) prepareIndex(ctx context.Context, private string, a Advance) error {
	if a.Held.idx != nil {
		now, err := r.readIndex()
		if err == nil && !a.Held.is(now) {
			err = fmt.Errorf("%w: somebody has staged something", ErrRefMoved)
		}
		if err != nil {
			return fmt.Errorf("prepare index: %w", err)
		}
	}
	data, mtime, err := readIndexFile(filepath.Join(r.gitDir, "index"))
	if err != nil {
		return fmt.Errorf("prepare index: %w", err)
	}
	tree, err := r.openWorkTree()
	if err != nil {
		return err
	}
	defer tree.close()
	edited, err := editIndex(data, mtime, a.Index, tree.lstat)
	if errors.Is(err, errIndexForGit) {
		edited, err = r.editIndexByGit(ctx, private, a.Index)
	}
	if err != nil {
		return fmt.Errorf("prepare index: %w", err)
	}
	if err := writeFresh(private, edited); err != nil {
		return fmt.Errorf("prepare index: %w", err)
	}
	return outdate(private, a.Index)
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

// writeFresh makes a new file, durable: what is at the path may be a second name of the index.
func writeFresh(path string, data []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
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
