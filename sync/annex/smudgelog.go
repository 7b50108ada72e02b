package annex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A Smudged is a pointer that git has checked out and that has not been populated yet.
type Smudged struct {
	Key  Key
	Path string
}

// Smudged hands fn the pointers that git checked out since the last call, as FilterProcess (or git-annex) has noted them in
// .git/annex/smudge.log. They stay noted when fn fails, and may come twice. fn populates those whose content is here.
func (r *Repo) Smudged(ctx context.Context, fn func([]Smudged) error) error {
	taken, err := r.readSmudgeLog(ctx)
	if err != nil || len(taken) == 0 {
		return err
	}
	var files []Smudged
	for line := range bytes.SplitSeq(taken, []byte("\n")) {
		text, path, ok := strings.Cut(string(line), " ")
		if k, err := ParseKey(text); ok && err == nil && path != "" {
			files = append(files, Smudged{k, path})
		}
	}
	if err := fn(files); err != nil {
		return err
	}
	return r.cutSmudgeLog(ctx, taken)
}

func (r *Repo) smudgeLog() (path, lock string) {
	return filepath.Join(r.dir, "smudge.log"), filepath.Join(r.dir, "smudge.lck")
}

func (r *Repo) readSmudgeLog(ctx context.Context) ([]byte, error) {
	path, lockPath := r.smudgeLog()
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	lock, err := waitLock(ctx, lockPath, true)
	if err != nil {
		return nil, err
	}
	defer lock.unlock()
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read smudge log: %w", err)
	}
	return content[:bytes.LastIndexByte(content, '\n')+1], nil
}

// cutSmudgeLog removes taken from the front of the log, unless somebody else has removed it.
func (r *Repo) cutSmudgeLog(ctx context.Context, taken []byte) error {
	path, lockPath := r.smudgeLog()
	lock, err := waitLock(ctx, lockPath, true)
	if err != nil {
		return err
	}
	defer lock.unlock()
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read smudge log: %w", err)
	}
	rest, ok := bytes.CutPrefix(content, taken)
	if !ok {
		return nil
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, rest, 0o666); err != nil {
		return fmt.Errorf("cut smudge log: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("cut smudge log: %w", err)
	}
	return nil
}

// noteSmudged adds a pointer that git is about to check out. A name with a line break has no place in this log; the slow audit finds such files.
func (r *Repo) noteSmudged(ctx context.Context, k Key, path string) error {
	if strings.Contains(path, "\n") {
		return nil
	}
	log, lockPath := r.smudgeLog()
	lock, err := waitLock(ctx, lockPath, true)
	if err != nil {
		return err
	}
	defer lock.unlock()
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("note smudged file: %w", err)
	}
	_, err = f.WriteString(k.String() + " " + path + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("note smudged file: %w", err)
	}
	return nil
}
