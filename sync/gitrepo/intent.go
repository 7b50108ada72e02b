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

// Intend notes that a branch is about to move to the commit whose files the work tree has already.
func (r *Repo) Intend(u RefUpdate) error {
	path, text := r.ownPath(intent), fmt.Appendf(nil, "%s %s %s\n", u.Old, u.New, u.Name)
	err := os.WriteFile(path, text, 0o666)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(r.ownPath(""), 0o777); err == nil {
			err = os.WriteFile(path, text, 0o666)
		}
	}
	if err != nil {
		return fmt.Errorf("note where %s goes: %w", u.Name, err)
	}
	return nil
}

// Intended returns what was noted last and not forgotten, with all that the commit needs durable. ErrNotFound when there is no note, or
// when something of the commit is missing.
func (r *Repo) Intended(ctx context.Context) (u RefUpdate, err error) {
	text, err := os.ReadFile(r.ownPath(intent))
	if errors.Is(err, fs.ErrNotExist) {
		return u, ErrNotFound
	}
	if err != nil {
		return u, fmt.Errorf("read where a branch goes: %w", err)
	}
	fields := bytes.SplitN(bytes.TrimSuffix(text, []byte("\n")), []byte(" "), 3)
	if len(fields) < 3 {
		return u, ErrNotFound // it was being written
	}
	u.Name = string(fields[2])
	u.Old, err = ParseHash(string(fields[0]))
	if err == nil {
		u.New, err = ParseHash(string(fields[1]))
	}
	if err == nil {
		err = r.Complete(ctx, u.New)
	}
	if err != nil {
		return u, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err := syncAll(r.objects.dirs[0]); err != nil {
		return u, fmt.Errorf("write objects to disk: %w", err)
	}
	return u, nil
}

// ForgetIntent takes the note back, if there is one.
func (r *Repo) ForgetIntent() error {
	if err := os.Remove(r.ownPath(intent)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget where a branch goes: %w", err)
	}
	return nil
}
