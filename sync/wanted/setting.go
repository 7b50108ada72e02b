package wanted

import "slices"

// A Setting is what is set for one repository, in the words of the logs.
type Setting struct {
	Groups           []string
	Wanted, Required string // expressions; "" where none is set
	// Means is Wanted with what standard and groupwanted stand for in their place; "" where it has neither.
	Means string
	// Void are those of the two words in Wanted that stand for nothing here but what the repository has: not exactly one of its groups
	// has an expression.
	Void []string
	// Problem is why the repository is not treated as the expressions say; nil when it is.
	Problem error
}

// Of gives what is set for a repository.
func (s *Settings) Of(uuid string) Setting {
	set := Setting{
		Groups: slices.Clone(s.logs.Groups[uuid]), Wanted: s.logs.Preferred[uuid], Required: s.logs.Required[uuid], Problem: s.Problem(uuid),
	}
	words := expressionWords(set.Wanted)
	for _, w := range s.groupWords() {
		if _, ok := s.groupWants(uuid, w.lookup); !ok && slices.Contains(words, w.word) {
			set.Void = append(set.Void, w.word)
		}
	}
	if n, err := s.parse(uuid, set.Wanted, true, true); err == nil && n.text(true) != n.text(false) {
		set.Means = n.text(true)
	}
	return set
}

// Join gives what is to be set for a repository so that it wants what its group says: the groups, and the word. It leaves the others for
// which the same word would stand. ok is false when the group says nothing.
func (s *Settings) Join(uuid, group string) (groups []string, word string, ok bool) {
	for _, w := range s.groupWords() {
		if expression, _ := w.lookup(group); expression == "" {
			continue
		}
		groups = slices.DeleteFunc(slices.Clone(s.logs.Groups[uuid]), func(other string) bool {
			_, has := w.lookup(other)
			return has
		})
		return append(groups, group), w.word, true
	}
	return nil, "", false
}

// groupWord is a word that stands for what a repository's group wants, and how that is found.
type groupWord struct {
	word   string
	lookup func(group string) (expression string, ok bool)
}

func (s *Settings) groupWords() []groupWord {
	return []groupWord{{"standard", standardGroup}, {"groupwanted", s.groupExpression}}
}

// groupExpression gives what is set for a group (git-annex-groupwanted(1)).
func (s *Settings) groupExpression(group string) (string, bool) {
	expression, ok := s.logs.GroupWanted[group]
	return expression, ok
}
