package gitrepo

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Stat is what identifies the state of a file without reading it. Comparable.
type Stat struct {
	Dev, Ino     uint64
	Size         int64
	Mtime, Ctime int64  // nanoseconds since 1970
	Mode         uint32 // st_mode: type and permissions
	UID, GID     uint32
}

// IsRegular reports whether the file is a regular one.
func (s Stat) IsRegular() bool { return s.Mode&unix.S_IFMT == unix.S_IFREG }

// IsDir reports whether the file is a directory.
func (s Stat) IsDir() bool { return s.Mode&unix.S_IFMT == unix.S_IFDIR }

// IsSymlink reports whether the file is a symbolic link.
func (s Stat) IsSymlink() bool { return s.Mode&unix.S_IFMT == unix.S_IFLNK }

// IsExecutable reports whether the owner may execute the file, which is what git records.
func (s Stat) IsExecutable() bool { return s.Mode&0o100 != 0 }

func statOf(st *unix.Stat_t) Stat {
	return Stat{
		Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size, //nolint:unconvert // int32 on darwin
		Mtime: unix.TimespecToNsec(st.Mtim), Ctime: unix.TimespecToNsec(st.Ctim),
		Mode: uint32(st.Mode), //nolint:unconvert // uint16 on darwin
		UID:  st.Uid, GID: st.Gid,
	}
}

func (s Stat) id() fileID { return fileID{s.Dev, s.Ino} }

// unmoved reports whether two looks at one inode, between which it may have been renamed, saw the same content: a
// rename changes the ctime alone.
func (s Stat) unmoved(t Stat) bool {
	s.Ctime, t.Ctime = 0, 0
	return s == t
}

// lstatPath looks at any path, outside the work tree too.
func lstatPath(path string) (Stat, error) {
	var st unix.Stat_t
	if err := retryEINTR(func() error { return unix.Lstat(path, &st) }); err != nil {
		return Stat{}, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return statOf(&st), nil
}

func identify(path string) (fileID, error) {
	st, err := lstatPath(path)
	return st.id(), err
}

func stampFile(path string) (fileStamp, error) {
	st, err := lstatPath(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return fileStamp{}, nil
	}
	if err != nil {
		return fileStamp{}, err
	}
	return fileStamp{
		ino: st.Ino, size: st.Size, mtime: st.Mtime, ctime: st.Ctime, present: true,
		trustworthy: time.Since(time.Unix(0, max(st.Mtime, st.Ctime))) > racyWindow,
	}, nil
}

func retryEINTR(fn func() error) error {
	for {
		if err := fn(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
