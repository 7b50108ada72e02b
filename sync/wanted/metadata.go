package wanted

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// metadataTerm is metadata=FIELD=GLOB, and with <, <=, > or >= in place of = a comparison: of numbers when both are, else of texts
// (parseMetaDataMatcher in Annex/MetaData.hs).
func metadataTerm(word, value string) (*node, error) {
	field, operator, operand := value, "=", ""
	if at := strings.IndexAny(value, "=<>"); at >= 0 {
		field, operator, operand = value[:at], value[at:at+1], value[at+1:]
		if operator != "=" && strings.HasPrefix(operand, "=") {
			operator, operand = operator+"=", operand[1:]
		}
	}
	if !isField(field) {
		return nil, fmt.Errorf("%s: %q is not a name of a metadata field", word, field)
	}
	field = strings.ToLower(field)
	matches, err := valueMatcher(operator, operand)
	if err != nil {
		return nil, err
	}
	return leaf(term{
		word: word, needs: Metadata,
		match: func(q *question) (bool, error) {
			if q.file.Metadata == nil {
				return false, nil
			}
			values, err := q.file.Metadata()
			return slices.ContainsFunc(values[field], matches), err
		},
	})
}

func valueMatcher(operator, operand string) (func(value string) bool, error) {
	if operator == "=" {
		g, err := compileGlob(operand, valueGlob)
		if err != nil {
			return nil, err
		}
		return g.match, nil
	}
	limit, limitIsNumber := parseReal(operand)
	return func(value string) bool {
		order := strings.Compare(value, operand)
		if number, ok := parseReal(value); ok && limitIsNumber {
			order = cmp.Compare(number, limit)
		}
		switch operator {
		case "<":
			return order < 0
		case "<=":
			return order <= 0
		case ">":
			return order > 0
		}
		return order >= 0
	}, nil
}

var realNumber = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// parseReal reads a number as Haskell writes it.
func parseReal(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	if !realNumber.MatchString(s) {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// isField says whether git-annex takes name for that of a field.
func isField(name string) bool {
	for i, c := range name {
		if !unicode.IsLetter(c) && !unicode.IsNumber(c) && (i == 0 || !strings.ContainsRune("_-.", c)) {
			return false
		}
	}
	return name != ""
}
