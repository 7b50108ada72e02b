// Package gitrepo owns git in one clone: it reads and writes objects, moves references, merges, and keeps the
// index and the work tree in step with a branch while people run git in the same repository.
//
// Objects are read and written in process (go-git's storage below, nothing of its reference, index or work-tree
// code, which is unsafe beside a running git). References are moved by a `git update-ref --stdin` that was started
// before, the index by a private copy that replaces it under index.lock. Names are raw bytes in Go strings, relative
// to the top of the work tree, with slashes.
//
// The package never forces, resets, stashes or cleans; it never writes a work-tree file whose content it has not
// proven to be recorded in a commit; it never follows a symbolic link inside the work tree; it writes no
// git-annex format and knows annexed files only through the functions callers hand in.
package gitrepo

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// Hash names a git object: the SHA-1 of its header and content. The zero Hash stands for "no object".
type Hash [20]byte

// ParseHash reads 40 hexadecimal digits.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != 2*len(h) {
		return Hash{}, fmt.Errorf("parse hash %q: want 40 hexadecimal digits", s)
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return Hash{}, fmt.Errorf("parse hash %q: %w", s, err)
	}
	return h, nil
}

// String returns the 40 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h stands for "no object".
func (h Hash) IsZero() bool { return h == Hash{} }

// Mode is the mode of a tree entry. Zero means that there is no entry.
type Mode uint32

// The modes that a tree written by this package has.
const (
	ModeDir        Mode = 0o040000
	ModeFile       Mode = 0o100644
	ModeExecutable Mode = 0o100755
	ModeSymlink    Mode = 0o120000
	ModeGitlink    Mode = 0o160000
)

// IsRegular reports whether m is a file, executable or not.
func (m Mode) IsRegular() bool { return m == ModeFile || m == ModeExecutable }

// String returns the mode as git prints it, six octal digits.
func (m Mode) String() string { return fmt.Sprintf("%06o", uint32(m)) }

// Entry is what a tree has under one name. The zero Entry means nothing.
type Entry struct {
	Mode Mode
	Hash Hash
}

// IsZero reports whether there is no entry.
func (e Entry) IsZero() bool { return e == Entry{} }

// Change is one path that differs between two trees. A zero Old is an addition, a zero New a removal.
type Change struct {
	Path     string
	Old, New Entry
}

// IndexEntry is what the index shall say about one path. A zero Entry removes the path; a zero Stat leaves it to
// git to look at the file again.
type IndexEntry struct {
	Path  string
	Entry Entry
	Stat  Stat
}

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotRepository: the directory is not the top of a git repository.
	ErrNotRepository = errors.New("not a git repository")
	// ErrNotFound: the object, path or reference does not exist here.
	ErrNotFound = errors.New("not found")
	// ErrRefMoved: a reference no longer has the value it was expected to have; nothing was changed.
	ErrRefMoved = errors.New("reference moved")
	// ErrIndexLocked: another process held index.lock for longer than we wait; nothing was changed.
	ErrIndexLocked = errors.New("index is locked")
	// ErrTooBig: more bytes than the caller's limit.
	ErrTooBig = errors.New("too big")
	// ErrMalformed: foreign bytes that are not what they claim to be.
	ErrMalformed = errors.New("malformed")
	// ErrVanished: the work tree or its .git is not the directory that was opened (unmounted, moved, replaced).
	ErrVanished = errors.New("repository vanished")
)

// Unsupported says what of a repository this package refuses to work with, and what a person can do about it.
type Unsupported struct {
	What string // "the index is split"
	Hint string // "run: git update-index --no-split-index"
}

func (e *Unsupported) Error() string { return "unsupported repository: " + e.What }
