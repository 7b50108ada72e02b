package annex

import (
	"slices"
	"strings"
)

// DefaultMaxExtensionLength is git-annex's default of annex.maxextensionlength, in bytes.
const DefaultMaxExtensionLength = 4

// defaultMaxExtensions is git-annex's default of annex.maxextensions.
const defaultMaxExtensions = 2

// keyExtension gives the part of a file's name that a backend whose name ends in E keeps in the key, with its leading
// dot; "" for none. The rule is git-annex's Backend/Utilities.hs selectExtension, where the order of the steps matters:
// from the right, parts are taken while they are short; of these, those with odd bytes are skipped; maxParts are kept.
func keyExtension(filename string, maxLen, maxParts int) string {
	base := filename[strings.LastIndexByte(filename, '/')+1:]
	base = strings.TrimLeft(base, ".")
	dot := strings.IndexByte(base, '.')
	if dot < 0 {
		return ""
	}
	parts := strings.Split(base[dot+1:], ".")
	var kept []string
	for i := len(parts) - 1; i >= 0 && len(kept) < maxParts && len(parts[i]) <= maxLen; i-- {
		if isExtension(parts[i]) {
			kept = append(kept, parts[i])
		}
	}
	slices.Reverse(kept)
	kept = slices.DeleteFunc(kept, func(part string) bool { return part == "" })
	if len(kept) == 0 {
		return ""
	}
	return "." + strings.Join(kept, ".")
}

// isExtension says whether every byte is an ASCII letter, a digit or part of a longer UTF-8 character.
func isExtension(part string) bool {
	for i := range len(part) {
		c := part[i]
		if c < 0x80 && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
