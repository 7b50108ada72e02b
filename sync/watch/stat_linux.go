package watch

import (
	"os"

	"golang.org/x/sys/unix"
)

// lstat looks at the absolute path without following a link at its end.
func lstat(path string) (fileStat, error) {
	var st unix.Stat_t
	for {
		err := unix.Lstat(path, &st)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fileStat{}, err
		}
		break
	}
	s := fileStat{
		fileID: fileID{dev: uint64(st.Dev), ino: st.Ino}, //nolint:unconvert // Dev has 32 bits on MIPS
		sight:  special,
		print: fingerprint{
			ino:   st.Ino,
			size:  st.Size,
			mtime: st.Mtim.Nano(),
			ctime: st.Ctim.Nano(),
			mode:  st.Mode,
		},
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		s.sight, s.regular = complete, true
	case unix.S_IFLNK:
		s.sight = complete
	case unix.S_IFDIR:
		s.sight = directory
	}
	return s, nil
}

// openDir opens a directory and nothing else: not through a link, and not a pipe, whose open would wait for a writer.
func openDir(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}
