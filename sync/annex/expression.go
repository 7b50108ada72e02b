package annex

import (
	"fmt"
	"strings"
)

// maxExpression bounds a matching expression, in bytes.
const maxExpression = 64 << 10

// A candidate is what an expression is asked about: a file that may be added.
type candidate struct {
	path     string // relative to the top of the work tree, with slashes
	size     int64
	encoding func() (string, error) // libmagic's name of the content's character set
}

// A matcher decides about a candidate. The nil matcher matches everything; it is what an empty expression gives.
type matcher func(*candidate) (bool, error)

// A term gives the matcher of one word of an expression that is not part of the grammar.
type term func(word string) (matcher, error)

// parseExpression reads an expression as git-annex does (Utility/Matcher.hs). "and" and "or" bind equally, left to right; "not" binds to
// the next word or group; words that stand side by side must both match, but only outside of parentheses: inside, a group that
// follows a word without "and" goes on with the condition at hand. Parentheses need not be balanced.
func parseExpression(text string, terms term) (matcher, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("expression of %d bytes is too long", len(text))
	}
	var (
		top    group
		nested []group
	)
	for _, word := range expressionWords(text) {
		switch word {
		case "(":
			nested = append(nested, top)
			top = nil
		case ")":
			if len(nested) > 0 {
				top = nested[len(nested)-1].with(item{group: top, grouped: true})
				nested = nested[:len(nested)-1]
			}
		case "and", "or", "not":
			top = top.with(item{word: word})
		default:
			m, err := terms(word)
			if err != nil {
				return nil, err
			}
			top = top.with(item{match: m})
		}
	}
	for len(nested) > 0 {
		top = nested[len(nested)-1].with(item{group: top, grouped: true})
		nested = nested[:len(nested)-1]
	}
	return top.withImpliedAnd().onto(nil), nil
}

// expressionWords splits at white space; a parenthesis is always a word of its own.
func expressionWords(text string) []string {
	return strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text))
}

// group is what stands between two parentheses, or the whole expression.
type group []item

// item is a word of the grammar, a term, or a group.
type item struct {
	word    string
	match   matcher
	group   group
	grouped bool
}

func (g group) with(it item) group { return append(g, it) }

// withImpliedAnd puts "and" between terms and groups that stand side by side.
func (g group) withImpliedAnd() group {
	var all group
	for i, it := range g {
		if i > 0 && it.word == "" && g[i-1].word == "" {
			all = append(all, item{word: "and"})
		}
		all = append(all, it)
	}
	return all
}

// onto gives the matcher of m followed by the group.
func (g group) onto(m matcher) matcher {
	for len(g) > 0 {
		m, g = g.step(m)
	}
	return m
}

// step takes one condition from the front of the group and joins it to m.
func (g group) step(m matcher) (matcher, group) {
	if len(g) == 0 {
		return m, nil
	}
	first, rest := g[0], g[1:]
	switch first.word {
	case "and", "or", "not":
		next, rest := rest.step(nil)
		switch first.word {
		case "or":
			return either(m, next), rest
		case "not":
			return both(m, opposite(next)), rest
		}
		return both(m, next), rest
	}
	if first.grouped {
		return first.group.onto(m), rest
	}
	return both(m, first.match), rest
}

func both(a, b matcher) matcher {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(c *candidate) (bool, error) {
		if ok, err := a(c); !ok || err != nil {
			return false, err
		}
		return b(c)
	}
}

func either(a, b matcher) matcher {
	if a == nil || b == nil {
		return everything
	}
	return func(c *candidate) (bool, error) {
		if ok, err := a(c); ok || err != nil {
			return ok, err
		}
		return b(c)
	}
}

func opposite(m matcher) matcher {
	if m == nil {
		return nothing
	}
	return func(c *candidate) (bool, error) {
		ok, err := m(c)
		return !ok && err == nil, err
	}
}

func everything(*candidate) (bool, error) { return true, nil }

func nothing(*candidate) (bool, error) { return false, nil }
