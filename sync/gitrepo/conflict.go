package gitrepo

import (
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Variants: when two versions of a file cannot become one, each is kept as NAME.variant-XXXX.EXT beside where it was, the
// form git-annex uses (git-annex.md §1.11). XXXX are the first hexadecimal digits of an MD5: for an annexed file, of
// its serialized key, four digits, or the whole key where the path is a variant's already or the name is taken, as
// git-annex does; for a plain file, of the 40 digits of its blob (and " 120000" behind them for a symbolic link), four
// digits, more where the name is taken, and the 40 digits themselves where the path is a variant's already. The names
// follow from the contents alone, so every clone chooses the same ones.

const (
	variantMarker = ".variant-"
	// maxName is the longest name that usual file systems take.
	maxName = 255
	// maxExtension is the longest part behind the last dot that is kept apart when a name has to be shortened.
	maxExtension = 32
)

// Annexed is what a merge has to know about an annexed file.
type Annexed struct {
	Key  string // serialized key: its MD5 names variants
	File string // the key as a file name
}

// Resolver tells whether an entry (a pointer file or a locked symbolic link) is annexed. Its answer must follow from the
// entry alone. Nil: no annex.
type Resolver func(e Entry) (Annexed, bool)

// variant is one version of a file that loses its name.
type variant struct {
	name    string // in its directory, before
	entry   Entry
	annexed bool
	id      string // what is hashed for the name
	full    string // the long form
}

// variant describes an entry as a variant.
func (m *merger) variant(e Entry) variant {
	if m.annexed != nil {
		if a, ok := m.annexed(e); ok {
			return variant{entry: e, annexed: true, id: a.Key, full: a.File}
		}
	}
	v := variant{entry: e, id: e.Hash.String(), full: e.Hash.String()}
	if !e.Mode.IsRegular() {
		v.id += " " + e.Mode.String()
		v.full += "-" + e.Mode.String()
	}
	return v
}

// mergedDir collects the result for one directory.
type mergedDir struct {
	prefix    string
	entries   map[string]Entry
	conflicts []dirConflict
}

// dirConflict is a conflict in one directory while its variants have no names yet.
type dirConflict struct {
	name     string
	variants []variant
}

// keep gives a name to an entry; the zero entry leaves the name free.
func (d *mergedDir) keep(name string, e Entry) {
	if !e.IsZero() {
		d.entries[name] = e
	}
}

func (d *mergedDir) conflict(name string, variants []variant) {
	for i := range variants {
		variants[i].name = name
	}
	d.conflicts = append(d.conflicts, dirConflict{name, variants})
}

// placeVariants gives names to all variants, when everything else in the directory has its name.
func (d *mergedDir) placeVariants() []Conflict {
	conflicts := make([]Conflict, 0, len(d.conflicts))
	for _, c := range d.conflicts {
		conflict := Conflict{Path: d.prefix + c.name}
		slices.SortFunc(c.variants, func(a, b variant) int {
			return cmp.Or(strings.Compare(a.id, b.id), cmp.Compare(a.entry.Mode, b.entry.Mode))
		})
		for _, v := range c.variants {
			conflict.Variants = append(conflict.Variants, d.prefix+d.place(v))
		}
		conflicts = append(conflicts, conflict)
	}
	return conflicts
}

// place takes the first of a variant's names that is free or holds the same already.
func (d *mergedDir) place(v variant) string {
	for try := 0; ; try++ {
		name := v.nameFor(d.prefix, try)
		if e, taken := d.entries[name]; !taken || e == v.entry {
			d.entries[name] = v.entry
			return name
		}
	}
}

// nameFor returns the variant's name; each try gives another.
func (v variant) nameFor(prefix string, try int) string {
	sum := md5.Sum([]byte(v.id))
	digits := hex.EncodeToString(sum[:])
	tags := []string{digits[:4], digits[:8], digits[:16], digits}
	if len(v.full) > maxName/2 {
		v.full = digits
	}
	if v.annexed {
		tags = []string{digits[:4], v.full}
	}
	if strings.Contains(prefix+v.name, variantMarker) {
		tags = []string{v.full}
	}
	var tag string
	if try < len(tags) {
		tag = tags[try]
	} else {
		tag = digits + "-" + strconv.Itoa(try-len(tags)+1)
	}
	return variantName(v.name, tag)
}

// variantName puts the mark before the last extension, as Haskell's takeExtension sees it: from the last dot on, also at
// the beginning of a name.
func variantName(name, tag string) string {
	stem, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		stem, ext = name[:i], name[i:]
	}
	if over := len(name) + len(variantMarker) + len(tag) - maxName; over > 0 {
		if len(ext) > maxExtension {
			stem, ext = name, ""
		}
		stem = shorten(stem, len(stem)-over)
	}
	return stem + variantMarker + tag + ext
}

// shorten cuts a name to at most n bytes, not inside a character.
func shorten(s string, n int) string {
	n = max(n, 0)
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:min(n, len(s))]
}
