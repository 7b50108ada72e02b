package annex

import (
	"bytes"
	"strings"
)

// MaxPointerSize is the largest file that git-annex takes for a pointer, in bytes (Annex/Link.hs maxPointerSz).
const MaxPointerSize = 32768

// maxLinkTarget bounds a symbolic link's target: PATH_MAX.
const maxLinkTarget = 4096

const objectsDir = "/annex/objects/"

// Pointer gives the content that git holds for an unlocked annexed file.
func Pointer(k Key) []byte { return []byte(objectsDir + k.File() + "\n") }

// ParsePointer reads the content of an unlocked annexed file as git holds it. The key is at the end of the first line;
// further lines are allowed as git-annex allows them, when each names something below /annex/ and is complete.
func ParsePointer(content []byte) (Key, bool) {
	if len(content) > MaxPointerSize {
		return Key{}, false
	}
	first, rest, complete := bytes.Cut(content, []byte("\n"))
	if complete {
		for line := range bytes.Lines(rest) {
			if !bytes.HasSuffix(line, []byte("\n")) || !bytes.Contains(line, []byte("/annex/")) {
				return Key{}, false
			}
		}
	}
	return parseObjectName(string(bytes.TrimSuffix(first, []byte("\r"))))
}

// LinkTarget gives the target of the symbolic link that a locked annexed file is. path is the file's, relative to the
// top of the work tree, with slashes.
func LinkTarget(path string, k Key) string {
	return strings.Repeat("../", strings.Count(path, "/")) + ".git" + objectsDir + k.HashDirMixed() + k.File() + "/" + k.File()
}

// ParseLink reads the target of a symbolic link; false when it is not a locked annexed file's. A wrong number of "../",
// of a link that was moved, does not matter.
func ParseLink(target string) (Key, bool) {
	if len(target) > maxLinkTarget {
		return Key{}, false
	}
	return parseObjectName(target)
}

// parseObjectName reads the key in the last part of a path that goes through a directory of objects.
func parseObjectName(path string) (Key, bool) {
	if !strings.Contains(path, objectsDir) {
		return Key{}, false
	}
	k, err := ParseKeyFile(strings.Clone(path[strings.LastIndexByte(path, '/')+1:])) // the key outlives the path
	return k, err == nil
}
