package gitrepo

import (
	"slices"
	"strings"
)

// Diff returns the paths that differ between two commits, sorted by path, without renames. A zero commit is the empty
// tree. The cost follows what differs. Any goroutine may call it.
func (r *Repo) Diff(from, to Hash) ([]Change, error) {
	a, err := r.rootTree(from)
	if err != nil {
		return nil, err
	}
	b, err := r.rootTree(to)
	if err != nil {
		return nil, err
	}
	var changes []Change
	err = r.objects.diffTrees(a, b, "", func(c Change) error {
		changes = append(changes, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return changes, nil
}

// diffTrees calls fn for each path, not a directory, that differs between two trees. A path that is a file on
// one side and a directory on the other gives a change of the file and one of each path in the directory.
func (s *objectStore) diffTrees(a, b Hash, prefix string, fn func(Change) error) error {
	if a == b {
		return nil
	}
	as, err := s.tree(a)
	if err != nil {
		return err
	}
	bs, err := s.tree(b)
	if err != nil {
		return err
	}
	for len(as) > 0 || len(bs) > 0 {
		var ea, eb treeEntry
		switch c := compareHeads(as, bs); {
		case c < 0:
			ea, as = as[0], as[1:]
		case c > 0:
			eb, bs = bs[0], bs[1:]
		default:
			ea, as = as[0], as[1:]
			eb, bs = bs[0], bs[1:]
		}
		if ea.Entry == eb.Entry {
			continue
		}
		if err := s.diffEntries(ea, eb, prefix, fn); err != nil {
			return err
		}
	}
	return nil
}

// compareHeads tells which of two sorted lists of entries comes first; zero when both heads are the same kind of thing
// under the same name. A file and a directory of one name do not compare equal.
func compareHeads(as, bs []treeEntry) int {
	switch {
	case len(as) == 0:
		return 1
	case len(bs) == 0:
		return -1
	}
	return compareTreeNames(as[0].Name, as[0].isDir(), bs[0].Name, bs[0].isDir())
}

// diffEntries compares two entries of one name, or one entry with nothing.
func (s *objectStore) diffEntries(ea, eb treeEntry, prefix string, fn func(Change) error) error {
	name := ea.Name
	if name == "" {
		name = eb.Name
	}
	var fileA, fileB Entry
	var treeA, treeB Hash
	if ea.isDir() {
		treeA = ea.Hash
	} else {
		fileA = ea.Entry
	}
	if eb.isDir() {
		treeB = eb.Hash
	} else {
		fileB = eb.Entry
	}
	if fileA != fileB {
		if err := fn(Change{Path: prefix + name, Old: fileA, New: fileB}); err != nil {
			return err
		}
	}
	return s.diffTrees(treeA, treeB, prefix+name+"/", fn)
}
