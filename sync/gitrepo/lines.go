package gitrepo

import (
	"slices"
	"strings"
)

// A merge by lines of our own: git's depends on its version, on configuration and on the attributes that happen to be
// checked out, and two clones that merge the same commits must get the same bytes.

// maxEditCost bounds the search for a shortest edit script between two stretches without a common unique line; beyond,
// the whole stretch counts as changed.
const maxEditCost = 800

// hunk says that lines [o1,o2) of the base became lines [n1,n2) of a version.
type hunk struct{ o1, o2, n1, n2 int }

// splitLines cuts text behind each line feed.
func splitLines(text string) []string {
	lines := strings.SplitAfter(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// diffLines returns the hunks that lead from base to version, in order, never touching each other.
func diffLines(base, version []string) []hunk {
	ids := make(map[string]int)
	number := func(lines []string) []int {
		ns := make([]int, len(lines))
		for i, l := range lines {
			id, ok := ids[l]
			if !ok {
				id = len(ids)
				ids[l] = id
			}
			ns[i] = id
		}
		return ns
	}
	d := differ{a: number(base), b: number(version)}
	d.diff(0, len(d.a), 0, len(d.b))
	return d.hunks
}

type differ struct {
	a, b  []int
	hunks []hunk
}

// changed appends a hunk, joined to the one before where they touch.
func (d *differ) changed(h hunk) {
	if h.o1 == h.o2 && h.n1 == h.n2 {
		return
	}
	if n := len(d.hunks); n > 0 && d.hunks[n-1].o2 == h.o1 && d.hunks[n-1].n2 == h.n1 {
		d.hunks[n-1].o2, d.hunks[n-1].n2 = h.o2, h.n2
		return
	}
	d.hunks = append(d.hunks, h)
}

// diff compares a[a1:a2] with b[b1:b2]: equal ends first, then around lines that occur once on both sides (patience
// diff), then the shortest edit script.
func (d *differ) diff(a1, a2, b1, b2 int) {
	for a1 < a2 && b1 < b2 && d.a[a1] == d.b[b1] {
		a1++
		b1++
	}
	for a1 < a2 && b1 < b2 && d.a[a2-1] == d.b[b2-1] {
		a2--
		b2--
	}
	if a1 == a2 || b1 == b2 {
		d.changed(hunk{a1, a2, b1, b2})
		return
	}
	anchors := d.anchors(a1, a2, b1, b2)
	if len(anchors) == 0 {
		d.myers(a1, a2, b1, b2)
		return
	}
	for _, at := range anchors {
		d.diff(a1, at[0], b1, at[1])
		a1, b1 = at[0]+1, at[1]+1
	}
	d.diff(a1, a2, b1, b2)
}

// anchors returns the longest common sequence of the lines that occur once in a and once in b.
func (d *differ) anchors(a1, a2, b1, b2 int) [][2]int {
	type place struct{ inA, inB, countA, countB int }
	places := make(map[int]*place)
	for i := a1; i < a2; i++ {
		p := places[d.a[i]]
		if p == nil {
			p = &place{}
			places[d.a[i]] = p
		}
		p.inA, p.countA = i, p.countA+1
	}
	for j := b1; j < b2; j++ {
		if p := places[d.b[j]]; p != nil {
			p.inB, p.countB = j, p.countB+1
		}
	}
	var unique [][2]int
	for i := a1; i < a2; i++ {
		if p := places[d.a[i]]; p.countA == 1 && p.countB == 1 {
			unique = append(unique, [2]int{i, p.inB})
		}
	}
	// Longest increasing subsequence of the places in b, by piles.
	var piles []int // index into unique of the top of each pile
	prev := make([]int, len(unique))
	for i, u := range unique {
		n, _ := slices.BinarySearchFunc(piles, u[1], func(top, b int) int { return unique[top][1] - b })
		prev[i] = -1
		if n > 0 {
			prev[i] = piles[n-1]
		}
		if n == len(piles) {
			piles = append(piles, i)
		} else {
			piles[n] = i
		}
	}
	if len(piles) == 0 {
		return nil
	}
	seq := make([][2]int, len(piles))
	for i, k := len(piles)-1, piles[len(piles)-1]; i >= 0; i-- {
		seq[i] = unique[k]
		k = prev[k]
	}
	return seq
}

// myers finds a shortest edit script (E. Myers, An O(ND) Difference Algorithm, 1986), up to maxEditCost edits.
func (d *differ) myers(a1, a2, b1, b2 int) {
	n, m := a2-a1, b2-b1
	limit := min(n+m, maxEditCost)
	v := make([]int, 2*limit+3)
	at := func(k int) int { return k + limit + 1 }
	var trace [][]int
	for cost := 0; cost <= limit; cost++ {
		trace = append(trace, slices.Clone(v[at(-cost-1):at(cost+1)+1]))
		for k := -cost; k <= cost; k += 2 {
			var x int
			if k == -cost || k != cost && v[at(k-1)] < v[at(k+1)] {
				x = v[at(k+1)]
			} else {
				x = v[at(k-1)] + 1
			}
			y := x - k
			for x < n && y < m && d.a[a1+x] == d.b[b1+y] {
				x++
				y++
			}
			v[at(k)] = x
			if x >= n && y >= m {
				d.backtrack(trace, a1, b1, n, m)
				return
			}
		}
	}
	d.changed(hunk{a1, a2, b1, b2})
}

// backtrack turns the trace of myers into hunks.
func (d *differ) backtrack(trace [][]int, a1, b1, n, m int) {
	var edits []hunk
	x, y := n, m
	for cost := len(trace) - 1; cost > 0; cost-- {
		v := trace[cost] // v[i] is for diagonal i-cost-1
		get := func(k int) int { return v[k+cost+1] }
		k := x - y
		pk := k - 1
		if k == -cost || k != cost && get(k-1) < get(k+1) {
			pk = k + 1
		}
		px := get(pk)
		py := px - pk
		if pk == k+1 {
			edits = append(edits, hunk{a1 + px, a1 + px, b1 + py, b1 + py + 1})
		} else {
			edits = append(edits, hunk{a1 + px, a1 + px + 1, b1 + py, b1 + py})
		}
		x, y = px, py
	}
	slices.Reverse(edits)
	for _, e := range edits {
		d.changed(e)
	}
}

// mergeLines merges two versions of a text. Changes that overlap or touch conflict unless they are equal; ok is then
// false, except with union, which keeps the lines of both.
func mergeLines(base, a, b string, union bool) (merged string, ok bool) {
	o, as, bs := splitLines(base), splitLines(a), splitLines(b)
	ha, hb := diffLines(o, as), diffLines(o, bs)
	var out strings.Builder
	emit := func(lines []string) {
		for _, l := range lines {
			out.WriteString(l)
		}
	}
	pos := 0
	for len(ha) > 0 || len(hb) > 0 {
		switch {
		case len(hb) == 0 || len(ha) > 0 && ha[0].o2 < hb[0].o1:
			emit(o[pos:ha[0].o1])
			emit(as[ha[0].n1:ha[0].n2])
			pos, ha = ha[0].o2, ha[1:]
			continue
		case len(ha) == 0 || hb[0].o2 < ha[0].o1:
			emit(o[pos:hb[0].o1])
			emit(bs[hb[0].n1:hb[0].n2])
			pos, hb = hb[0].o2, hb[1:]
			continue
		}
		// The stretch of the base that hunks of both sides cover, grown until nothing touches it.
		lo, hi := min(ha[0].o1, hb[0].o1), max(ha[0].o2, hb[0].o2)
		na, nb := 1, 1
		for grown := true; grown; {
			grown = false
			for na < len(ha) && ha[na].o1 <= hi {
				hi, grown = max(hi, ha[na].o2), true
				na++
			}
			for nb < len(hb) && hb[nb].o1 <= hi {
				hi, grown = max(hi, hb[nb].o2), true
				nb++
			}
		}
		va, vb := version(as, ha[:na], lo, hi), version(bs, hb[:nb], lo, hi)
		emit(o[pos:lo])
		switch {
		case slices.Equal(va, vb):
			emit(va)
		case union:
			emit(unite(va, vb))
		default:
			return "", false
		}
		pos, ha, hb = hi, ha[na:], hb[nb:]
	}
	emit(o[pos:])
	return out.String(), true
}

// version returns what one side has for base lines [lo,hi), which hunks, not empty, lie in.
func version(lines []string, hunks []hunk, lo, hi int) []string {
	first, last := hunks[0], hunks[len(hunks)-1]
	return lines[first.n1-(first.o1-lo) : last.n2+(hi-last.o2)]
}

// unite returns the lines of a, and then those of b that a has not.
func unite(a, b []string) []string {
	var out []string
	have := make(map[string]bool)
	for _, l := range slices.Concat(a, b) {
		if l = strings.TrimSuffix(l, "\n") + "\n"; !have[l] {
			have[l] = true
			out = append(out, l)
		}
	}
	return out
}
