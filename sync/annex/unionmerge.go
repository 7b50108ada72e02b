package annex

import (
	"bytes"
	"slices"
)

// unionMerge merges versions of one log as git-annex does (Git/UnionMerge.hs): every line of every version, sorted, once. When
// a version has exactly these lines, in whatever order, its index is given too, so that its blob is used again; -1 otherwise.
func unionMerge(versions [][]byte) (merged []byte, same int) {
	var all [][]byte
	sorted := make([][][]byte, len(versions))
	for i, content := range versions {
		sorted[i] = sortedLines(content)
		all = append(all, sorted[i]...)
	}
	slices.SortFunc(all, bytes.Compare)
	all = slices.CompactFunc(all, bytes.Equal)
	for i := range sorted {
		if slices.EqualFunc(sorted[i], all, bytes.Equal) {
			return versions[i], i
		}
	}
	for _, line := range all {
		merged = append(append(merged, line...), '\n')
	}
	return merged, -1
}

// sortedLines gives the lines of content, without their line ends, sorted and once each.
func sortedLines(content []byte) [][]byte {
	if len(content) == 0 {
		return nil
	}
	lines := bytes.Split(bytes.TrimSuffix(content, []byte("\n")), []byte("\n"))
	slices.SortFunc(lines, bytes.Compare)
	return slices.CompactFunc(lines, bytes.Equal)
}
