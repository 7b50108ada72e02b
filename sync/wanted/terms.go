package wanted

import (
	"fmt"
	"strings"
)

// An Expression says which files match. The zero Expression matches all.
type Expression struct{ root *node }

// ParseLargeFiles reads an expression as annex.largefiles and annex.addunlocked have them (git-annex-matching-expression(1)). It asks for Path,
// Size, Type and Encoding of a File.
func ParseLargeFiles(text string) (Expression, error) {
	root, err := parse(text, func(word string) (*node, error) {
		switch name, value, _ := strings.Cut(word, "="); name {
		case "mimetype":
			return magicTerm(word, value, func(f *File) (string, error) { return f.Type() })
		case "mimeencoding":
			return magicTerm(word, value, func(f *File) (string, error) { return f.Encoding() })
		}
		n, err := commonTerm(word)
		if n == nil && err == nil {
			err = notUnderstood(word)
		}
		return n, err
	})
	return Expression{root}, err
}

// IsZero says whether the expression says nothing.
func (e Expression) IsZero() bool { return e.root == nil }

// String gives the expression so that it can be read again.
func (e Expression) String() string { return e.root.text(false) }

// Match says whether the file matches. Its errors are those of the File's functions.
func (e Expression) Match(f *File) (bool, error) { return e.root.match(&question{file: f}) }

func notUnderstood(word string) error { return fmt.Errorf("%q is not understood", word) }

// leaf makes a node of a term.
func leaf(t term) (*node, error) { return &node{term: t}, nil }

// fixed makes a node of a term that looks at nothing.
func fixed(word string, matches bool) (*node, error) {
	return leaf(term{word: word, match: func(*question) (bool, error) { return matches, nil }})
}

// commonTerm reads the terms that all expressions know; nil for any other word.
func commonTerm(word string) (*node, error) {
	switch word {
	case "anything", "nothing":
		return fixed(word, word == "anything")
	case "unused":
		return leaf(term{word: word, needs: Path | Unused, match: func(q *question) (bool, error) {
			if q.file.Path != "" || q.file.Unused == nil {
				return false, nil
			}
			return q.file.Unused()
		}})
	}
	name, value, _ := strings.Cut(word, "=")
	switch name {
	case "include", "exclude":
		return pathTerm(word, value, name == "include")
	case "largerthan", "smallerthan":
		size, err := ParseSize(value)
		if err != nil {
			return nil, err
		}
		return leaf(term{
			word: word,
			match: func(q *question) (bool, error) {
				if name == "largerthan" {
					return q.file.Size > size, nil
				}
				return q.file.Size < size, nil // unknown sizes too, as in git-annex
			},
			why: func(q *question) string {
				if q.file.Size < 0 {
					return "its size is not known"
				}
				return fmt.Sprintf("it has %d bytes", q.file.Size)
			},
		})
	}
	return nil, nil
}

// pathTerm is include= and exclude=. A key that no file has is matched by no glob.
func pathTerm(word, value string, include bool) (*node, error) {
	g, err := compileGlob(value, pathGlob)
	if err != nil {
		return nil, err
	}
	return leaf(term{word: word, needs: Path, match: func(q *question) (bool, error) {
		return (q.file.Path != "" && g.match(q.file.Path)) == include, nil
	}})
}

// magicTerm is mimetype= and mimeencoding=.
func magicTerm(word, value string, ask func(*File) (string, error)) (*node, error) {
	g, err := compileGlob(value, textGlob)
	if err != nil {
		return nil, err
	}
	return leaf(term{word: word, match: func(q *question) (bool, error) {
		name, err := ask(q.file)
		return err == nil && g.match(name), err
	}})
}
