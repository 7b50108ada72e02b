package gitrepo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// workTree does file operations below the top of the work tree without following a symbolic link: every directory on
// the way is opened by its name in the one before. It belongs to one operation of one goroutine, and must be closed.
type workTree struct {
	root   *os.File
	dir    string // the directory that handle is, "" for none
	handle *os.File
	repos  map[string]bool // whether a directory is a repository of its own
}

// obstacle is the error for a path one of whose parents is not a directory.
type obstacle struct{ path string }

func (e *obstacle) Error() string { return fmt.Sprintf("%q is not a directory", e.path) }

// Is makes what lies behind an obstacle count as not existing.
func (e *obstacle) Is(target error) bool { return target == fs.ErrNotExist }

func (r *Repo) openWorkTree() (*workTree, error) {
	if r.bare {
		return nil, errors.New("a bare repository has no work tree")
	}
	fd, err := openAt(unix.AT_FDCWD, r.dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVanished, err)
	}
	t := &workTree{root: os.NewFile(uintptr(fd), r.dir), repos: make(map[string]bool)}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || statOf(&st).id() != r.rootID {
		t.close()
		return nil, fmt.Errorf("%w: %s is another directory now", ErrVanished, r.dir)
	}
	return t, nil
}

func (t *workTree) close() {
	t.forget()
	t.root.Close()
}

// nested returns the outermost directory on the way to path, path included, that is a repository of its own.
func (t *workTree) nested(path string) (dir string, nested bool) {
	if path == "." {
		return "", false
	}
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		dir := path[:i]
		is, known := t.repos[dir]
		if !known {
			_, err := t.lstat(dir + "/.git")
			is = err == nil
			t.repos[dir] = is
		}
		if is {
			return dir, true
		}
	}
	return "", false
}

// forget drops the directory kept open, after the tree changed shape.
func (t *workTree) forget() {
	if t.handle != nil {
		t.handle.Close()
		t.handle, t.dir = nil, ""
	}
}

func openAt(dirfd int, name string, flags int) (fd int, err error) {
	err = retryEINTR(func() error {
		fd, err = unix.Openat(dirfd, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		return err
	})
	return fd, err
}

// parent opens the directory that path lies in and returns it with the last component. An *obstacle when something on
// the way is not a directory.
func (t *workTree) parent(path string) (dirfd int, name string, err error) {
	dir, name, ok := splitDir(path)
	if !ok {
		return int(t.root.Fd()), path, nil
	}
	if t.handle != nil && t.dir == dir {
		return int(t.handle.Fd()), name, nil
	}
	f, err := t.openDir(dir)
	if err != nil {
		return -1, "", err
	}
	t.forget()
	t.dir, t.handle = dir, f
	return int(f.Fd()), name, nil
}

func (t *workTree) openDir(dir string) (*os.File, error) {
	cur := int(t.root.Fd())
	done := ""
	for comp := range strings.SplitSeq(dir, "/") {
		fd, err := openAt(cur, comp, dirFlags)
		if cur != int(t.root.Fd()) {
			unix.Close(cur)
		}
		if done != "" {
			done += "/"
		}
		done += comp
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return nil, &obstacle{done}
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: done, Err: err}
		}
		cur = fd
	}
	return os.NewFile(uintptr(cur), dir), nil
}

// lstat looks at a path; "" is the top.
func (t *workTree) lstat(path string) (Stat, error) {
	var st unix.Stat_t
	if path == "" {
		if err := unix.Fstat(int(t.root.Fd()), &st); err != nil {
			return Stat{}, &os.PathError{Op: "stat", Path: t.root.Name(), Err: err}
		}
		return statOf(&st), nil
	}
	dirfd, name, err := t.parent(path)
	if err != nil {
		return Stat{}, err
	}
	err = retryEINTR(func() error { return unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return Stat{}, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return statOf(&st), nil
}

// open opens a file for reading. O_NONBLOCK keeps a pipe that took the file's place from holding us up.
func (t *workTree) open(path string) (*os.File, error) {
	dirfd, name, err := t.parent(path)
	if err != nil {
		return nil, err
	}
	fd, err := openAt(dirfd, name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// readlink returns the target of a symbolic link.
func (t *workTree) readlink(path string) (string, error) {
	dirfd, name, err := t.parent(path)
	if err != nil {
		return "", err
	}
	for size := 256; size <= 1<<16; size *= 4 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(dirfd, name, buf)
		if err != nil {
			return "", &os.PathError{Op: "readlink", Path: path, Err: err}
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
	return "", &os.PathError{Op: "readlink", Path: path, Err: unix.ENAMETOOLONG}
}

// list returns the names in a directory, unsorted; "" is the top.
func (t *workTree) list(dir string) ([]string, error) {
	dirfd, name := int(t.root.Fd()), "."
	if dir != "" {
		var err error
		if dirfd, name, err = t.parent(dir); err != nil {
			return nil, err
		}
	}
	fd, err := openAt(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	return f.Readdirnames(-1)
}

// mkdirs makes the directories that path lies in.
func (t *workTree) mkdirs(path string) error {
	dir, _, ok := splitDir(path)
	if !ok {
		return nil
	}
	if _, _, err := t.parent(path); !errors.Is(err, fs.ErrNotExist) || isObstacle(err) {
		return err
	}
	if err := t.mkdirs(dir); err != nil {
		return err
	}
	dirfd, name, err := t.parent(dir)
	if err != nil {
		return err
	}
	if err := unix.Mkdirat(dirfd, name, 0o777); err != nil && !errors.Is(err, unix.EEXIST) {
		return &os.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	return nil
}

func isObstacle(err error) bool {
	_, ok := errors.AsType[*obstacle](err)
	return ok
}

// rmdirs removes the directories that path lay in, as far as they are empty.
func (t *workTree) rmdirs(path string) {
	for {
		dir, _, ok := splitDir(path)
		if !ok {
			return
		}
		t.forget()
		dirfd, name, err := t.parent(dir)
		if err != nil || unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR) != nil {
			return
		}
		path = dir
	}
}

// Stat looks at a path of the work tree without following links, neither at the end nor on the way.
func (r *Repo) Stat(path string) (Stat, error) {
	t, err := r.openWorkTree()
	if err != nil {
		return Stat{}, err
	}
	defer t.close()
	return t.lstat(path)
}

// linkNew is renameNew where the kernel has no rename that spares the target.
func linkNew(dirA int, a string, dirB int, b string) error {
	if err := unix.Linkat(dirA, a, dirB, b, 0); err != nil {
		return err
	}
	return unix.Unlinkat(dirA, a, 0)
}
