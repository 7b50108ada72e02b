package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// snapshotInMemory is up to which size a file is read into memory to become a blob.
const snapshotInMemory = 8 << 20

// ErrChanged says that a file changed while it was read, or may have: somebody has it open for writing, so what was read may be a half of it.
var ErrChanged = errors.New("file changed while it was read")

// LargeHook may take regular files and symbolic links of the work tree over. It says of each, in their order, what it did.
type LargeHook func(ctx context.Context, files []Candidate) []Taken

// Candidate is a file or link whose content is to be recorded.
type Candidate struct {
	Path string
	Stat Stat
	Base Entry // what the base has there
}

// Taken is what a hook did with a file.
type Taken struct {
	Entry Entry // what stands for it, a pointer or link; zero when its content goes into git
	Stat  Stat  // what it has afterwards
	Err   error // one that wraps ErrChanged, or says that the file is gone or not to be read, skips the path; another ends the snapshot
}

// SnapshotResult is the outcome of Snapshot.
type SnapshotResult struct {
	Changes []Change     // differences to base, sorted by path, for NewCommit
	Index   []IndexEntry // all paths looked at, also unchanged ones, with their stat, for Advance and Known
	Held    IndexState   // what the index held before anything was looked at
	Staged  []string     // of Changes, those that the index holds already just so: git is at work, or a person has added them
	Stale   []string     // of Index, those that git takes for changed without a look: something else is staged, or a filter has made another size of a pointer
	Skipped []string     // changed while being read, open for writing, or unreadable: try again
	Err     error        // why paths were skipped, when it was not a change meanwhile
}

// Snapshot records the work-tree content of paths as objects and tells what differs from the commit base. A path that is
// a directory stands for all below it, "" for the whole tree. Ignored paths that base does not have, other
// repositories and special files are left out. A path named itself is always read; below a directory, files that the
// index knows by their stat are not.
func (r *Repo) Snapshot(ctx context.Context, base Hash, paths []string, large LargeHook) (SnapshotResult, error) {
	var res SnapshotResult
	if err := r.Vanished(); err != nil {
		return res, err
	}
	tree, err := r.openWorkTree()
	if err != nil {
		return res, err
	}
	defer tree.close()
	s := &snapshot{
		r: r, tree: tree, large: large, res: &res,
		seen:     make(map[string]bool),
		fileMode: r.ConfigBool("core.filemode", true), symlinks: r.ConfigBool("core.symlinks", true),
	}
	if s.root, err = r.rootTree(base); err != nil {
		return res, err
	}
	if s.index, err = r.readIndex(); err != nil {
		return res, err
	}
	res.Held = IndexState{s.index}
	for _, p := range paths {
		if err := s.visit(ctx, p); err != nil {
			return res, fmt.Errorf("snapshot %q: %w", p, err)
		}
	}
	if err := s.record(ctx); err != nil {
		return res, fmt.Errorf("snapshot: %w", err)
	}
	// A disk unmounted while we looked makes everything seem removed.
	if err := r.Vanished(); err != nil {
		return SnapshotResult{}, err
	}
	slices.SortFunc(res.Changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	for _, ch := range res.Changes {
		if s.index.holds(ch) {
			res.Staged = append(res.Staged, ch.Path)
		}
	}
	for _, e := range res.Index {
		if s.index.stale(e) {
			res.Stale = append(res.Stale, e.Path)
		}
	}
	return res, nil
}

// snapshot is one run of Snapshot.
type snapshot struct {
	r        *Repo
	tree     *workTree
	root     Hash // tree of the base
	index    *index
	large    LargeHook
	fileMode bool
	symlinks bool

	seen      map[string]bool
	files     []Candidate // what has to be read
	untracked []string    // those of files that may be ignored
	res       *SnapshotResult
}

func (s *snapshot) skip(path string, err error) {
	s.res.Skipped = append(s.res.Skipped, path)
	if err != nil {
		s.res.Err = errors.Join(s.res.Err, err)
	}
}

// visit finds out what has become of a path that the caller or an obstacle named.
func (s *snapshot) visit(ctx context.Context, name string) error {
	if name != "" && ValidPath(name) != nil {
		return nil
	}
	if _, nested := s.tree.nested(path.Dir(name)); nested {
		return nil
	}
	for i, c := range name {
		if c != '/' {
			continue
		}
		// Where base has a file on the way, that is gone, and the directory in its place is new as a whole.
		above, err := s.r.objects.lookup(s.root, name[:i])
		if err == nil && !above.isDir() {
			return s.look(ctx, name[:i], above, true)
		}
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
	}
	base, err := s.r.objects.lookup(s.root, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return s.look(ctx, name, base, true)
}

// look compares one path of the work tree with what base has there; named is false below a directory.
func (s *snapshot) look(ctx context.Context, name string, base Entry, named bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.seen[name] || base.Mode == ModeGitlink {
		return nil
	}
	s.seen[name] = true
	st, err := s.tree.lstat(name)
	if o, ok := errors.AsType[*obstacle](err); ok {
		// What took the place of a directory tells about all that was in it.
		delete(s.seen, name)
		return s.visit(ctx, o.path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err := s.removed(name, base)
		s.forsaken(name, base)
		return err
	case err != nil:
		s.skip(name, err)
		return nil
	case st.IsDir():
		return s.lookDir(ctx, name, base)
	case st.IsRegular() || st.IsSymlink():
		return s.lookFile(name, st, base, named)
	}
	return nil
}

// removed records that what base has at path is gone.
func (s *snapshot) removed(path string, base Entry) error {
	if base.IsZero() {
		return nil
	}
	remove := func(p string, e Entry) error {
		if it, ok := s.index.find(p); e.Mode == ModeGitlink || ok && it.keepsOut() {
			return nil
		}
		if s.seen[p] && p != path {
			return nil
		}
		s.seen[p] = true
		s.res.Changes = append(s.res.Changes, Change{Path: p, Old: e})
		s.res.Index = append(s.res.Index, IndexEntry{Path: p})
		return nil
	}
	if !base.isDir() {
		return remove(path, base)
	}
	return s.r.objects.files(base.Hash, path+"/", remove)
}

// forsaken records what the index alone has of a path that is gone, and below it: a person has added it, and removed it again.
func (s *snapshot) forsaken(path string, base Entry) {
	staged := s.index.below(path)
	if it, ok := s.index.find(path); ok && (base.IsZero() || base.isDir()) {
		staged = append([]indexItem{it}, staged...)
	}
	for _, it := range staged {
		if it.flags&flagStage != 0 || it.keepsOut() || s.seen[it.path] && it.path != path {
			continue
		}
		s.seen[it.path] = true
		s.res.Index = append(s.res.Index, IndexEntry{Path: it.path})
	}
}

func (s *snapshot) lookDir(ctx context.Context, dir string, base Entry) error {
	prefix := ""
	if dir != "" {
		prefix = dir + "/"
		if _, nested := s.tree.nested(dir); nested {
			return nil
		}
		if !base.isDir() {
			if ignored, err := s.r.excluded(ctx, prefix); len(ignored) > 0 || err != nil {
				return err
			}
			if err := s.removed(dir, base); err != nil {
				return err
			}
			base = Entry{}
		}
	}
	names, err := s.tree.list(dir)
	if err != nil {
		s.skip(dir, err)
		return nil
	}
	known, err := s.r.objects.tree(base.Hash)
	if err != nil {
		return err
	}
	entries := make(map[string]Entry, len(known))
	for _, e := range known {
		entries[e.Name] = e.Entry
		names = append(names, e.Name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if validName(name) != nil {
			continue
		}
		if err := s.look(ctx, prefix+name, entries[name], false); err != nil {
			return err
		}
	}
	return nil
}

func (s *snapshot) lookFile(path string, st Stat, base Entry, named bool) error {
	if base.isDir() {
		if err := s.removed(path, base); err != nil {
			return err
		}
		base = Entry{}
	}
	it, staged := s.index.find(path)
	if staged && it.keepsOut() {
		return nil
	}
	if base.IsZero() && !staged {
		s.untracked = append(s.untracked, path)
	}
	if !named && staged && s.index.entry(it) == base && s.index.same(it, st) {
		s.res.Index = append(s.res.Index, IndexEntry{Path: path, Entry: base, Stat: st})
		return nil
	}
	s.files = append(s.files, Candidate{path, st, base})
	return nil
}

// record reads the candidates and makes objects of them.
func (s *snapshot) record(ctx context.Context) error {
	ignored, err := s.r.excluded(ctx, s.untracked...)
	if err != nil {
		return err
	}
	s.files = slices.DeleteFunc(s.files, func(c Candidate) bool { return ignored[c.Path] })
	var regular []string
	for _, c := range s.files {
		if c.Stat.IsRegular() {
			regular = append(regular, c.Path)
		}
	}
	conv, err := s.r.conversions(ctx, regular)
	if err != nil {
		return err
	}
	taken := make([]Taken, len(s.files))
	if s.large != nil && len(s.files) > 0 {
		taken = s.large(ctx, s.files)
	}
	var left []Candidate
	for i, c := range s.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		done, err := s.recordOne(c, taken[i], conv[c.Path])
		switch {
		case errors.Is(err, ErrChanged), errors.Is(err, fs.ErrNotExist):
			s.skip(c.Path, nil)
		case errors.Is(err, fs.ErrPermission):
			s.skip(c.Path, err)
		case err != nil:
			return fmt.Errorf("%q: %w", c.Path, err)
		case !done:
			left = append(left, c)
		}
	}
	return s.recordByGit(ctx, left)
}

// recordOne makes the entry of one candidate; done is false when only git can.
func (s *snapshot) recordOne(c Candidate, taken Taken, conv conversion) (done bool, err error) {
	if taken.Err != nil {
		return false, taken.Err
	}
	if !taken.Entry.IsZero() {
		s.add(c, taken.Entry, taken.Stat)
		return true, nil
	}
	if c.Stat.IsSymlink() {
		target, err := s.tree.readlink(c.Path)
		if err != nil {
			return false, err
		}
		return true, s.finish(c, ModeSymlink, nil, func() (Hash, error) { return s.r.WriteBlob([]byte(target)) })
	}
	if conv == byGit {
		return false, nil
	}
	mode := s.mode(c)
	f, err := s.tree.open(c.Path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if c.Stat.Size > snapshotInMemory {
		if conv != asIs {
			return false, nil
		}
		return true, s.finish(c, mode, f, func() (Hash, error) { return s.r.BlobFromFile(f, c.Stat.Size) })
	}
	data, err := readFile(f, c.Stat.Size)
	if err != nil {
		return false, err
	}
	if conv == lineEnds && bytes.IndexByte(data, '\r') >= 0 {
		return false, nil
	}
	return true, s.finish(c, mode, f, func() (Hash, error) { return s.r.WriteBlob(data) })
}

// readFile reads exactly size bytes, else ErrChanged.
func readFile(f *os.File, size int64) ([]byte, error) {
	data := make([]byte, size+1)
	n, err := io.ReadFull(f, data)
	if int64(n) != size {
		if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = ErrChanged
		}
		return nil, err
	}
	return data[:n], nil
}

// mode is what the tree shall say about a regular file. Where the file system has no executable bits or links, the base
// knows better.
func (s *snapshot) mode(c Candidate) Mode {
	switch {
	case !s.symlinks && c.Base.Mode == ModeSymlink:
		return ModeSymlink
	case !s.fileMode && c.Base.Mode.IsRegular():
		return c.Base.Mode
	case s.fileMode && c.Stat.IsExecutable():
		return ModeExecutable
	}
	return ModeFile
}

// finish looks once more at a file that has been read, from f unless it is a link, and records it when nothing changed meanwhile.
func (s *snapshot) finish(c Candidate, mode Mode, f *os.File, write func() (Hash, error)) error {
	h, err := write()
	if err != nil {
		return err
	}
	if !s.intact(c, f) {
		return ErrChanged
	}
	s.add(c, Entry{mode, h}, c.Stat)
	return nil
}

// intact reports whether a file that has been read is what it was before, and nobody is about to write the rest of it.
func (s *snapshot) intact(c Candidate, f *os.File) bool {
	after, err := s.tree.lstat(c.Path)
	return err == nil && after == c.Stat && (f == nil || !BeingWritten(f))
}

func (s *snapshot) add(c Candidate, e Entry, st Stat) {
	s.res.Index = append(s.res.Index, IndexEntry{Path: c.Path, Entry: e, Stat: st})
	if e != c.Base {
		s.res.Changes = append(s.res.Changes, Change{Path: c.Path, Old: c.Base, New: e})
	}
}

// recordByGit has git read the files whose content it converts, as `git add` would, but into an index of our own.
func (s *snapshot) recordByGit(ctx context.Context, files []Candidate) error {
	if len(files) == 0 {
		return nil
	}
	paths := make([]string, len(files))
	for i, c := range files {
		paths[i] = c.Path
	}
	idx, err := s.r.addByGit(ctx, paths)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// A filter that fails is a person's to mend; the other paths go on.
		for _, p := range paths {
			s.skip(p, nil)
		}
		s.res.Err = errors.Join(s.res.Err, err)
		return nil
	}
	for _, c := range files {
		it, ok := idx.find(c.Path)
		f, err := s.tree.open(c.Path)
		if err != nil {
			s.skip(c.Path, nil)
			continue
		}
		if ok && s.intact(c, f) {
			s.add(c, idx.entry(it), c.Stat)
		} else {
			s.skip(c.Path, nil)
		}
		_ = f.Close()
	}
	return nil
}

// withoutAnnexFilter are the options that keep git-annex's filter from running where the caller has decided already.
var withoutAnnexFilter = []string{
	"-c", "filter.annex.clean=", "-c", "filter.annex.smudge=", "-c", "filter.annex.process=", "-c", "filter.annex.required=false",
}

// addByGit runs git update-index on a copy of the index, which writes the objects, and returns the copy.
func (r *Repo) addByGit(ctx context.Context, paths []string) (*index, error) {
	private, err := r.stagePath(stagedNew)
	if err != nil {
		return nil, err
	}
	if err := r.copyIndex(private); err != nil {
		return nil, fmt.Errorf("copy index: %w", err)
	}
	defer os.Remove(private)
	args := append(slices.Clone(withoutAnnexFilter), "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false",
		"-c", "core.safecrlf=false", "update-index", "--add", "--remove", "--replace", "-z", "--stdin")
	cmd := r.command(ctx, args...)
	cmd.Env = append(cmd.Env, "GIT_INDEX_FILE="+private)
	if _, err := run(ctx, cmd, []byte(strings.Join(paths, "\x00")+"\x00"), args); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(private)
	if err != nil {
		return nil, err
	}
	return parseIndex(data)
}
