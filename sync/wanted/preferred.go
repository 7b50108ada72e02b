package wanted

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// reader reads the expressions of one repository.
type reader struct {
	*Settings
	uuid string
	// standard and groupWanted read what these words stand for.
	standard, groupWanted func() (*node, error)
}

// term reads a word of a preferred content expression (Annex/FileMatcher.hs).
func (r *reader) term(word string) (*node, error) {
	if n, err := commonTerm(word); n != nil || err != nil {
		return n, err
	}
	switch word {
	case "present":
		return r.present()
	case "securehash":
		return leaf(term{word: word, match: func(q *question) (bool, error) { return isSecure(q.file.Key), nil }})
	case "inpreferreddir":
		return r.inPreferredDir()
	case "standard":
		return call(word, r.standard)
	case "groupwanted":
		return call(word, r.groupWanted)
	}
	name, value, _ := strings.Cut(word, "=")
	switch name {
	case "copies":
		return r.copies(word, value)
	case "lackingcopies", "approxlackingcopies":
		return r.lackingCopies(word, value, name == "approxlackingcopies")
	case "inallgroup":
		return r.inAllGroup(word, value)
	case "onlyingroup":
		return r.onlyInGroup(word, value)
	case "inbackend":
		return leaf(term{word: word, match: func(q *question) (bool, error) { return backend(q.file.Key) == value, nil }})
	case "metadata":
		return metadataTerm(word, value)
	case "url":
		return urlTerm(word, value)
	case "balanced", "fullybalanced", "sizebalanced", "fullysizebalanced":
		return r.balanced(word, name, value)
	}
	return nil, notUnderstood(word)
}

// call makes a node of a word that stands for another expression.
func call(word string, read func() (*node, error)) (*node, error) {
	n, err := read()
	if err != nil {
		return nil, err
	}
	return &node{kind: called, left: n, term: term{word: word}}, nil
}

func (r *reader) present() (*node, error) {
	return leaf(term{word: "present", needs: Locations | Trusts, unstable: true, match: func(q *question) (bool, error) {
		return r.trust(r.uuid) != Dead && slices.Contains(q.file.Locations, r.uuid), nil // whatever is assumed: this is what keeps content
	}})
}

// inPreferredDir matches what is directly in a directory of that name. (Deeper down it does not match, as in git-annex.)
func (r *reader) inPreferredDir() (*node, error) {
	dir := r.logs.PreferredDir[r.uuid]
	if dir == "" {
		dir = "public"
	}
	return leaf(term{word: "inpreferreddir", needs: Path, match: func(q *question) (bool, error) {
		return q.file.Path != "" && slices.Contains(strings.SplitAfter(path.Dir(q.file.Path), "/"), dir), nil
	}})
}

// count counts the locations that are known to have the content and that good says yes to; nil says yes to all.
func (r *reader) count(q *question, good func(uuid string) bool) int {
	n := 0
	for _, uuid := range q.file.Locations {
		if uuid != q.absent && r.trust(uuid) != Dead && (good == nil || good(uuid)) {
			n++
		}
	}
	return n
}

// copies is copies=N, copies=LEVEL:N, copies=LEVEL+:N, copies=GROUP:N or copies=LIMIT=N. A level's name is never a group's.
func (r *reader) copies(word, value string) (*node, error) {
	var (
		good  func(uuid string) bool
		kind  string
		needs = Locations | Trusts
	)
	switch name, number, how := cutNumber(value); how {
	case ":":
		value = number
		kind = " in " + name
		if level, known := trustLevels[strings.TrimSuffix(name, "+")]; !known {
			good = r.in(name)
			needs |= Groups
		} else if strings.HasSuffix(name, "+") {
			good = func(uuid string) bool { return r.trust(uuid) >= level }
		} else {
			good = func(uuid string) bool { return r.trust(uuid) == level }
		}
	case "=":
		value = number
		kind = " in " + name
		good = r.limit(name)
		needs |= Groups
	}
	needed, err := parseNumber(value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", word, err)
	}
	return leaf(term{
		word: word, needs: needs,
		match: func(q *question) (bool, error) { return r.count(q, good) >= needed, nil },
		why: func(q *question) string {
			return fmt.Sprintf("%s known%s, %d needed", plural(r.count(q, good), "copy", "copies"), kind, needed)
		},
	})
}

// lackingCopies is lackingcopies=N and approxlackingcopies=N: to satisfy numcopies, N copies or more are missing. Before N there may be a GROUP: or
// a LIMIT= whose repositories alone count.
func (r *reader) lackingCopies(word, value string, approx bool) (*node, error) {
	var counts func(uuid string) bool
	switch name, number, how := cutNumber(value); how {
	case ":":
		value, counts = number, r.in(name)
	case "=":
		value, counts = number, r.limit(name)
	}
	needed, err := parseNumber(value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", word, err)
	}
	l := r.lacking(approx, counts)
	return leaf(term{
		word: word, needs: l.needs, why: l.why,
		match: func(q *question) (bool, error) {
			n, err := l.number(q)
			return err == nil && n >= needed, err
		},
	})
}

// lack is how many copies are missing to satisfy numcopies.
type lack struct {
	needs  Facts
	number func(*question) (int, error) // less than 0 when there are more
	why    func(*question) string
}

// lacking counts the copies that counts says yes to; nil says yes to all. approx does not look at what is set for the file.
func (r *reader) lacking(approx bool, counts func(uuid string) bool) lack {
	trusted := func(uuid string) bool { return r.trust(uuid) > Untrusted && (counts == nil || counts(uuid)) }
	wanted := func(q *question) (int, error) {
		if !approx && q.file.Path != "" && q.file.NumCopies != nil {
			if n, err := q.file.NumCopies(q.file.Path); n > 0 || err != nil {
				return n, err
			}
		}
		return max(r.logs.NumCopies, 1), nil
	}
	l := lack{needs: Locations | Trusts}
	if !approx {
		l.needs |= Path | NumCopies
	}
	if counts != nil {
		l.needs |= Groups
	}
	l.number = func(q *question) (int, error) {
		n, err := wanted(q)
		return n - r.count(q, trusted), err
	}
	l.why = func(q *question) string {
		n, err := wanted(q)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%s counted, numcopies is %d", plural(r.count(q, trusted), "copy", "copies"), n)
	}
	return l
}

// inAllGroup matches what all members of the group have; of a group without members, everything.
func (r *reader) inAllGroup(word, group string) (*node, error) {
	members := r.members[group]
	has := func(q *question) int { return r.count(q, r.in(group)) }
	return leaf(term{
		word: word, needs: Locations | Trusts | Groups,
		match: func(q *question) (bool, error) { return has(q) == len(members), nil },
		why:   func(q *question) string { return fmt.Sprintf("%d of %d have it", has(q), len(members)) },
	})
}

// onlyInGroup matches what a member of the group has and nobody else.
func (r *reader) onlyInGroup(word, group string) (*node, error) {
	in := func(q *question) (inside, outside int) {
		inside = r.count(q, r.in(group))
		return inside, r.count(q, nil) - inside
	}
	return leaf(term{
		word: word, needs: Locations | Trusts | Groups,
		match: func(q *question) (bool, error) {
			inside, outside := in(q)
			return inside > 0 && outside == 0, nil
		},
		why: func(q *question) string {
			inside, outside := in(q)
			return fmt.Sprintf("%s in the group, %d outside", plural(inside, "copy", "copies"), outside)
		},
	})
}

func urlTerm(word, value string) (*node, error) {
	g, err := compileGlob(value, textGlob)
	if err != nil {
		return nil, err
	}
	return leaf(term{word: word, needs: URLs, match: func(q *question) (bool, error) {
		if q.file.URLs == nil {
			return false, nil
		}
		urls, err := q.file.URLs()
		return slices.ContainsFunc(urls, g.match), err
	}})
}

// backend gives the name of a key's backend.
func backend(key string) string {
	name, _, _ := strings.Cut(key, "-")
	return name
}

// isSecure says whether content cannot be made that has the key of other content (Types/Key.hs). What an external backend says of itself is not
// known, so it is not.
func isSecure(key string) bool {
	name := backend(key)
	for _, family := range []string{"SHA2", "SHA3", "SHA512", "SHA384", "SKEIN", "BLAKE2"} {
		if strings.HasPrefix(name, family) {
			return true
		}
	}
	return false
}

// parseNumber reads a number as Haskell's reads does: what follows it does not count, unless that would make it another kind of number.
func parseNumber(s string) (int, error) {
	digits := strings.TrimPrefix(s, "-")
	end := strings.IndexFunc(digits, func(c rune) bool { return c < '0' || c > '9' })
	if end < 0 {
		end = len(digits)
	}
	rest := digits[end:]
	digits = s[:len(s)-len(rest)]
	if len(rest) > 1 && strings.ContainsRune(".eExXoObB", rune(rest[0])) {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return n, nil
}

func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + more
}
