package wanted

import (
	"fmt"
	"strings"
)

// maxExpression bounds a matching expression, in bytes.
const maxExpression = 64 << 10

// A vocabulary gives the tree of one word of an expression that is not part of the grammar.
type vocabulary func(word string) (*node, error)

// parse reads an expression as git-annex does (Utility/Matcher.hs). "and" and "or" bind equally, left to right; "not" binds to
// the next word or group; words that stand side by side must both match, but only outside of parentheses: inside, a group that
// follows a word without "and" goes on with the condition at hand. Parentheses need not be balanced. Nil is the expression that says nothing.
func parse(text string, words vocabulary) (*node, error) {
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
				top = append(nested[len(nested)-1], item{group: top, grouped: true})
				nested = nested[:len(nested)-1]
			}
		case "and", "or", "not":
			top = append(top, item{word: word})
		default:
			n, err := words(word)
			if err != nil {
				return nil, err
			}
			top = append(top, item{node: n})
		}
	}
	for len(nested) > 0 {
		top = append(nested[len(nested)-1], item{group: top, grouped: true})
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
	node    *node
	group   group
	grouped bool
}

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

// onto gives n followed by the group.
func (g group) onto(n *node) *node {
	for len(g) > 0 {
		n, g = g.step(n)
	}
	return n
}

// step takes one condition from the front of the group and joins it to n.
func (g group) step(n *node) (*node, group) {
	if len(g) == 0 {
		return n, nil
	}
	first, rest := g[0], g[1:]
	switch first.word {
	case "and", "or", "not":
		next, rest := rest.step(nil)
		switch first.word {
		case "or":
			return either(n, next), rest
		case "not":
			return both(n, opposite(next)), rest
		}
		return both(n, next), rest
	}
	if first.grouped {
		return first.group.onto(n), rest
	}
	return both(n, first.node), rest
}
