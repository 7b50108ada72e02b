package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// intent is the note of where a branch is about to move. It is for a process that is killed, and not for a loss of power: nothing waits
// until it is on disk, nor for the objects.
const intent = "intent"

// Intent is where a branch is about to move.
type Intent struct {
	RefUpdate
	Written bool // the work tree has the files of the new commit; else they are being written
}

// Intend notes that a branch is about to move.
func (r *Repo) Intend(i Intent) error {
	if err := r.objects.flush(); err != nil {
		return err
	}
	path, text := r.ownPath(intent), fmt.Appendf(nil, "%t %s %s %s\n", i.Written, i.Old, i.New, i.Name)
	err := os.WriteFile(path, text, 0o666)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(r.ownPath(""), 0o777); err == nil {
			err = os.WriteFile(path, text, 0o666)
		}
	}
	if err != nil {
		return fmt.Errorf("note where %s goes: %w", i.Name, err)
	}
	return nil
}

// Intended returns what was noted last and not forgotten, with all that the commit needs durable. ErrNotFound when there is no note, or
// when something of the commit is missing.
func (r *Repo) Intended(ctx context.Context) (i Intent, err error) {
	text, err := os.ReadFile(r.ownPath(intent))
	if errors.Is(err, fs.ErrNotExist) {
		return i, ErrNotFound
	}
	if err != nil {
		return i, fmt.Errorf("read where a branch goes: %w", err)
	}
	fields := bytes.SplitN(bytes.TrimSuffix(text, []byte("\n")), []byte(" "), 4)
	if len(fields) < 4 {
		return i, ErrNotFound // it was being written
	}
	i.Written, i.Name = string(fields[0]) == "true", string(fields[3])
	i.Old, err = ParseHash(string(fields[1]))
	if err == nil {
		i.New, err = ParseHash(string(fields[2]))
	}
	if err == nil {
		err = r.Complete(ctx, i.New)
	}
	if err != nil {
		return i, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err := syncAll(r.objects.dirs[0]); err != nil {
		return i, fmt.Errorf("write objects to disk: %w", err)
	}
	return i, nil
}

// ForgetIntent takes the note back, if there is one.
func (r *Repo) ForgetIntent() error {
	if err := os.Remove(r.ownPath(intent)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget where a branch goes: %w", err)
	}
	return nil
}
