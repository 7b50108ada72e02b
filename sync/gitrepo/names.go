package gitrepo

import (
	"fmt"
	"strings"
)

// ValidPath returns an error wrapping ErrMalformed unless path may stand in a tree and be written to a work tree: no
// empty, "." or ".." component, no NUL, and nothing that some file system takes for ".git" (git's verify_path).
// Every other byte is allowed.
func ValidPath(path string) error {
	for name := range strings.SplitSeq(path, "/") {
		if err := validName(name); err != nil {
			return fmt.Errorf("path %q: %w", path, err)
		}
	}
	return nil
}

func validName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%w: component %q", ErrMalformed, name)
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("%w: NUL in a name", ErrMalformed)
	}
	// A backslash separates on Windows alone, where ".git\config" would be written into .git.
	for part := range strings.SplitSeq(name, "\\") {
		if isDotGit(part) {
			return fmt.Errorf("%w: component %q means .git", ErrMalformed, name)
		}
	}
	return nil
}

// isDotGit reports whether some file system may take name for ".git": any case, HFS+ ignores certain code
// points, NTFS ignores dots, spaces and streams at the end and knows it as git~1 too.
func isDotGit(name string) bool {
	if len(name) < 4 {
		return false
	}
	ntfs, _, _ := strings.Cut(name, ":")
	ntfs = strings.TrimRight(ntfs, ". ")
	if strings.EqualFold(ntfs, ".git") || strings.EqualFold(ntfs, "git~1") {
		return true
	}
	hfs := strings.Map(func(c rune) rune {
		if c >= 0x200c && c <= 0x200f || c >= 0x202a && c <= 0x202e || c >= 0x206a && c <= 0x206f || c == 0xfeff {
			return -1
		}
		return c
	}, name)
	return strings.EqualFold(hfs, ".git")
}
