package wanted

import (
	"slices"
	"strings"
)

// node is a part of an expression that was read. The nil node is the one that says nothing, and matches.
type node struct {
	kind        kind
	left, right *node // what and, or, not and called are about; right of and and or only
	term        term  // of isTerm and called
}

type kind byte

const (
	isTerm kind = iota
	isAnd
	isOr
	isNot
	called // a word that stands for another expression, in left
)

// term is one word of an expression that looks at a file.
type term struct {
	word  string
	needs Facts
	// unstable is a term that asks whether the repository has the content: negated, it would be got and dropped for ever.
	unstable bool
	match    func(*question) (bool, error)
	why      func(*question) string // the figures behind the match; nil where the word says it all
}

// question is what an expression is asked: does the repository want the file?
type question struct {
	file   *File
	absent string // the repository that is taken not to have the content, whatever the locations say; or ""
}

func both(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return &node{kind: isAnd, left: a, right: b}
}

func either(a, b *node) *node { return &node{kind: isOr, left: a, right: b} }

func opposite(n *node) *node { return &node{kind: isNot, left: n} }

func (n *node) match(q *question) (bool, error) {
	if n == nil {
		return true, nil
	}
	switch n.kind {
	case isAnd:
		if ok, err := n.left.match(q); !ok || err != nil {
			return false, err
		}
		return n.right.match(q)
	case isOr:
		if ok, err := n.left.match(q); ok || err != nil {
			return ok, err
		}
		return n.right.match(q)
	case isNot:
		ok, err := n.left.match(q)
		return !ok && err == nil, err
	case called:
		return n.left.match(q)
	default:
		return n.term.match(q)
	}
}

// explain is match, and adds the terms that decided: those of both sides of an "and" that matches, of the one side that keeps it from
// matching otherwise, and the other way round for "or".
func (n *node) explain(q *question, reasons []Reason) (bool, []Reason, error) {
	if n == nil {
		return true, reasons, nil
	}
	switch n.kind {
	case isAnd, isOr:
		decides, before := n.kind == isOr, len(reasons)
		ok, reasons, err := n.left.explain(q, reasons)
		if ok == decides || err != nil {
			return ok, reasons, err
		}
		between := len(reasons)
		ok, reasons, err = n.right.explain(q, reasons)
		if ok == decides {
			reasons = slices.Delete(reasons, before, between)
		}
		return ok, reasons, err
	case isNot:
		ok, reasons, err := n.left.explain(q, reasons)
		return !ok && err == nil, reasons, err
	case called:
		return n.left.explain(q, reasons)
	default:
		ok, err := n.term.match(q)
		if err != nil {
			return false, reasons, err
		}
		r := Reason{Term: n.term.word, Match: ok}
		if n.term.why != nil {
			r.Why = n.term.why(q)
		}
		return ok, append(reasons, r), nil
	}
}

// needs gives what the node looks at.
func (n *node) needs() Facts {
	if n == nil {
		return 0
	}
	return n.term.needs | n.left.needs() | n.right.needs()
}

// unstable says whether a term that must not be is negated.
func (n *node) unstable(negated bool) bool {
	if n == nil {
		return false
	}
	if n.kind == isNot {
		negated = !negated
	}
	return n.term.unstable && negated || n.left.unstable(negated) || n.right.unstable(negated)
}

// write writes the node so that parse reads it again. expand puts in place of a word what it stands for.
func (n *node) write(b *strings.Builder, expand bool) {
	switch {
	case n == nil:
		b.WriteString("()")
	case n.kind == isTerm || n.kind == called && !expand:
		b.WriteString(n.term.word)
	case n.kind == called:
		n.left.write(b, expand)
	case n.kind == isNot:
		b.WriteString("not ")
		n.left.writeOperand(b, expand)
	default:
		n.left.write(b, expand)
		if n.kind == isAnd {
			b.WriteString(" and ")
		} else {
			b.WriteString(" or ")
		}
		n.right.writeOperand(b, expand)
	}
}

// writeOperand is write for what follows an operator.
func (n *node) writeOperand(b *strings.Builder, expand bool) {
	switch {
	case n == nil || n.kind == isTerm || n.kind == isNot || n.kind == called && !expand:
		n.write(b, expand)
	case n.kind == called:
		n.left.writeOperand(b, expand)
	default:
		b.WriteByte('(')
		n.write(b, expand)
		b.WriteByte(')')
	}
}

// text gives the expression, "" when it says nothing.
func (n *node) text(expand bool) string {
	if n == nil {
		return ""
	}
	var b strings.Builder
	n.write(&b, expand)
	return b.String()
}
