package annex

import (
	"context"
	"strconv"
	"strings"
)

const (
	numCopiesLog = "numcopies.log"
	minCopiesLog = "mincopies.log"
)

// Copies is how many copies of a content there must be (git-annex-numcopies(1), git-annex-mincopies(1)); both are at least 1.
type Copies struct{ Num, Min int }

// Elsewhere is how many other repositories must be proven to have the content before it goes from here. Of a removal here, which is done under
// the exclusive lock on what is here, git-annex asks no more (Types/NumCopies.hs isSafeDrop).
func (c Copies) Elsewhere() int { return max(c.Num, c.Min) }

// Copies gives how many copies there must be of a content that the files at paths have, in git-annex's order (Annex/NumCopies.hs): for each file
// the .gitattributes, else the log that all clones share, else for Num the deprecated annex.numcopies of git's configuration, else 1; and then
// the largest of all files. A forced Num, if positive, comes before all.
func (r *Repo) Copies(ctx context.Context, paths []string, forced int) (Copies, error) {
	num, err := r.copiesLog(ctx, numCopiesLog)
	if err != nil {
		return Copies{}, err
	}
	if num == nil {
		num = parseCopies(r.git.Config("annex.numcopies"))
	}
	least, err := r.copiesLog(ctx, minCopiesLog)
	if err != nil {
		return Copies{}, err
	}
	if r.git.Bare() {
		paths = nil // as in git-annex: a bare repository has no attributes
	}
	everywhere := Copies{orOne(num), orOne(least)}
	most := Copies{1, 1}
	for _, path := range paths {
		attrs, err := r.attrs.of(ctx, path)
		if err != nil {
			return Copies{}, err
		}
		file := everywhere
		if n := parseCopies(attrs.numcopies); n != nil {
			file.Num = orOne(n)
		}
		if n := parseCopies(attrs.mincopies); n != nil {
			file.Min = orOne(n)
		}
		most = Copies{max(most.Num, file.Num), max(most.Min, file.Min)}
	}
	if len(paths) == 0 {
		most = everywhere
	}
	if forced > 0 {
		most.Num = forced
	}
	return most, nil
}

// orOne gives a configured number, which counts as 1 when it is none or not positive.
func orOne(n *int) int {
	if n == nil {
		return 1
	}
	return max(*n, 1)
}

// copiesLog reads a log of one value for all clones: CLOCK N (Logs/SingleValue.hs). Of lines with the same clock the largest number counts. Nil when
// it says nothing.
func (r *Repo) copiesLog(ctx context.Context, path string) (*int, error) {
	content, err := r.readLog(ctx, path)
	if err != nil {
		return nil, err
	}
	var newest clock
	var value *int
	for line := range logLines(content) {
		stamp, rest, _ := strings.Cut(line, " ")
		c, ok := parseClock(stamp)
		n := parseCopies(rest)
		if !ok || n == nil {
			continue
		}
		if order := c.compare(newest); value == nil || order > 0 || order == 0 && *n > *value {
			newest, value = c, n
		}
	}
	return value, nil
}

// parseCopies reads a number as git-annex does (Haskell's reads): what follows the digits does not matter unless it makes another number of them. Nil
// when there is none.
func parseCopies(s string) *int {
	s = strings.TrimLeft(s, " \t")
	digits := strings.TrimLeft(strings.TrimPrefix(s, "-"), "0123456789")
	number := s[:len(s)-len(digits)]
	if len(digits) > 1 && strings.ContainsRune(".eExXoObB", rune(digits[0])) && digits[1] >= '0' && digits[1] <= '9' {
		return nil
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return nil
	}
	return &n
}
