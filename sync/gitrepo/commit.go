package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// NewCommit describes a commit to write.
type NewCommit struct {
	Parents   []Hash
	Base      Hash     // commit whose tree Changes are applied to; zero: the empty tree
	Changes   []Change // Path and New count
	Tree      Hash     // a whole tree instead of Base and Changes
	Message   string
	Author    *Signature // nil: the identity git is configured with
	Committer *Signature // nil: the same as Author
	When      time.Time  // zero: now; used where a Signature has no time
}

// NewCommit writes the objects of a commit and moves nothing. They are on disk for certain after Sync. It starts no
// process, except that the first call with a nil Author may ask git who the person is.
func (r *Repo) NewCommit(ctx context.Context, n NewCommit) (Hash, error) {
	tree := n.Tree
	if tree.IsZero() {
		root, err := r.rootTree(n.Base)
		if err != nil {
			return Hash{}, fmt.Errorf("make commit: %w", err)
		}
		if tree, err = r.objects.editTree(root, n.Changes); err != nil {
			return Hash{}, fmt.Errorf("make commit: %w", err)
		}
		if tree.IsZero() {
			if tree, err = r.objects.write(plumbing.TreeObject, nil); err != nil {
				return Hash{}, fmt.Errorf("make commit: %w", err)
			}
		}
	}
	when := n.When
	if when.IsZero() {
		when = time.Now()
	}
	c := CommitInfo{Tree: tree, Parents: n.Parents, Message: n.Message}
	if n.Author != nil {
		c.Author = *n.Author
	} else {
		c.Author = r.identity(ctx)
	}
	c.Committer = c.Author
	if n.Committer != nil {
		c.Committer = *n.Committer
	}
	for _, s := range []*Signature{&c.Author, &c.Committer} {
		if s.When.IsZero() {
			s.When = when
		}
	}
	if !strings.HasSuffix(c.Message, "\n") {
		c.Message += "\n"
	}
	if strings.IndexByte(c.Message, 0) >= 0 {
		return Hash{}, errors.New("make commit: NUL in the message")
	}
	return r.objects.write(plumbing.CommitObject, encodeCommit(c))
}

// edit is one change on its way down the tree; path is relative to the directory at hand.
type edit struct {
	path string
	new  Entry
}

// editTree applies changes to a tree and writes the trees that differ. Directories that lose all entries vanish.
// A path that would take the place of something the changes do not remove is refused.
func (s *objectStore) editTree(root Hash, changes []Change) (Hash, error) {
	edits := make([]edit, len(changes))
	for i, c := range changes {
		if err := ValidPath(c.Path); err != nil {
			return Hash{}, err
		}
		switch c.New.Mode {
		case 0, ModeFile, ModeExecutable, ModeSymlink, ModeGitlink:
		default:
			return Hash{}, fmt.Errorf("path %q: mode %s does not name a file", c.Path, c.New.Mode)
		}
		if c.New.Mode != 0 && c.New.Hash.IsZero() {
			return Hash{}, fmt.Errorf("path %q: no object", c.Path)
		}
		edits[i] = edit{c.Path, c.New}
	}
	slices.SortStableFunc(edits, func(a, b edit) int { return strings.Compare(a.path, b.path) })
	return s.applyEdits(root, edits)
}

// applyEdits edits one directory. edits are sorted by path.
func (s *objectStore) applyEdits(tree Hash, edits []edit) (Hash, error) {
	entries, err := s.tree(tree)
	if err != nil {
		return Hash{}, err
	}
	touched := make(map[string][]edit)
	for _, e := range edits {
		name, _, _ := strings.Cut(e.path, "/")
		touched[name] = append(touched[name], e)
	}
	old := make(map[string]Entry, len(touched))
	kept := make([]treeEntry, 0, len(entries)+len(touched))
	for _, e := range entries {
		if _, ok := touched[e.Name]; !ok {
			kept = append(kept, e)
		} else if _, twice := old[e.Name]; twice {
			return Hash{}, fmt.Errorf("tree %s: %w: %q twice", tree, ErrMalformed, e.Name)
		} else {
			old[e.Name] = e.Entry
		}
	}
	for name, es := range touched {
		e, err := s.applyName(name, old[name], es)
		if err != nil {
			return Hash{}, err
		}
		if !e.IsZero() {
			kept = append(kept, treeEntry{name, e})
		}
	}
	return s.writeTree(kept)
}

// applyName edits what one directory has under one name: es has at most one edit of the name itself, and those below.
func (s *objectStore) applyName(name string, old Entry, es []edit) (Entry, error) {
	var below []edit
	file := old
	if old.isDir() {
		file = Entry{}
	}
	for _, e := range es {
		_, rest, deeper := strings.Cut(e.path, "/")
		if deeper {
			below = append(below, edit{rest, e.new})
		} else {
			file = e.new
		}
	}
	var dir Entry
	if old.isDir() {
		dir = old
	}
	if len(below) > 0 {
		tree, err := s.applyEdits(dir.Hash, below)
		if err != nil {
			return Entry{}, fmt.Errorf("%s/%w", name, err)
		}
		dir = Entry{}
		if !tree.IsZero() {
			dir = Entry{ModeDir, tree}
		}
	}
	switch {
	case dir.IsZero():
		return file, nil
	case file.IsZero():
		return dir, nil
	}
	return Entry{}, fmt.Errorf("%q would be a file and a directory", name)
}
