package gitrepo

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// treeEntry is one line of a tree object.
type treeEntry struct {
	Name string
	Entry
}

// isDir reports whether the entry is a tree.
func (e Entry) isDir() bool { return e.Mode == ModeDir }

// tree returns the entries of a tree object in git's order; the zero hash has none.
func (s *objectStore) tree(h Hash) ([]treeEntry, error) {
	if h.IsZero() {
		return nil, nil
	}
	data, err := s.readKind(h, plumbing.TreeObject, maxTreeSize)
	if err != nil {
		return nil, err
	}
	entries, err := parseTree(data)
	if err != nil {
		return nil, fmt.Errorf("tree %s: %w", h, err)
	}
	return entries, nil
}

// parseTree decodes a tree object: "octal-mode SP name NUL hash" repeated. Modes of old tools are brought to the
// canonical ones, as git does when it reads them.
func parseTree(data []byte) ([]treeEntry, error) {
	entries := make([]treeEntry, 0, bytes.Count(data, []byte{0}))
	for len(data) > 0 {
		sp := bytes.IndexByte(data, ' ')
		if sp < 1 || sp > 7 {
			return nil, fmt.Errorf("%w: tree mode", ErrMalformed)
		}
		mode, err := strconv.ParseUint(string(data[:sp]), 8, 32)
		if err != nil {
			return nil, fmt.Errorf("%w: tree mode", ErrMalformed)
		}
		data = data[sp+1:]
		nul := bytes.IndexByte(data, 0)
		if nul < 1 || len(data) < nul+1+len(Hash{}) {
			return nil, fmt.Errorf("%w: tree entry", ErrMalformed)
		}
		e := treeEntry{Name: string(data[:nul])}
		e.Mode = canonicalMode(uint32(mode))
		copy(e.Hash[:], data[nul+1:])
		data = data[nul+1+len(e.Hash):]
		entries = append(entries, e)
	}
	return entries, nil
}

// canonicalMode is git's canon_mode.
func canonicalMode(mode uint32) Mode {
	switch mode & 0o170000 {
	case 0o100000:
		if mode&0o100 != 0 {
			return ModeExecutable
		}
		return ModeFile
	case 0o120000:
		return ModeSymlink
	case 0o040000:
		return ModeDir
	}
	return ModeGitlink
}

// compareTreeNames orders names of one tree as git does: a directory sorts as if its name ended in a slash.
func compareTreeNames(a string, aDir bool, b string, bDir bool) int {
	n := min(len(a), len(b))
	if c := strings.Compare(a[:n], b[:n]); c != 0 {
		return c
	}
	end := func(s string, dir bool) int {
		switch {
		case len(s) > n:
			return int(s[n])
		case dir:
			return '/'
		}
		return 0
	}
	return end(a, aDir) - end(b, bDir)
}

func encodeTree(entries []treeEntry) []byte {
	slices.SortFunc(entries, func(a, b treeEntry) int {
		return compareTreeNames(a.Name, a.isDir(), b.Name, b.isDir())
	})
	var buf bytes.Buffer
	for _, e := range entries {
		buf.WriteString(strconv.FormatUint(uint64(e.Mode), 8))
		buf.WriteByte(' ')
		buf.WriteString(e.Name)
		buf.WriteByte(0)
		buf.Write(e.Hash[:])
	}
	return buf.Bytes()
}

// writeTree writes a tree; no entries give the zero hash, for git trees have no empty directories below the root.
func (s *objectStore) writeTree(entries []treeEntry) (Hash, error) {
	if len(entries) == 0 {
		return Hash{}, nil
	}
	return s.write(plumbing.TreeObject, encodeTree(entries))
}

// rootTree returns the tree of a commit; of the zero hash, the empty tree.
func (r *Repo) rootTree(commit Hash) (Hash, error) {
	if commit.IsZero() {
		return Hash{}, nil
	}
	c, err := r.Commit(commit)
	if err != nil {
		return Hash{}, err
	}
	return c.Tree, nil
}

// Entry returns what commit has at path; ErrNotFound when nothing. The path "" is the root tree.
func (r *Repo) Entry(commit Hash, path string) (Entry, error) {
	root, err := r.rootTree(commit)
	if err != nil {
		return Entry{}, err
	}
	return r.objects.lookup(root, path)
}

// lookup finds path below a tree.
func (s *objectStore) lookup(root Hash, path string) (Entry, error) {
	e := Entry{Mode: ModeDir, Hash: root}
	for path != "" {
		var name string
		name, path, _ = strings.Cut(path, "/")
		if !e.isDir() || e.Hash.IsZero() {
			return Entry{}, ErrNotFound
		}
		data, err := s.readKind(e.Hash, plumbing.TreeObject, maxTreeSize)
		if err != nil {
			return Entry{}, err
		}
		if e, err = findInTree(data, name); err != nil {
			return Entry{}, err
		}
	}
	if e.Hash.IsZero() {
		return Entry{}, ErrNotFound
	}
	return e, nil
}

// Entries returns what commit has at each of the paths, which are sorted; zero where it has nothing. Each tree is read once.
func (r *Repo) Entries(commit Hash, paths []string) ([]Entry, error) {
	root, err := r.rootTree(commit)
	if err != nil {
		return nil, err
	}
	found := make([]Entry, len(paths))
	return found, r.objects.lookupAll(root, 0, paths, found)
}

// lookupAll finds sorted paths below a tree, whose own path is the first skip bytes of each.
func (s *objectStore) lookupAll(tree Hash, skip int, paths []string, found []Entry) error {
	if len(paths) == 1 {
		e, err := s.lookup(tree, paths[0][skip:])
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		found[0] = e
		return err
	}
	entries, err := s.tree(tree)
	if err != nil {
		return err
	}
	names := make(map[string]Entry, len(entries))
	for _, e := range entries {
		names[e.Name] = e.Entry
	}
	for len(paths) > 0 {
		name, _, below := strings.Cut(paths[0][skip:], "/")
		e, ok := names[name]
		n := 1
		if below {
			dir := paths[0][:skip+len(name)+1]
			for n < len(paths) && strings.HasPrefix(paths[n], dir) {
				n++
			}
			if ok && e.isDir() {
				if err := s.lookupAll(e.Hash, len(dir), paths[:n], found[:n]); err != nil {
					return err
				}
			}
		} else {
			found[0] = e
		}
		paths, found = paths[n:], found[n:]
	}
	return nil
}

// findInTree finds one name without decoding the whole tree.
func findInTree(data []byte, name string) (Entry, error) {
	for len(data) > 0 {
		sp := bytes.IndexByte(data, ' ')
		nul := bytes.IndexByte(data, 0)
		if sp < 1 || nul < sp || len(data) < nul+1+len(Hash{}) {
			return Entry{}, fmt.Errorf("%w: tree entry", ErrMalformed)
		}
		if string(data[sp+1:nul]) == name {
			mode, err := strconv.ParseUint(string(data[:sp]), 8, 32)
			if err != nil {
				return Entry{}, fmt.Errorf("%w: tree mode", ErrMalformed)
			}
			e := Entry{Mode: canonicalMode(uint32(mode))}
			copy(e.Hash[:], data[nul+1:])
			return e, nil
		}
		data = data[nul+1+len(Hash{}):]
	}
	return Entry{}, ErrNotFound
}

// Files calls fn for each entry of the commit's tree that is not a directory, in path order. A zero commit has none.
func (r *Repo) Files(commit Hash, fn func(path string, e Entry) error) error {
	root, err := r.rootTree(commit)
	if err != nil {
		return err
	}
	return r.objects.files(root, "", fn)
}

func (s *objectStore) files(tree Hash, prefix string, fn func(path string, e Entry) error) error {
	entries, err := s.tree(tree)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.isDir() {
			err = s.files(e.Hash, prefix+e.Name+"/", fn)
		} else {
			err = fn(prefix+e.Name, e.Entry)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
