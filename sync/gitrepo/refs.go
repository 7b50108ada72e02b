package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

const (
	// maxSymref is how many symbolic references may follow each other, as in git.
	maxSymref = 5
	// maxRefFile bounds a loose reference file.
	maxRefFile = 4096
)

// refReader reads references of git's files backend in process: one file per loose reference, over packed-refs.
// Git replaces these files by rename, so a read sees an old or a new value, never half of one.
type refReader struct {
	gitDir string

	mu     sync.Mutex
	packed map[string]Hash
	stamp  fileStamp
}

// fileStamp changes when a file is replaced or rewritten.
type fileStamp struct {
	ino         uint64
	size        int64
	mtime       int64
	ctime       int64
	present     bool
	trustworthy bool // old enough that a later change must show in the times
}

// Head returns the full name of the branch HEAD points to and its commit. Unborn: zero hash. Detached: ref "".
func (r *Repo) Head(context.Context) (ref string, h Hash, err error) {
	target, h, err := r.refs.loose("HEAD")
	if err != nil {
		return "", Hash{}, fmt.Errorf("read HEAD: %w", err)
	}
	if target == "" {
		return "", h, nil
	}
	h, err = r.Ref(target)
	if errors.Is(err, ErrNotFound) {
		return target, Hash{}, nil
	}
	return target, h, err
}

// SetHead points HEAD to a branch, which need not exist. Index and work tree stay as they are.
func (r *Repo) SetHead(ctx context.Context, ref string) error {
	if _, err := r.git(ctx, "symbolic-ref", "-m", "arbor: choose branch", "HEAD", ref); err != nil {
		return fmt.Errorf("point HEAD to %s: %w", ref, err)
	}
	return nil
}

// Ref resolves one full reference name; ErrNotFound when it does not exist. Any goroutine may call it.
func (r *Repo) Ref(name string) (Hash, error) {
	full := name
	for range maxSymref {
		if !validRef(name) {
			return Hash{}, fmt.Errorf("read reference %q: %w: bad name", full, ErrMalformed)
		}
		target, h, err := r.refs.resolve(name)
		if err != nil {
			return Hash{}, fmt.Errorf("read reference %s: %w", full, err)
		}
		if target == "" {
			return h, nil
		}
		name = target
	}
	return Hash{}, fmt.Errorf("read reference %s: %w: symbolic references in a circle", full, ErrMalformed)
}

// resolve reads one step: a loose reference, else a packed one. Between the two git may have packed the reference, or
// deleted and made it again; one more look settles it.
func (rr *refReader) resolve(name string) (target string, h Hash, err error) {
	for range 2 {
		target, h, err = rr.loose(name)
		if !errors.Is(err, ErrNotFound) {
			return target, h, err
		}
		packed, err := rr.packedRefs()
		if err != nil {
			return "", Hash{}, err
		}
		if h, ok := packed[name]; ok {
			return "", h, nil
		}
	}
	return "", Hash{}, ErrNotFound
}

// loose reads a loose reference: 40 digits, or "ref: " and the name of another.
func (rr *refReader) loose(name string) (target string, h Hash, err error) {
	path := filepath.Join(rr.gitDir, filepath.FromSlash(name))
	data, err := readSmall(path, maxRefFile)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return "", Hash{}, ErrNotFound
	case err != nil:
		return "", Hash{}, err
	}
	text := strings.TrimRight(string(data), " \t\r\n")
	if target, ok := strings.CutPrefix(text, "ref:"); ok {
		return strings.TrimSpace(target), Hash{}, nil
	}
	if len(text) > 40 {
		text = text[:40] // FETCH_HEAD and the like carry more
	}
	if h, err = ParseHash(text); err != nil {
		return "", Hash{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return "", h, nil
}

// readSmall reads a file of at most max bytes.
func readSmall(path string, max int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, max+1)
	n := 0
	for n < len(buf) {
		m, err := f.Read(buf[n:])
		n += m
		if m == 0 {
			if err != nil && !isEOF(err) {
				return nil, err
			}
			return buf[:n], nil
		}
	}
	return nil, ErrTooBig
}

// packedRefs returns the content of packed-refs, which is read again only when the file changed. The map is shared:
// callers do not change it.
func (rr *refReader) packedRefs() (map[string]Hash, error) {
	rr.mu.Lock()
	defer rr.mu.Unlock()
	path := filepath.Join(rr.gitDir, "packed-refs")
	stamp, err := stampFile(path)
	if err != nil {
		return nil, err
	}
	if rr.packed != nil && stamp == rr.stamp && (stamp.trustworthy || !stamp.present) {
		return rr.packed, nil
	}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	packed := make(map[string]Hash)
	for line := range bytes.SplitSeq(data, []byte{'\n'}) {
		// "hash SP name"; "# header" and "^peeled tag" are passed over.
		if len(line) < 42 || line[40] != ' ' {
			continue
		}
		if h, err := ParseHash(string(line[:40])); err == nil {
			packed[string(line[41:])] = h
		}
	}
	rr.packed, rr.stamp = packed, stamp
	return packed, nil
}

// Refs returns all references whose full name starts with prefix ("refs/heads/"), symbolic ones resolved, broken ones left
// out. Any goroutine may call it.
func (r *Repo) Refs(ctx context.Context, prefix string) (map[string]Hash, error) {
	names := make(map[string]bool)
	// Loose names first: a reference that is packed while we look is then in one of the two.
	top := "refs"
	if dir, _, ok := splitDir(prefix); ok && strings.HasPrefix(prefix, "refs/") {
		top = dir
	}
	err := filepath.WalkDir(filepath.Join(r.gitDir, filepath.FromSlash(top)), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(r.gitDir, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if d.IsDir() {
			if !strings.HasPrefix(name+"/", prefix) && !strings.HasPrefix(prefix, name+"/") {
				return fs.SkipDir
			}
		} else if strings.HasPrefix(name, prefix) && !strings.HasSuffix(name, ".lock") {
			names[name] = true
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list references: %w", err)
	}
	packed, err := r.refs.packedRefs()
	if err != nil {
		return nil, fmt.Errorf("list references: %w", err)
	}
	refs := make(map[string]Hash)
	for name, h := range packed {
		if strings.HasPrefix(name, prefix) && !names[name] {
			refs[name] = h
		}
	}
	for name := range names {
		h, err := r.Ref(name)
		switch {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrMalformed):
		case err != nil:
			return nil, err
		default:
			refs[name] = h
		}
	}
	return refs, nil
}

// splitDir splits a path or reference at its last slash; ok is false when there is none.
func splitDir(s string) (dir, name string, ok bool) {
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// validRef reports whether name is a full reference name that git accepts (git check-ref-format), or a
// pseudo reference such as HEAD.
func validRef(name string) bool {
	if name == "" || len(name) > 1024 || name == "@" || strings.HasPrefix(name, "/") ||
		strings.HasSuffix(name, "/") || strings.HasSuffix(name, ".") ||
		strings.Contains(name, "..") || strings.Contains(name, "@{") {
		return false
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c == 0x7f || strings.IndexByte("~^:?*[\\", c) >= 0 {
			return false
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	if strings.HasPrefix(name, "refs/") {
		return true
	}
	return !strings.Contains(name, "/") && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}

// Unfinished names what a person has begun and not ended: "merge", "rebase", "cherry-pick", "revert", "bisect", "am"; or "".
func (r *Repo) Unfinished() string {
	for _, u := range []struct{ file, name string }{
		{"rebase-merge", "rebase"},
		{"rebase-apply/applying", "am"},
		{"rebase-apply", "rebase"},
		{"MERGE_HEAD", "merge"},
		{"CHERRY_PICK_HEAD", "cherry-pick"},
		{"REVERT_HEAD", "revert"},
		{"sequencer/todo", "cherry-pick"},
		{"BISECT_LOG", "bisect"},
	} {
		if _, err := os.Lstat(filepath.Join(r.gitDir, u.file)); err == nil {
			return u.name
		}
	}
	return ""
}

// IndexLocked reports whether some process holds index.lock at this moment.
func (r *Repo) IndexLocked() bool {
	_, err := os.Lstat(filepath.Join(r.gitDir, "index.lock"))
	return err == nil
}
