package annex

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/sync/wanted"
)

// copyBuffer is how much is read at once, in bytes.
const copyBuffer = 1 << 20

// ErrNoRoom says that the disk would have less free than annex.diskreserve.
var ErrNoRoom = errors.New("not enough free disk space")

// Room is ErrNoRoom when content of this size in bytes would leave less free than annex.diskreserve (100 MB where that says nothing).
// What drafts will still take counts.
func (r *Repo) Room(size int64) error { return r.RoomAt(r.git.GitDir(), size+r.drafts.missing()) }

// RoomAt is Room for content that comes to another directory.
func (r *Repo) RoomAt(dir string, size int64) error {
	reserve := int64(100_000_000)
	if value := r.git.Config("annex.diskreserve"); value != "" {
		var err error
		if reserve, err = wanted.ParseSize(value); err != nil {
			return &Refused{What: "annex.diskreserve: " + err.Error(), Hint: "run git config annex.diskreserve 100mb"}
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look for free disk space: %w", err)
	}
	free := int64(st.Bavail) * int64(st.Bsize) //nolint:unconvert // 32 bits wide on some systems
	if free-size < reserve {
		return fmt.Errorf("%w: %d bytes free, %d needed, %d to be kept free", ErrNoRoom, free, size, reserve)
	}
	return nil
}

// tmpDir gives the directory for files that are being made. git-annex empties it when nobody holds the lock that release gives back.
func (r *Repo) tmpDir(ctx context.Context) (dir string, release func(), err error) {
	lock, err := waitLock(ctx, filepath.Join(r.dir, "othertmp.lck"), false)
	if err != nil {
		return "", nil, err
	}
	dir = filepath.Join(r.dir, "othertmp")
	if err := r.makeDirs(dir); err != nil {
		lock.unlock()
		return "", nil, fmt.Errorf("make temporary directory: %w", err)
	}
	return dir, lock.unlock, nil
}

// A tmpGroup is temporary files that become durable together.
type tmpGroup struct {
	dir     string
	opened  *os.File // dir, since before anything was written there: a sync tells of errors since then
	release func()   // lets git-annex empty dir
}

// tmpGroup makes an empty group. The caller must call close.
func (r *Repo) tmpGroup(ctx context.Context) (*tmpGroup, error) {
	dir, release, err := r.tmpDir(ctx)
	if err != nil {
		return nil, err
	}
	opened, err := os.Open(dir)
	if err != nil {
		release()
		return nil, fmt.Errorf("open directory of temporary files: %w", err)
	}
	return &tmpGroup{dir, opened, release}, nil
}

func (g *tmpGroup) close() {
	_ = g.opened.Close()
	g.release()
}

// manyPaths is from how many files on one sync of the file system is cheaper than one of each.
const manyPaths = 16

// sync makes files and directories on the file system of the group durable.
func (g *tmpGroup) sync(paths []string) error {
	if len(paths) > manyPaths {
		if err := syncFileSystem(g.opened); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	for _, path := range paths {
		if err := syncFile(path); err != nil {
			return err
		}
	}
	return nil
}

// sweepTmp removes what a process that was killed has left in the directory for temporary files, unless somebody uses it.
func (r *Repo) sweepTmp() error {
	dir := filepath.Join(r.dir, "othertmp")
	if _, err := os.Lstat(dir); err != nil {
		return nil
	}
	lock, err := tryLock(filepath.Join(r.dir, "othertmp.lck"), true)
	if errors.Is(err, errLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.unlock()
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove old temporary files: %w", err)
	}
	return nil
}

// createTemp makes a new file in dir with the permissions that the umask leaves of mode.
func createTemp(dir, prefix string, mode fs.FileMode) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, prefix+rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
}

// copyIn makes a copy of src in dir, which is not durable yet, with the permissions that the umask leaves of mode, and gives its path and size. The content goes through h, if there is one, as it is copied; where the file
// system shares blocks nothing is copied, and only h reads.
func copyIn(ctx context.Context, dir string, mode fs.FileMode, src *os.File, h hash.Hash) (path string, size int64, err error) {
	dst, err := createTemp(dir, "ingest", mode)
	if err != nil {
		return "", 0, fmt.Errorf("copy into annex: %w", err)
	}
	defer func() {
		if err != nil {
			_ = dst.Close()
			_ = os.Remove(dst.Name())
		}
	}()
	var to io.Writer
	from := io.Reader(src)
	switch {
	case CloneFile(dst, src) == nil:
		from = dst
		if h != nil {
			to = h
		}
	case h == nil:
		to = &diskWriter{File: dst}
	default:
		to = io.MultiWriter(h, &diskWriter{File: dst})
	}
	if to == nil {
		st, err := dst.Stat()
		if err != nil {
			return "", 0, fmt.Errorf("copy into annex: %w", err)
		}
		size = st.Size()
	} else if size, err = copyContent(ctx, to, from); err != nil {
		return "", 0, fmt.Errorf("copy into annex: %w", err)
	}
	if err := dst.Close(); err != nil {
		return "", 0, fmt.Errorf("copy into annex: %w", err)
	}
	return dst.Name(), size, nil
}

// copyContent is io.Copy that ends with ctx.
func copyContent(ctx context.Context, to io.Writer, from io.Reader) (int64, error) {
	var copied int64
	for {
		n, err := io.CopyN(to, from, copyBuffer)
		copied += n
		if errors.Is(err, io.EOF) {
			return copied, nil
		}
		if err != nil {
			return copied, err
		}
		if err := ctx.Err(); err != nil {
			return copied, err
		}
	}
}
