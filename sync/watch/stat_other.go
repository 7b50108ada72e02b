//go:build !linux

package watch

import (
	"io/fs"
	"os"
)

// lstat looks at the absolute path without following a link at its end. It knows no identities: a directory that was
// renamed is told by events alone.
func lstat(path string) (fileStat, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return fileStat{}, err
	}
	s := fileStat{
		sight: special,
		print: fingerprint{size: fi.Size(), mtime: fi.ModTime().UnixNano(), mode: uint32(fi.Mode())},
	}
	switch fi.Mode().Type() {
	case 0:
		s.sight, s.regular = complete, true
	case fs.ModeSymlink:
		s.sight = complete
	case fs.ModeDir:
		s.sight = directory
	}
	return s, nil
}

func openDir(path string) (*os.File, error) { return os.Open(path) }
