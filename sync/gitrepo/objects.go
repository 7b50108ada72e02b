package gitrepo

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/objfile"
)

const (
	// recentCacheSize bounds the memory for trees and commits, which are asked for again and again.
	recentCacheSize = 16 << 20
	// objectOverhead is the memory that an object takes there beside its bytes.
	objectOverhead = 100
	// maxCommitSize and maxTreeSize bound what is read for one commit or tree.
	maxCommitSize = 16 << 20
	maxTreeSize   = 256 << 20
	// maxAlternates bounds how many object directories alternates may name.
	maxAlternates = 16
)

// object is one object in memory. data must not be changed.
type object struct {
	kind plumbing.ObjectType
	data []byte
}

// objectStore reads objects, loose and packed, here and in alternates, and writes loose ones.
type objectStore struct {
	dirs []string // objects directories, the own one first

	packs   packStore
	pending pending

	cacheMu sync.Mutex
	cache   map[Hash]object
	cached  int

	compressors sync.Pool // of *zlib.Writer

	unsyncedMu sync.Mutex
	unsynced   []string // files of objects written since the last sync
}

func (s *objectStore) open(gitDir string) error {
	s.cache = make(map[Hash]object)
	own := filepath.Join(gitDir, "objects")
	s.dirs = []string{own}
	for i := 0; i < len(s.dirs); i++ {
		more, err := alternates(s.dirs[i])
		if err != nil {
			return err
		}
		s.dirs = append(s.dirs, more...)
		if len(s.dirs) > maxAlternates {
			return &Unsupported{What: "too many alternate object directories", Hint: "run: git repack -a -d; rm .git/objects/info/alternates"}
		}
	}
	s.packs.dirs = s.dirs
	return nil
}

// alternates lists the object directories that objects/info/alternates names, see gitrepository-layout(5).
func alternates(objects string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(objects, "info", "alternates"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read alternates: %w", err)
	}
	var dirs []string
	for line := range strings.SplitSeq(string(data), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		if !filepath.IsAbs(line) {
			line = filepath.Join(objects, line)
		}
		if line = filepath.Clean(line); filepath.Base(line) != "objects" {
			return nil, &Unsupported{What: "an alternate object directory not named objects: " + line, Hint: "run: git repack -a -d; rm .git/objects/info/alternates"}
		}
		dirs = append(dirs, line)
	}
	return dirs, nil
}

// emptyTree is the tree without entries. git reads it without having it, but git fsck wants it where a commit names it.
var emptyTree = hashObject(plumbing.TreeObject, nil)

// read returns an object of at most max bytes; ErrNotFound, ErrTooBig.
func (s *objectStore) read(h Hash, max int64) (object, error) {
	if h == emptyTree {
		return object{kind: plumbing.TreeObject}, nil
	}
	s.cacheMu.Lock()
	o, ok := s.cache[h]
	s.cacheMu.Unlock()
	if ok {
		return o, nil
	}
	if o, ok := s.pending.read(h); ok {
		if int64(len(o.data)) > max {
			return object{}, fmt.Errorf("read object %s: %w", h, ErrTooBig)
		}
		return o, nil
	}
	// First in the packs that are open: that costs no system call where there is none.
	o, err := s.packs.readOpen(h, max)
	if err != nil && !errors.Is(err, ErrTooBig) {
		o, err = s.readElsewhere(h, max)
	}
	if err != nil {
		return object{}, fmt.Errorf("read object %s: %w", h, err)
	}
	s.remember(h, o)
	return o, nil
}

// readElsewhere reads a loose object, or one of a pack that is new.
func (s *objectStore) readElsewhere(h Hash, max int64) (object, error) {
	o, err := s.readLoose(h, max)
	if errors.Is(err, fs.ErrNotExist) {
		o, err = s.packs.read(h, max)
	}
	if errors.Is(err, ErrNotFound) {
		// git gc unpacks unreachable objects before it removes their pack.
		o, err = s.readLoose(h, max)
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNotFound
		}
	}
	return o, err
}

// remember keeps trees and commits in memory. When the memory is full all is forgotten: what is in use comes back
// at once, and no order has to be kept.
func (s *objectStore) remember(h Hash, o object) {
	if o.kind == plumbing.BlobObject || len(o.data) > recentCacheSize/8 {
		return
	}
	s.cacheMu.Lock()
	defer s.cacheMu.Unlock()
	size := len(o.data) + objectOverhead
	if s.cached+size > recentCacheSize {
		s.cache, s.cached = make(map[Hash]object), 0
	}
	s.cache[h] = o
	s.cached += size
}

func (s *objectStore) readLoose(h Hash, max int64) (object, error) {
	f, err := s.openLoose(h)
	if err != nil {
		return object{}, err
	}
	defer f.Close()
	rd, err := objfile.NewReader(f)
	if err != nil {
		return object{}, err
	}
	defer rd.Close()
	kind, size, err := rd.Header()
	if err != nil {
		return object{}, err
	}
	if size > max {
		return object{}, ErrTooBig
	}
	data, err := readExactly(rd, size)
	return object{kind, data}, err
}

func (s *objectStore) openLoose(h Hash) (*os.File, error) {
	for _, dir := range s.dirs {
		f, err := os.Open(loosePath(dir, h))
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, fs.ErrNotExist
}

// readExactly reads size bytes and insists that there are no more.
func readExactly(rd io.Reader, size int64) ([]byte, error) {
	if size < 0 {
		return nil, ErrMalformed
	}
	// Memory grows with what really arrives, not with what a header claims.
	data := make([]byte, min(size, 1<<20))
	n, err := io.ReadFull(rd, data)
	for err == nil && int64(n) < size {
		data = append(data, make([]byte, min(int64(n), size-int64(n)))...)
		var more int
		more, err = io.ReadFull(rd, data[n:])
		n += more
	}
	if err == nil {
		var beyond [1]byte
		if _, err = io.ReadFull(rd, beyond[:]); errors.Is(err, io.EOF) {
			return data, nil
		}
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: size is not the declared one", ErrMalformed)
	}
	return nil, err
}

// Has reports whether the object is here. An object that cannot be read counts as not here.
func (r *Repo) Has(h Hash) bool { return r.objects.has(h) }

func (s *objectStore) has(h Hash) bool {
	s.cacheMu.Lock()
	_, ok := s.cache[h]
	s.cacheMu.Unlock()
	if !ok {
		_, ok = s.pending.read(h)
	}
	if ok {
		return true
	}
	loose := func() bool {
		for _, dir := range s.dirs {
			if st, err := os.Lstat(loosePath(dir, h)); err == nil && st.Size() > 0 { // a loss of power leaves empty ones
				return true
			}
		}
		return false
	}
	return loose() || s.packs.has(h) || loose()
}

// size returns the size of an object without reading all of it.
func (s *objectStore) size(h Hash) (int64, error) {
	if o, ok := s.pending.read(h); ok {
		return int64(len(o.data)), nil
	}
	var n int64
	f, err := s.openLoose(h)
	if err == nil {
		defer f.Close()
		rd, err := objfile.NewReader(f)
		if err != nil {
			return 0, fmt.Errorf("read object %s: %w", h, err)
		}
		defer rd.Close()
		if _, n, err = rd.Header(); err != nil {
			return 0, fmt.Errorf("read object %s: %w", h, err)
		}
		return n, nil
	}
	if n, err = s.packs.size(h); err != nil {
		return 0, fmt.Errorf("read object %s: %w", h, err)
	}
	return n, nil
}

// readKind reads an object that must be of one type.
func (s *objectStore) readKind(h Hash, kind plumbing.ObjectType, max int64) ([]byte, error) {
	o, err := s.read(h, max)
	if err != nil {
		return nil, err
	}
	if o.kind != kind {
		return nil, fmt.Errorf("read object %s: %w: a %s where a %s should be", h, ErrMalformed, o.kind, kind)
	}
	return o.data, nil
}

// Blob returns the content of a blob of at most max bytes, else ErrTooBig.
func (r *Repo) Blob(h Hash, max int64) ([]byte, error) {
	return r.objects.readKind(h, plumbing.BlobObject, max)
}

// hashObject names an object of our own making. Foreign bytes are hashed by go-git's collision-detecting SHA-1.
func hashObject(kind plumbing.ObjectType, data []byte) (h Hash) {
	sum := sha1.New()
	fmt.Fprintf(sum, "%s %d\x00", kind, len(data))
	sum.Write(data)
	sum.Sum(h[:0])
	return h
}

// HashBlob returns the name that data has as a blob.
func HashBlob(data []byte) Hash { return hashObject(plumbing.BlobObject, data) }

func loosePath(objects string, h Hash) string {
	hex := h.String()
	return filepath.Join(objects, hex[:2], hex[2:])
}
