package gitrepo

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// errIndexForGit says that an index has something that only git can carry over an edit.
var errIndexForGit = errors.New("index needs git to be edited")

// editIndex returns index data (nil: no index yet), which was written at mtime, with entries changed. All other entries
// stay as they are, in whatever stage, except that racy ones may lose their size (see keep). What stands where a new path needs a directory, or below a new path, goes, as with git
// update-index --replace. errIndexForGit when the index has an untracked cache, a file system monitor's state or another
// extension that would get lost or become wrong.
func editIndex(data []byte, mtime int64, entries []IndexEntry, look func(path string) (Stat, error)) ([]byte, error) {
	x := &index{version: 2}
	trailer := []byte{1}
	if data != nil {
		var err error
		if x, err = parseIndex(data); err != nil {
			return nil, err
		}
		trailer = data[len(data)-sha1.Size:]
	}
	extensions, err := editExtensions(x.extensions, entries)
	if err != nil {
		return nil, err
	}
	edits := newIndexEdits(entries)
	x.mtime = mtime
	w := &indexWriter{version: x.version, look: look}
	w.buf.Grow(len(data) + 256*len(entries))
	w.buf.WriteString("DIRC")
	w.buf.Write(binary.BigEndian.AppendUint32(nil, x.version))
	w.buf.Write(make([]byte, 4))
	added := edits.added
	for _, it := range x.items {
		for len(added) > 0 && added[0].Path <= it.path {
			w.add(added[0])
			added = added[1:]
		}
		if !edits.displaces(it.path) {
			w.keep(x, it)
		}
	}
	for _, e := range added {
		w.add(e)
	}
	out := w.buf.Bytes()
	binary.BigEndian.PutUint32(out[8:], w.count)
	out = append(out, extensions...)
	if bytes.Equal(trailer, make([]byte, sha1.Size)) {
		return append(out, trailer...), nil // index.skipHash
	}
	sum := sha1.Sum(out)
	return append(out, sum[:]...), nil
}

// indexEdits answers which entries have to go.
type indexEdits struct {
	added  []IndexEntry    // sorted by path
	paths  map[string]bool // changed in any way
	adds   map[string]bool
	parent map[string]bool // directories that added paths need
}

func newIndexEdits(entries []IndexEntry) *indexEdits {
	ed := &indexEdits{paths: make(map[string]bool), adds: make(map[string]bool), parent: make(map[string]bool)}
	last := make(map[string]IndexEntry)
	for _, e := range entries {
		ed.paths[e.Path] = true
		last[e.Path] = e
	}
	for path, e := range last {
		if e.Entry.IsZero() {
			continue
		}
		ed.added = append(ed.added, e)
		ed.adds[path] = true
		for dir, _, ok := splitDir(path); ok; dir, _, ok = splitDir(dir) {
			ed.parent[dir] = true
		}
	}
	slices.SortFunc(ed.added, func(a, b IndexEntry) int { return cmp.Compare(a.Path, b.Path) })
	return ed
}

func (ed *indexEdits) displaces(path string) bool {
	if ed.paths[path] || ed.parent[path] {
		return true
	}
	if len(ed.adds) == 0 {
		return false
	}
	for i := 0; i < len(path); i++ {
		if path[i] == '/' && ed.adds[path[:i]] {
			return true
		}
	}
	return false
}

// indexWriter writes entries in the format of one version.
type indexWriter struct {
	version uint32
	buf     bytes.Buffer
	count   uint32
	prev    string
	look    func(path string) (Stat, error)
}

// keep copies an entry. Git reads a file again when its entry is not older than the index, for it may have changed in the
// instant after it was recorded; it compares whole seconds, as it is built by default. In the younger index that we
// write such an entry would look settled, so it is settled here: by its stat in nanoseconds, or else by taking its
// size away, which has git read the file at the next opportunity (ce_smudge_racily_clean_entry in git's
// read-cache.c).
func (w *indexWriter) keep(x *index, it indexItem) {
	w.count++
	start := w.buf.Len()
	if w.version < 4 {
		w.buf.Write(x.data[it.off:it.end])
	} else {
		fixed := entryFixedSize
		if it.flags&flagExtended != 0 {
			fixed += 2
		}
		w.buf.Write(x.data[it.off : it.off+fixed])
		w.compressed(it.path)
	}
	if x.modified(it)/1e9 < x.mtime/1e9 || x.entry(it).Mode == ModeGitlink {
		return
	}
	if st, err := w.look(it.path); err != nil || !x.same(it, st) {
		size := w.buf.Bytes()[start+entryStatSize-4:]
		copy(size[:4], "\x00\x00\x00\x00")
	}
}

// add writes a new entry.
func (w *indexWriter) add(e IndexEntry) {
	w.count++
	start := w.buf.Len()
	fields := statFields(e.Stat)
	if e.Stat == (Stat{}) {
		fields = [10]uint32{}
	}
	fields[6] = uint32(e.Entry.Mode)
	for _, f := range fields {
		w.buf.Write(binary.BigEndian.AppendUint32(nil, f))
	}
	w.buf.Write(e.Entry.Hash[:])
	w.buf.Write(binary.BigEndian.AppendUint16(nil, uint16(min(len(e.Path), 0xfff))))
	if w.version == 4 {
		w.compressed(e.Path)
		return
	}
	w.buf.WriteString(e.Path)
	size := w.buf.Len() - start
	w.buf.Write(make([]byte, 8-size%8))
}

// compressed writes a path as version 4 has it: how many bytes of the one before are cut off, and what comes then.
func (w *indexWriter) compressed(path string) {
	common := 0
	for common < len(path) && common < len(w.prev) && path[common] == w.prev[common] {
		common++
	}
	w.buf.Write(appendOffsetVarint(nil, uint64(len(w.prev)-common)))
	w.buf.WriteString(path[common:])
	w.buf.WriteByte(0)
	w.prev = path
}

// appendOffsetVarint is the inverse of offsetVarint.
func appendOffsetVarint(out []byte, v uint64) []byte {
	digits := []byte{byte(v & 0x7f)}
	for v >>= 7; v > 0; v >>= 7 {
		v--
		digits = append(digits, byte(v&0x7f)|0x80)
	}
	slices.Reverse(digits)
	return append(out, digits...)
}

// editExtensions carries the extensions over an edit: in the cached tree the directories of changed paths become
// invalid, what undoes resolutions stays, tables of offsets are left out.
func editExtensions(extensions []extension, entries []IndexEntry) ([]byte, error) {
	var out []byte
	for _, ext := range extensions {
		data := ext.data
		switch ext.sig {
		case "TREE":
			root, rest, err := parseCacheTree(data, 0)
			if err != nil || len(rest) > 0 {
				continue // a cache: git makes it anew
			}
			for _, e := range entries {
				root.invalidate(e.Path)
			}
			data = root.encode(nil)
		case "REUC":
		case "EOIE", "IEOT":
			continue
		default:
			return nil, errIndexForGit
		}
		out = append(out, ext.sig...)
		out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
		out = append(out, data...)
	}
	return out, nil
}

// cacheTree is a node of the cached tree extension: the tree object of a directory whose entries all are in the index
// as they are in that tree. count is how many entries it spans, -1 when it is not valid.
type cacheTree struct {
	name  string
	count int
	hash  Hash
	subs  []*cacheTree
}

var errCacheTree = fmt.Errorf("read index: %w: cached tree", ErrMalformed)

const maxCacheTreeDepth = 2000

// parseCacheTree reads one node, "name NUL count SP subtrees LF", the hash when the count is not negative, and its
// subtrees.
func parseCacheTree(data []byte, depth int) (*cacheTree, []byte, error) {
	name, rest, ok := bytes.Cut(data, []byte{0})
	numbers, rest, ok2 := bytes.Cut(rest, []byte{'\n'})
	count, subs, ok3 := strings.Cut(string(numbers), " ")
	if !ok || !ok2 || !ok3 || depth > maxCacheTreeDepth {
		return nil, nil, errCacheTree
	}
	t := &cacheTree{name: string(name)}
	var err error
	if t.count, err = strconv.Atoi(count); err != nil {
		return nil, nil, errCacheTree
	}
	n, err := strconv.Atoi(subs)
	if err != nil || n < 0 || n > len(rest) {
		return nil, nil, errCacheTree
	}
	if t.count >= 0 {
		if len(rest) < len(t.hash) {
			return nil, nil, errCacheTree
		}
		rest = rest[copy(t.hash[:], rest):]
	}
	for range n {
		var sub *cacheTree
		if sub, rest, err = parseCacheTree(rest, depth+1); err != nil {
			return nil, nil, err
		}
		t.subs = append(t.subs, sub)
	}
	return t, rest, nil
}

// invalidate marks the directories of path; a directory at path itself is forgotten.
func (t *cacheTree) invalidate(path string) {
	t.count = -1
	name, rest, deeper := strings.Cut(path, "/")
	for i, sub := range t.subs {
		if sub.name != name {
			continue
		}
		if deeper {
			sub.invalidate(rest)
		} else {
			t.subs = slices.Delete(t.subs, i, i+1)
		}
		return
	}
}

func (t *cacheTree) encode(out []byte) []byte {
	out = append(out, t.name...)
	out = append(out, 0)
	out = fmt.Appendf(out, "%d %d\n", t.count, len(t.subs))
	if t.count >= 0 {
		out = append(out, t.hash[:]...)
	}
	for _, sub := range t.subs {
		out = sub.encode(out)
	}
	return out
}

// patchStats writes the stat fields of entries into index data, in place, where path, mode and object are the ones
// staged, and renews the checksum. Entries with a zero Stat are passed over.
func patchStats(data []byte, entries []IndexEntry) error {
	x, err := parseIndex(data)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Entry.IsZero() || e.Stat == (Stat{}) {
			continue
		}
		it, ok := x.find(e.Path)
		if !ok || x.entry(it) != e.Entry {
			continue
		}
		for i, v := range statFields(e.Stat) {
			if i != 6 {
				binary.BigEndian.PutUint32(data[it.off+4*i:], v)
			}
		}
	}
	trailer := data[len(data)-sha1.Size:]
	if bytes.Equal(trailer, make([]byte, sha1.Size)) {
		return nil // index.skipHash
	}
	sum := sha1.Sum(data[:len(data)-sha1.Size])
	copy(trailer, sum[:])
	return nil
}
