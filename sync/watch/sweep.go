package watch

import (
	"io/fs"
	"slices"
	"strings"
)

// listed is an entry of an unwatched directory as a sweep found it.
type listed struct {
	name  string
	print fingerprint
	dir   bool
}

// list stats the entries of an unwatched directory, sorted by name. An entry that vanished meanwhile is left out.
func (t *tree) list(p string, entries []fs.DirEntry) []listed {
	list := make([]listed, 0, len(entries))
	for _, e := range entries {
		l := listed{name: e.Name(), dir: e.IsDir()}
		if !l.dir {
			st, err := lstat(t.abs(join(p, l.name)))
			if err != nil {
				continue
			}
			l.print = st.print
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b listed) int { return strings.Compare(a.name, b.name) })
	return list
}

// difference compares two listings of a directory: the names that are new or different, and those that vanished or are
// something else now.
func difference(old, now []listed) (changed []listed, vanished []string) {
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(now) == 0 || len(old) > 0 && old[0].name < now[0].name:
			vanished = append(vanished, old[0].name)
			old = old[1:]
		case len(old) == 0 || now[0].name < old[0].name:
			changed = append(changed, now[0])
			now = now[1:]
		default:
			if old[0].dir != now[0].dir {
				vanished = append(vanished, old[0].name)
			}
			if old[0] != now[0] || now[0].dir {
				changed = append(changed, now[0])
			}
			old, now = old[1:], now[1:]
		}
	}
	return changed, vanished
}
