package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

const (
	// maxMergedText is up to which size files are merged by lines.
	maxMergedText = 8 << 20
	// maxBases and maxBaseDepth bound the work on criss-cross histories: how many merge bases are merged into one,
	// and how often that is needed for the bases of bases. Beyond, one of them is the base.
	maxBases     = 8
	maxBaseDepth = 8
	// maxNamedConflicts bounds the list of conflicts in a commit message.
	maxNamedConflicts = 50
)

// MergeResult is the outcome of Merge.
type MergeResult struct {
	Commit      Hash
	FastForward bool // Commit is one of the two
	Conflicts   []Conflict
}

// Conflict is one path two sides changed differently, and the names in the same directory where the versions are now. No
// variants: what is left kept its name.
type Conflict struct {
	Path     string
	Variants []string // paths
}

// Merge merges two commits without touching references, index or work tree. The result depends on the two commits alone:
// whoever merges them, in either order, with any configuration, gets the same commit. It starts no process.
//
// Files are merged by lines; renames are not looked for. Where both sides changed one file and that fails, both versions
// are kept under variant names (see conflict.go), and none has markers. A file changed on one side and removed on
// the other stays. The author of the commit is Arbor, its date that of the younger parent.
func (r *Repo) Merge(ctx context.Context, ours, theirs Hash, annexed Resolver) (MergeResult, error) {
	switch {
	case ours == theirs || theirs.IsZero():
		return MergeResult{Commit: ours, FastForward: true}, nil
	case ours.IsZero():
		return MergeResult{Commit: theirs, FastForward: true}, nil
	}
	bases, err := r.MergeBases(ctx, ours, theirs)
	if err != nil {
		return MergeResult{}, fmt.Errorf("merge: %w", err)
	}
	if slices.Contains(bases, ours) {
		return MergeResult{Commit: theirs, FastForward: true}, nil
	}
	if slices.Contains(bases, theirs) {
		return MergeResult{Commit: ours, FastForward: true}, nil
	}
	parents := []Hash{ours, theirs}
	sortHashes(parents)
	res, err := r.mergeSorted(ctx, parents, bases, annexed)
	if err != nil {
		return MergeResult{}, fmt.Errorf("merge: %w", err)
	}
	return res, nil
}

// MergeHeads merges any number of commits into one: those that others contain are left out, the rest is merged one by
// one in the order of their hashes. Clones that know the same heads make the same commit, where merging pair by pair
// as heads arrive would give each its own. Zero hashes count as nothing.
func (r *Repo) MergeHeads(ctx context.Context, heads []Hash, annexed Resolver) (MergeResult, error) {
	heads, err := r.independent(ctx, heads)
	if err != nil {
		return MergeResult{}, fmt.Errorf("merge: %w", err)
	}
	if len(heads) == 0 {
		return MergeResult{FastForward: true}, nil
	}
	all := MergeResult{Commit: heads[0], FastForward: true}
	for _, h := range heads[1:] {
		one, err := r.Merge(ctx, all.Commit, h, annexed)
		if err != nil {
			return MergeResult{}, err
		}
		all = MergeResult{Commit: one.Commit, Conflicts: append(all.Conflicts, one.Conflicts...)}
	}
	return all, nil
}

// independent returns the commits that none of the others contains, sorted.
func (r *Repo) independent(ctx context.Context, heads []Hash) ([]Hash, error) {
	heads = slices.Clone(heads)
	sortHashes(heads)
	heads = slices.DeleteFunc(slices.Compact(heads), Hash.IsZero)
	var best []Hash
	for _, h := range heads {
		contained := false
		for _, other := range heads {
			if h == other {
				continue
			}
			in, err := r.IsAncestor(ctx, h, other)
			if err != nil {
				return nil, err
			}
			if in {
				contained = true
				break
			}
		}
		if !contained {
			best = append(best, h)
		}
	}
	return best, nil
}

func (r *Repo) mergeSorted(ctx context.Context, parents, bases []Hash, annexed Resolver) (MergeResult, error) {
	base, err := r.baseTree(ctx, bases, 0)
	if err != nil {
		return MergeResult{}, err
	}
	a, err := r.Commit(parents[0])
	if err != nil {
		return MergeResult{}, err
	}
	b, err := r.Commit(parents[1])
	if err != nil {
		return MergeResult{}, err
	}
	m := &merger{store: &r.objects, annexed: annexed}
	tree, err := m.trees(ctx, "", base, a.Tree, b.Tree)
	if err != nil {
		return MergeResult{}, err
	}
	if tree.IsZero() {
		if tree, err = r.objects.write(plumbing.TreeObject, nil); err != nil {
			return MergeResult{}, err
		}
	}
	slices.SortFunc(m.conflicts, func(a, b Conflict) int { return strings.Compare(a.Path, b.Path) })
	when := a.Committer.When
	if b.Committer.When.After(when) {
		when = b.Committer.When
	}
	who := Signature{Name: "Arbor", Email: "arbor@localhost", When: when.UTC()}
	if when.IsZero() {
		who.When = time.Unix(0, 0).UTC()
	}
	commit, err := r.objects.write(plumbing.CommitObject, encodeCommit(CommitInfo{
		Tree: tree, Parents: parents, Author: who, Committer: who, Message: mergeMessage(parents, m.conflicts),
	}))
	return MergeResult{Commit: commit, Conflicts: m.conflicts}, err
}

func mergeMessage(parents []Hash, conflicts []Conflict) string {
	var msg strings.Builder
	fmt.Fprintf(&msg, "Merge %.12s and %.12s\n", parents[0], parents[1])
	for i, c := range conflicts {
		if i == 0 {
			msg.WriteString("\nConflicts, both versions kept:\n")
		}
		if i == maxNamedConflicts {
			fmt.Fprintf(&msg, "\tand %d more\n", len(conflicts)-i)
			break
		}
		fmt.Fprintf(&msg, "\t%s\n", quoteName(c.Path))
	}
	return msg.String()
}

// quoteName quotes a path for a message, only where it needs that.
func quoteName(path string) string {
	if q := strconv.Quote(path); q != `"`+path+`"` {
		return q
	}
	return path
}

// baseTree returns the tree of the common ancestor: of none, nothing; of several, their own merge, in which a conflict is an
// entry that equals nothing either side can have.
func (r *Repo) baseTree(ctx context.Context, bases []Hash, depth int) (Hash, error) {
	if len(bases) == 0 {
		return Hash{}, nil
	}
	tree, err := r.rootTree(bases[0])
	if err != nil || depth > maxBaseDepth {
		return tree, err
	}
	for i := 1; i < min(len(bases), maxBases); i++ {
		next, err := r.rootTree(bases[i])
		if err != nil {
			return Hash{}, err
		}
		common, err := r.mergeBases(ctx, bases[:i], bases[i:i+1])
		if err != nil {
			return Hash{}, err
		}
		below, err := r.baseTree(ctx, common, depth+1)
		if err != nil {
			return Hash{}, err
		}
		m := &merger{store: &r.objects, virtual: true}
		if tree, err = m.trees(ctx, "", below, tree, next); err != nil {
			return Hash{}, err
		}
	}
	return tree, nil
}

// merger merges trees. a and b are the two sides in the order of their commits' hashes, o is the base.
type merger struct {
	store     *objectStore
	annexed   Resolver
	virtual   bool // the result is a base for another merge
	conflicts []Conflict
}

// trees merges three trees; prefix is where they are, "" or ending in a slash. The zero hash is no tree.
func (m *merger) trees(ctx context.Context, prefix string, o, a, b Hash) (Hash, error) {
	switch {
	case a == b, o == b:
		return a, nil
	case o == a:
		return b, nil
	}
	if err := ctx.Err(); err != nil {
		return Hash{}, err
	}
	var sides [3]map[string]Entry
	names := make(map[string]bool)
	for i, h := range []Hash{o, a, b} {
		entries, err := m.store.tree(h)
		if err != nil {
			return Hash{}, err
		}
		sides[i] = make(map[string]Entry, len(entries))
		for _, e := range entries {
			if err := validName(e.Name); err != nil {
				return Hash{}, fmt.Errorf("tree %s: %w", h, err)
			}
			sides[i][e.Name] = e.Entry
			names[e.Name] = true
		}
	}
	d := &mergedDir{prefix: prefix, entries: make(map[string]Entry)}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if err := m.name(ctx, d, name, sides[0][name], sides[1][name], sides[2][name]); err != nil {
			return Hash{}, err
		}
	}
	m.conflicts = append(m.conflicts, d.placeVariants()...)
	merged := make([]treeEntry, 0, len(d.entries))
	for name, e := range d.entries {
		merged = append(merged, treeEntry{name, e})
	}
	return m.store.writeTree(merged)
}

// name merges what three trees have under one name. Files and directories of that name are merged apart from each
// other; when both are left, the directory keeps the name.
func (m *merger) name(ctx context.Context, d *mergedDir, name string, o, a, b Entry) error {
	switch {
	case a == b, o == b:
		d.keep(name, a)
		return nil
	case o == a:
		d.keep(name, b)
		return nil
	}
	var dirs [3]Hash
	var files [3]Entry
	for i, e := range []Entry{o, a, b} {
		if e.isDir() {
			dirs[i] = e.Hash
		} else {
			files[i] = e
		}
	}
	dir, err := m.trees(ctx, d.prefix+name+"/", dirs[0], dirs[1], dirs[2])
	if err != nil {
		return err
	}
	file, err := m.file(d.prefix+name, files[0], files[1], files[2])
	if err != nil {
		return err
	}
	switch {
	case m.virtual && file.conflict:
		marker, err := m.store.write(plumbing.BlobObject, fmt.Appendf(nil, "conflict\n%s\n%s\n%s\n", o.Hash, a.Hash, b.Hash))
		if err != nil {
			return err
		}
		file = mergedFile{entry: Entry{ModeFile, marker}}
	case file.conflict:
		d.conflict(name, file.variants)
	}
	if dir.IsZero() {
		d.keep(name, file.entry)
		return nil
	}
	d.keep(name, Entry{ModeDir, dir})
	if !file.entry.IsZero() && !m.virtual {
		d.conflict(name, []variant{m.variant(file.entry)})
	}
	return nil
}

// mergedFile is the outcome for the file of one name: what keeps the name, and what becomes a variant.
type mergedFile struct {
	entry    Entry
	conflict bool
	variants []variant
}

// file merges three files, symbolic links or submodules; a zero entry is none.
func (m *merger) file(path string, o, a, b Entry) (mergedFile, error) {
	switch {
	case a == b, o == b:
		return mergedFile{entry: a}, nil
	case o == a:
		return mergedFile{entry: b}, nil
	case a.IsZero():
		return m.survivor(b), nil
	case b.IsZero():
		return m.survivor(a), nil
	case a.Mode == ModeGitlink && b.Mode == ModeGitlink:
		// Submodules hold their own history; one of the two commits has to be chosen.
		if bytes.Compare(a.Hash[:], b.Hash[:]) < 0 {
			a = b
		}
		return mergedFile{entry: a, conflict: true}, nil
	}
	if a.Mode.IsRegular() && b.Mode.IsRegular() {
		e, ok, err := m.content(path, o, a, b)
		if ok || err != nil {
			return mergedFile{entry: e}, err
		}
	}
	return m.bothKept(a, b), nil
}

// survivor is the outcome when one side changed a file and the other removed it: a plain file stays where it is, an
// annexed one becomes a variant, as with git-annex.
func (m *merger) survivor(e Entry) mergedFile {
	if v := m.variant(e); v.annexed {
		return mergedFile{conflict: true, variants: []variant{v}}
	}
	return mergedFile{entry: e, conflict: true}
}

// bothKept is the outcome when nothing makes one file of two: see git-annex.md §1.11 for annexed files.
func (m *merger) bothKept(a, b Entry) mergedFile {
	va, vb := m.variant(a), m.variant(b)
	switch {
	case va.annexed && vb.annexed && va.id == vb.id:
		return mergedFile{entry: sameKey(a, b)}
	case va.annexed && !vb.annexed:
		return mergedFile{entry: b, conflict: true, variants: []variant{va}}
	case vb.annexed && !va.annexed:
		return mergedFile{entry: a, conflict: true, variants: []variant{vb}}
	}
	return mergedFile{conflict: true, variants: []variant{va, vb}}
}

// sameKey chooses between two forms of one annexed file: an unlocked one before a locked one, executable before not.
func sameKey(a, b Entry) Entry {
	if a.Mode.IsRegular() != b.Mode.IsRegular() {
		if b.Mode.IsRegular() {
			a = b
		}
		return a
	}
	e := Entry{Mode: max(a.Mode, b.Mode), Hash: a.Hash}
	if bytes.Compare(b.Hash[:], a.Hash[:]) < 0 {
		e.Hash = b.Hash
	}
	return e
}

// content merges two regular files that differ: mode and content each by themselves. ok is false for a conflict.
func (m *merger) content(path string, o, a, b Entry) (e Entry, ok bool, err error) {
	if !o.Mode.IsRegular() {
		o = Entry{}
	}
	e.Mode = max(a.Mode, b.Mode)
	if a.Mode != b.Mode && !o.IsZero() {
		e.Mode = a.Mode
		if o.Mode == a.Mode {
			e.Mode = b.Mode
		}
	}
	switch {
	case a.Hash == b.Hash, !o.IsZero() && o.Hash == b.Hash:
		e.Hash = a.Hash
		return e, true, nil
	case !o.IsZero() && o.Hash == a.Hash:
		e.Hash = b.Hash
		return e, true, nil
	}
	for _, side := range []Entry{a, b} {
		if m.annexed != nil {
			if _, is := m.annexed(side); is {
				return Entry{}, false, nil
			}
		}
	}
	union := unites(path)
	if o.IsZero() && !union {
		return Entry{}, false, nil
	}
	var texts [3]string
	for i, side := range []Entry{o, a, b} {
		text, ok, err := m.text(side)
		if !ok || err != nil {
			return Entry{}, false, err
		}
		texts[i] = text
	}
	merged, ok := mergeLines(texts[0], texts[1], texts[2], union)
	if !ok {
		return Entry{}, false, nil
	}
	e.Hash, err = m.store.write(plumbing.BlobObject, []byte(merged))
	return e, err == nil, err
}

// unites reports whether conflicting lines of a file are all kept. Without its .gitignore a clone would commit what must
// stay private, so that file never gives way to variants.
func unites(path string) bool {
	_, name, ok := splitDir(path)
	if !ok {
		name = path
	}
	return name == ".gitignore" || name == ".gitattributes"
}

// text returns the content of a file that can be merged by lines.
func (m *merger) text(e Entry) (text string, ok bool, err error) {
	if e.IsZero() {
		return "", true, nil
	}
	data, err := m.store.readKind(e.Hash, plumbing.BlobObject, maxMergedText)
	if errors.Is(err, ErrTooBig) {
		return "", false, nil
	}
	if err != nil || bytes.IndexByte(data, 0) >= 0 {
		return "", false, err
	}
	return string(data), true, nil
}
