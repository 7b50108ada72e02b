package wanted

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// balanced is balanced=GROUP[:N] and fullybalanced=GROUP[:N]: N members of the group, chosen by the key, want the content. Of balanced= it is enough
// that some N have it, and who has it keeps it.
func (r *reader) balanced(word, value string, partly bool) (*node, error) {
	group, number, several := strings.Cut(value, ":")
	n := 1
	if several {
		var err error
		if n, err = parseNumber(number); err != nil {
			return nil, fmt.Errorf("%s: %w", word, err)
		}
	}
	members := r.members[group]
	if slices.ContainsFunc(members, func(uuid string) bool { return r.logs.MaxSize[uuid] }) {
		return nil, fmt.Errorf("%q needs the sizes of the repositories in group %s, which are not known", word, group)
	}
	chosen := func(q *question) bool { return slices.Contains(pick(members, q.file.Key, n), r.uuid) }
	if !partly {
		return leaf(term{word: word, needs: Groups, match: func(q *question) (bool, error) { return chosen(q), nil }})
	}
	present, err := r.present()
	if err != nil {
		return nil, err
	}
	copies, err := r.copies(word, fmt.Sprintf("%s:%d", group, n))
	if err != nil {
		return nil, err
	}
	return leaf(term{
		word: word, needs: present.needs() | copies.needs(), unstable: true, why: copies.term.why,
		match: func(q *question) (bool, error) {
			if here, err := present.match(q); here || err != nil {
				return here, err
			}
			enough, err := copies.match(q)
			return err == nil && !enough && chosen(q), err
		},
	})
}

// pick gives the n members, of a sorted list, that the content of a key goes to (Annex/Balanced.hs).
func pick(members []string, key string, n int) []string {
	if len(members) == 0 {
		return nil
	}
	mac := hmac.New(sha256.New, []byte(strings.Join(members, "")))
	mac.Write([]byte(key))
	sum := new(big.Int).SetBytes(mac.Sum(nil))
	first := int(sum.Mod(sum, big.NewInt(int64(len(members)))).Int64())
	var picked []string
	for i := range min(n, len(members)) {
		picked = append(picked, members[(first+i)%len(members)])
	}
	return picked
}
