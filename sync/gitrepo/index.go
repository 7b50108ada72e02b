package gitrepo

import (
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
)

// The index as gitformat-index(5) has it, versions 2 to 4. It is read for what it knows about work-tree files.

const (
	indexHeader    = 12
	entryStatSize  = 40 // ten 32-bit fields
	entryFixedSize = entryStatSize + 20 + 2

	flagAssumeValid  = 0x8000
	flagExtended     = 0x4000
	flagStage        = 0x3000
	flagSkipWorktree = 0x4000 // of the extended flags
	flagIntentToAdd  = 0x2000 // of the extended flags
)

// index is a decoded index file.
type index struct {
	data       []byte
	version    uint32
	items      []indexItem // sorted by path, then stage
	extensions []extension
	mtime      int64 // of the file; entries not older than it prove nothing
}

// indexItem is one entry; off and end are where it lies in the data.
type indexItem struct {
	path          string
	off, end      int
	flags, xflags uint16
}

// extension is what follows the entries.
type extension struct {
	sig  string
	data []byte
}

var errEntryCut = fmt.Errorf("read index: %w: entry cut off", ErrMalformed)

// parseIndex decodes index data.
func parseIndex(data []byte) (*index, error) {
	if len(data) < indexHeader+sha1.Size || string(data[:4]) != "DIRC" {
		return nil, fmt.Errorf("read index: %w: no header", ErrMalformed)
	}
	version := binary.BigEndian.Uint32(data[4:])
	count := binary.BigEndian.Uint32(data[8:])
	if version < 2 || version > 4 {
		return nil, fmt.Errorf("read index: %w: version %d", ErrMalformed, version)
	}
	body := data[:len(data)-sha1.Size]
	if uint64(count)*(entryFixedSize+2) > uint64(len(body)) {
		return nil, fmt.Errorf("read index: %w: %d entries in %d bytes", ErrMalformed, count, len(data))
	}
	x := &index{data: data, version: version, items: make([]indexItem, 0, count)}
	text := string(body) // paths are parts of it
	off := indexHeader
	prev := ""
	for range count {
		it, next, err := parseIndexItem(text, off, version, prev)
		if err != nil {
			return nil, err
		}
		if it.path < prev {
			return nil, fmt.Errorf("read index: %w: entries out of order", ErrMalformed)
		}
		x.items = append(x.items, it)
		off, prev = next, it.path
	}
	for ext := off; ext+8 <= len(body); {
		sig := text[ext : ext+4]
		if sig[0] < 'A' || sig[0] > 'Z' {
			return nil, unsupportedExtension(sig)
		}
		size := int(binary.BigEndian.Uint32(data[ext+4:]))
		if size < 0 || size > len(body)-ext-8 {
			return nil, fmt.Errorf("read index: %w: extension %q", ErrMalformed, sig)
		}
		x.extensions = append(x.extensions, extension{sig, data[ext+8 : ext+8+size]})
		ext += 8 + size
	}
	return x, nil
}

func parseIndexItem(text string, off int, version uint32, prev string) (it indexItem, next int, err error) {
	if len(text)-off < entryFixedSize {
		return it, 0, errEntryCut
	}
	it.off = off
	p := off + entryStatSize + 20
	it.flags = uint16(text[p])<<8 | uint16(text[p+1])
	p += 2
	if it.flags&flagExtended != 0 {
		if version < 3 || len(text)-p < 2 {
			return it, 0, errEntryCut
		}
		it.xflags = uint16(text[p])<<8 | uint16(text[p+1])
		p += 2
	}
	keep := ""
	if version == 4 {
		strip, n := offsetVarint(text[p:])
		if n == 0 || strip > uint64(len(prev)) {
			return it, 0, errEntryCut
		}
		keep, p = prev[:len(prev)-int(strip)], p+n
	}
	nul := strings.IndexByte(text[p:], 0)
	if nul < 0 {
		return it, 0, errEntryCut
	}
	it.path = text[p : p+nul]
	if keep != "" {
		it.path = keep + it.path
	}
	p += nul + 1
	if version < 4 {
		// One to eight NULs make the entry a multiple of eight long.
		p = off + (p-off+7)/8*8
	}
	if p > len(text) {
		return it, 0, errEntryCut
	}
	it.end = p
	return it, p, nil
}

// offsetVarint decodes the variable-length integer of OFS_DELTA and index version 4; n is zero when it is cut off or
// too long.
func offsetVarint(s string) (v uint64, n int) {
	for n < len(s) && n < 9 {
		c := s[n]
		if n > 0 {
			v++
		}
		v = v<<7 | uint64(c&0x7f)
		n++
		if c&0x80 == 0 {
			return v, n
		}
	}
	return 0, 0
}

func unsupportedExtension(sig string) error {
	switch sig {
	case "link":
		return &Unsupported{What: "the index is split", Hint: "run: git config core.splitIndex false; git update-index --no-split-index"}
	case "sdir":
		return &Unsupported{What: "the index is sparse", Hint: "run: git sparse-checkout disable"}
	}
	return &Unsupported{What: fmt.Sprintf("index extension %q", sig), Hint: "use a newer Arbor"}
}

// supportedIndex checks the index file at Open.
func supportedIndex(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	_, err = parseIndex(data)
	return err
}

// indexCache keeps the decoded index until the file changes.
type indexCache struct {
	mu      sync.Mutex
	version indexVersion
	idx     *index
}

// readIndex returns the decoded index; an empty one when there is no file.
func (r *Repo) readIndex() (*index, error) {
	c := &r.index
	c.mu.Lock()
	defer c.mu.Unlock()
	path := filepath.Join(r.gitDir, "index")
	version, err := versionOf(path)
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	if c.idx != nil && version == c.version && version.checksum != [sha1.Size]byte{} { // index.skipHash leaves it zero
		return c.idx, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &index{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	idx, err := parseIndex(data)
	if err != nil {
		return nil, err
	}
	idx.mtime = version.mtime
	c.idx, c.version = idx, version
	return idx, nil
}

// find returns the stage-0 entry of a path.
func (x *index) find(path string) (indexItem, bool) {
	i := sort.Search(len(x.items), func(i int) bool { return x.items[i].path >= path })
	for ; i < len(x.items) && x.items[i].path == path; i++ {
		if x.items[i].flags&flagStage == 0 {
			return x.items[i], true
		}
	}
	return indexItem{}, false
}

// below returns the entries of what is in a directory.
func (x *index) below(dir string) []indexItem {
	from := sort.Search(len(x.items), func(i int) bool { return x.items[i].path >= dir+"/" })
	to := from
	for to < len(x.items) && strings.HasPrefix(x.items[to].path, dir+"/") {
		to++
	}
	return x.items[from:to]
}

// entry returns what an item says is staged.
func (x *index) entry(it indexItem) Entry {
	e := Entry{Mode: canonicalMode(binary.BigEndian.Uint32(x.data[it.off+24:]))}
	copy(e.Hash[:], x.data[it.off+entryStatSize:])
	return e
}

// holds reports whether a change is staged.
func (x *index) holds(ch Change) bool {
	it, ok := x.find(ch.Path)
	if !ok || it.xflags&flagIntentToAdd != 0 {
		return ch.New.IsZero() && !ok
	}
	return x.entry(it) == ch.New
}

// Staged returns what the index has at path; the zero Entry when it has nothing there. Any goroutine may call it.
func (r *Repo) Staged(path string) (Entry, error) {
	x, err := r.readIndex()
	if err != nil {
		return Entry{}, err
	}
	it, ok := x.find(path)
	if !ok {
		return Entry{}, nil
	}
	return x.entry(it), nil
}

// IndexState is what an index holds, whatever it knows of the stat of files.
type IndexState struct{ idx *index }

// IndexState gives what the index holds. Any goroutine may call it.
func (r *Repo) IndexState() (IndexState, error) {
	x, err := r.readIndex()
	return IndexState{x}, err
}

// is reports whether the index of now holds the same.
func (s IndexState) is(now *index) bool {
	return s.idx == now || slices.EqualFunc(s.idx.items, now.items, func(a, b indexItem) bool {
		return a.path == b.path && (a.flags^b.flags)&flagStage == 0 && (a.xflags^b.xflags)&flagIntentToAdd == 0 &&
			s.idx.entry(a) == now.entry(b)
	})
}

// IndexIs reports whether git has noted that the index has exactly the files of a commit. When it has not noted it, or
// when we have written the index since, false proves nothing.
func (r *Repo) IndexIs(commit Hash) (bool, error) {
	tree, err := r.rootTree(commit)
	if err != nil {
		return false, err
	}
	x, err := r.readIndex()
	if err != nil {
		return false, err
	}
	for _, ext := range x.extensions {
		if ext.sig == "TREE" {
			root, _, err := parseCacheTree(ext.data, 0)
			return err == nil && root.count >= 0 && root.hash == tree, nil
		}
	}
	return false, nil
}

// IndexHolds reports whether the index has all of paths as a commit has them.
func (r *Repo) IndexHolds(commit Hash, paths []string) (bool, error) {
	x, err := r.readIndex()
	if err != nil {
		return false, err
	}
	for _, p := range paths {
		e, err := r.Entry(commit, p)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return false, err
		}
		if !x.holds(Change{Path: p, New: e}) {
			return false, nil
		}
	}
	return true, nil
}

// IndexProves reports whether the index proves that the file at path, which has this stat, has exactly the content of an entry.
func (r *Repo) IndexProves(path string, e Entry, st Stat) (bool, error) {
	x, err := r.readIndex()
	if err != nil {
		return false, err
	}
	it, ok := x.find(path)
	return ok && x.entry(it) == e && x.same(it, st), nil
}

// modified returns the modification time an item has, in nanoseconds since 1970.
func (x *index) modified(it indexItem) int64 {
	return int64(binary.BigEndian.Uint32(x.data[it.off+8:]))*1e9 + int64(binary.BigEndian.Uint32(x.data[it.off+12:]))
}

// keepsOut reports whether a person has told git not to look at this path (assume-unchanged, skip-worktree).
func (it indexItem) keepsOut() bool {
	return it.flags&flagAssumeValid != 0 || it.xflags&flagSkipWorktree != 0
}

// stale reports whether git takes a path for changed that is as e says, without a look: something else is staged, or the size of another file is known.
// An index without the size has git look.
func (x *index) stale(e IndexEntry) bool {
	it, ok := x.find(e.Path)
	if !ok || it.keepsOut() {
		return false
	}
	size := binary.BigEndian.Uint32(x.data[it.off+36:])
	return x.entry(it) != e.Entry || size != 0 && size != uint32(e.Stat.Size)
}

// statFields encodes a stat the way the index has it: seconds and nanoseconds of ctime and mtime, dev, ino, then
// (after the mode, which is not a stat field) uid, gid, size; all cut to 32 bits.
func statFields(st Stat) (f [10]uint32) {
	f[0], f[1] = uint32(st.Ctime/1e9), uint32(st.Ctime%1e9)
	f[2], f[3] = uint32(st.Mtime/1e9), uint32(st.Mtime%1e9)
	f[4], f[5] = uint32(st.Dev), uint32(st.Ino)
	f[7], f[8], f[9] = st.UID, st.GID, uint32(st.Size)
	return f
}

// same reports whether the index entry proves that a file with this stat has the content that is staged. The device
// is not compared, as in git.
func (x *index) same(it indexItem, st Stat) bool {
	if it.flags&flagStage != 0 || it.xflags&flagIntentToAdd != 0 || it.keepsOut() {
		return false
	}
	want := statFields(st)
	for i, w := range want {
		if i != 4 && i != 6 && w != binary.BigEndian.Uint32(x.data[it.off+4*i:]) {
			return false
		}
	}
	// Written in the same clock tick as the index: the content may have changed once more since.
	return st.Mtime < x.mtime
}
