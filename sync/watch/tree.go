package watch

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// The sysctls that bound watches and watchers; the second is also reached through the limit of open files.
const (
	watchLimit    = "fs.inotify.max_user_watches"
	instanceLimit = "fs.inotify.max_user_instances"
)

// gitEntry is what makes a directory a repository of its own: never content.
const gitEntry = ".git"

// tree knows the directories of the work tree and holds their watches. Only Run's goroutine touches it.
type tree struct {
	root      string
	ignored   func(paths ...string) []bool
	nesting   bool      // a directory with gitEntry in it is another repository
	notifier  *notifier // nil when there was none left
	dirs      map[string]*dir
	byID      map[fileID]*dir
	unwatched map[*dir]struct{} // to be swept by stat
	aliases   map[*dir]struct{} // the unwatched that are watched by another path (a bind mount)
	mounts    map[string]*dir   // with a file system of their own
	lost      map[string]lost
	limit     string // the sysctl that was hit
}

// dir is a directory that is known and listed: nothing in it that appears later goes unnoticed.
type dir struct {
	path    string
	id      fileID
	parent  *dir
	kids    map[*dir]struct{}
	nested  bool     // another repository: only the going of its gitEntry matters
	listing []listed // what the last sweep found; only of an unwatched directory
}

// lost is a directory that cannot be seen, and what must be true for it to be back.
type lost struct {
	err   error
	mount bool // a file system was mounted on it
	told  bool
}

// newTree makes a tree without directories; the error says why its directories will all be swept instead of watched.
func newTree(o Options, nesting bool, log *slog.Logger) (*tree, error) {
	t := &tree{
		root:      o.Root,
		ignored:   o.Ignored,
		nesting:   nesting,
		dirs:      map[string]*dir{},
		byID:      map[fileID]*dir{},
		unwatched: map[*dir]struct{}{},
		aliases:   map[*dir]struct{}{},
		mounts:    map[string]*dir{},
		lost:      map[string]lost{},
	}
	n, err := newNotifier(log)
	if err != nil {
		t.limit = instanceLimit
		return t, err
	}
	t.notifier = n
	return t, nil
}

// close drops all watches; nothing is watched any more.
func (t *tree) close() {
	if t.notifier != nil {
		// An error means that they were dropped already.
		_ = t.notifier.close()
		t.notifier = nil
	}
}

// channels returns where events and the news of an overflow come from; both block for ever when there is no notifier.
func (t *tree) channels() (<-chan fsnotify.Event, <-chan struct{}) {
	if t.notifier == nil {
		return nil, nil
	}
	return t.notifier.Events, t.notifier.overflow
}

func (t *tree) abs(p string) string {
	if p == "" {
		return t.root
	}
	return t.root + "/" + p
}

// rel is the inverse of abs.
func (t *tree) rel(abs string) (string, bool) {
	if abs == t.root {
		return "", true
	}
	return strings.CutPrefix(abs, t.root+"/")
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// parent returns the directory path is in, and false for the root itself.
func parent(p string) (string, bool) {
	if p == "" {
		return "", false
	}
	return p[:max(strings.LastIndexByte(p, '/'), 0)], true
}

// add watches and lists top and the directories below it, and returns the files and links found in those that were not
// known. Every directory is watched before it is listed. Breadth first: where watches run out, the deep ones miss.
// Nothing is added to a directory that is not known itself, or not for us: it brings what is in it when it is added.
func (t *tree) add(top string) []string {
	if up, ok := parent(top); ok && (t.dirs[up] == nil || t.dirs[up].nested) {
		return nil
	}
	var files []string
	for queue := []string{top}; len(queue) > 0; queue = queue[1:] {
		p := queue[0]
		d, err := t.watch(p)
		if err != nil {
			t.lose(p, err, false)
			continue
		}
		if d == nil {
			continue
		}
		entries, err := readDir(t.abs(p))
		if err != nil {
			t.forget(p)
			if !isGone(err) {
				t.lose(p, err, false)
			}
			continue
		}
		delete(t.lost, p)
		if t.isNested(p, entries) {
			d.nested = true
			continue
		}
		if _, ok := t.unwatched[d]; ok {
			d.listing = t.list(p, entries)
		}
		for _, e := range entries {
			child := join(p, e.Name())
			switch {
			case t.nesting && e.Name() == gitEntry:
			case !e.IsDir():
				files = append(files, child)
			case t.ignored == nil || !t.ignored(child + "/")[0]:
				queue = append(queue, child)
			}
		}
	}
	return files
}

// readDir lists without sorting.
func readDir(abs string) ([]fs.DirEntry, error) {
	f, err := openDir(abs)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

func (t *tree) isNested(p string, entries []fs.DirEntry) bool {
	return t.nesting && p != "" && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == gitEntry })
}

// watch makes p known and watched, or known and unwatched where the limit is reached. It returns nil when p is known
// already or is no directory; an event tells more of that.
func (t *tree) watch(p string) (*dir, error) {
	abs := t.abs(p)
	for range 3 {
		st, err := lstat(abs)
		if isGone(err) || err == nil && st.sight != directory {
			t.forget(p)
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if d := t.dirs[p]; d != nil && d.id == st.fileID {
			return nil, nil
		}
		t.forget(p)
		d := &dir{path: p, id: st.fileID}
		w, err := t.notify(d)
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// fsnotify follows links: what was watched must be what was looked at.
		if again, err := lstat(abs); err != nil || again.fileID != st.fileID {
			if w == watched {
				t.unnotify(p)
			}
			continue
		}
		// The directory that had to be forgotten may have been the parent by its old name: then all of it is still to come.
		if up, ok := parent(p); ok && t.dirs[up] == nil {
			t.unnotify(p)
			return nil, nil
		}
		t.insert(d, w)
		return d, nil
	}
	return nil, nil
}

// watching is what came of asking for the events of a directory.
type watching int

const (
	watched watching = iota
	full             // no watches left
	aliased          // the directory is watched by another path
)

// notify asks for the events of d.
func (t *tree) notify(d *dir) (watching, error) {
	if t.notifier == nil {
		return full, nil
	}
	// fsnotify keeps the path a directory was first watched by: one that was renamed, or whose inode number was used
	// again, must be forgotten by its old path before it is watched by its new one.
	if other := t.byID[d.id]; other != nil && other != d {
		if st, err := lstat(t.abs(other.path)); err == nil && st.fileID == d.id {
			return aliased, nil
		}
		t.forget(other.path)
	}
	err := t.notifier.Add(t.abs(d.path))
	switch {
	case err == nil:
		return watched, nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		t.limit = watchLimit
		return full, nil
	default:
		return full, err
	}
}

// upgrade watches an unwatched directory when that is possible now, and reports whether another one may be too.
func (t *tree) upgrade(d *dir) bool {
	if st, err := lstat(t.abs(d.path)); err != nil || st.fileID != d.id {
		return true
	}
	w, err := t.notify(d)
	if err == nil && w == watched {
		delete(t.unwatched, d)
		delete(t.aliases, d)
		t.identify(d)
	}
	return w != full
}

// missing counts the directories without a watch for want of watches.
func (t *tree) missing() int { return len(t.unwatched) - len(t.aliases) }

func (t *tree) unnotify(p string) {
	if t.notifier != nil {
		// The watch may be gone with its directory; then there is nothing to remove.
		_ = t.notifier.Remove(t.abs(p))
	}
}

// identify remembers d by what it is, where the system tells that.
func (t *tree) identify(d *dir) {
	if d.id != (fileID{}) {
		t.byID[d.id] = d
	}
}

func (t *tree) insert(d *dir, w watching) {
	t.dirs[d.path] = d
	switch w {
	case watched:
		t.identify(d)
	case full:
		t.identify(d)
		t.unwatched[d] = struct{}{}
	case aliased:
		t.unwatched[d] = struct{}{}
		t.aliases[d] = struct{}{}
	}
	up, ok := parent(d.path)
	if !ok {
		return
	}
	d.parent = t.dirs[up]
	if d.parent.kids == nil {
		d.parent.kids = map[*dir]struct{}{}
	}
	d.parent.kids[d] = struct{}{}
	if d.parent.id.dev != d.id.dev {
		t.mounts[d.path] = d
	}
}

// forget removes the watches of p and of everything below it: after a rename fsnotify would go on to name the old path.
func (t *tree) forget(p string) {
	for l := range t.lost {
		if within(l, p) {
			delete(t.lost, l)
		}
	}
	d := t.dirs[p]
	if d == nil {
		return
	}
	if d.parent != nil {
		delete(d.parent.kids, d)
	}
	for stack := []*dir{d}; len(stack) > 0; {
		d := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for kid := range d.kids {
			stack = append(stack, kid)
		}
		t.unnotify(d.path)
		delete(t.dirs, d.path)
		if t.byID[d.id] == d {
			delete(t.byID, d.id)
		}
		delete(t.unwatched, d)
		delete(t.aliases, d)
		delete(t.mounts, d.path)
	}
}

// lose remembers that p cannot be seen.
func (t *tree) lose(p string, err error, mount bool) {
	t.forget(p)
	t.lost[p] = lost{err: err, mount: mount}
}

// isLost reports whether p cannot be seen, so that its absence says nothing.
func (t *tree) isLost(p string) bool {
	for l := range t.lost {
		if within(p, l) {
			return true
		}
	}
	return false
}

// lostMounts returns the mount points whose file system went away, with the reason.
func (t *tree) lostMounts() map[string]error {
	var away map[string]error
	for p, d := range t.mounts {
		st, err := lstat(t.abs(p))
		if isGone(err) || err == nil && st.dev == d.id.dev {
			continue
		}
		if err == nil {
			err = &fs.PathError{Op: "watch", Path: t.abs(p), Err: errUnmounted}
		}
		if away == nil {
			away = map[string]error{}
		}
		away[p] = err
	}
	return away
}

var errUnmounted = errors.New("file system is no longer mounted")

// isBack reports whether a lost directory can be added again, or vanished for good.
func (t *tree) isBack(p string, l lost) bool {
	st, err := lstat(t.abs(p))
	if err != nil {
		return isGone(err)
	}
	if st.sight != directory {
		return true
	}
	if l.mount {
		up, _ := parent(p)
		if above, err := lstat(t.abs(up)); err != nil || above.dev == st.dev {
			return false
		}
	}
	return readable(t.abs(p)) == nil
}

// readable reports why a directory cannot be listed.
func readable(abs string) error {
	f, err := openDir(abs)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = f.Readdirnames(1); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// look stats a path, but not through a link.
func (t *tree) look(p string) (fileStat, error) {
	up, ok := parent(p)
	if !ok {
		return lstat(t.root)
	}
	// A directory that is not known may have been replaced by a link, and lstat follows links on the way.
	for t.dirs[up] == nil {
		st, err := lstat(t.abs(up))
		if err != nil {
			return fileStat{}, err
		}
		if st.sight != directory {
			return fileStat{}, fs.ErrNotExist
		}
		if up, ok = parent(up); !ok {
			break
		}
	}
	return lstat(t.abs(p))
}

// isGone reports whether err means that there is nothing by that name in the tree, rather than that it cannot be seen.
// A loop of links can only be on the way to it, in place of a directory.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}
