package wanted

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// balanced is balanced=GROUP[:N] or sizebalanced=GROUP[:N], with or without fully in front (Limit.hs): N members of the group want the content,
// chosen by its key or by who has the most room; N may be lackingcopies, as many as numcopies lacks but for the copies in the group. Without
// fully it is enough that so many have it, and who has it keeps it.
func (r *reader) balanced(word, name, value string) (*node, error) {
	group, number, _ := strings.Cut(value, ":")
	if strings.Contains(number, ":") {
		return nil, fmt.Errorf("%q has more than one number", word)
	}
	kind, fully := strings.CutPrefix(name, "fully")
	c := &choice{reader: r, members: r.members[group], bySize: kind == "sizebalanced"}
	enough, err := c.seek(word, group, number)
	if err != nil {
		return nil, err
	}
	chosen := term{word: word, needs: c.needs(), match: c.match, why: c.why}
	if fully {
		return leaf(chosen)
	}
	present, err := r.present()
	if err != nil {
		return nil, err
	}
	return leaf(term{
		word: word, needs: present.needs() | enough.needs | chosen.needs, unstable: true,
		match: func(q *question) (bool, error) {
			if here, err := present.match(q); here || err != nil {
				return here, err
			}
			if enough, err := enough.match(q); enough || err != nil {
				return false, err
			}
			return c.match(q)
		},
		why: func(q *question) string {
			if here, _ := present.match(q); here {
				return "it is here"
			}
			why := enough.why(q)
			if enough, err := enough.match(q); enough || err != nil {
				return why
			}
			return why + "; " + c.why(q)
		},
	})
}

// choice says which members of a group are to have content. Those that it would fill beyond their maxsize are never chosen.
type choice struct {
	*reader
	members []string
	bySize  bool // those with the most room, of those that have a maxsize; else by the key
	number  func(*question) (int, error)
	asks    Facts // what number needs
}

// seek reads how many members there are to be. enough says that so many have it.
func (c *choice) seek(word, group, number string) (enough term, err error) {
	if word, limit, _ := strings.Cut(number, "="); word == "lackingcopies" {
		counts, member := c.limit(limit, group), c.in(group)
		shared := c.lacking(false, func(uuid string) bool { return counts(uuid) && !member(uuid) })
		c.number, c.asks = shared.number, shared.needs
		lacking := c.lacking(false, counts)
		return term{
			needs: lacking.needs, why: lacking.why,
			match: func(q *question) (bool, error) {
				n, err := lacking.number(q)
				return err == nil && n < 1, err
			},
		}, nil
	}
	n := 1
	if number != "" {
		if n, err = parseNumber(number); err != nil {
			return term{}, fmt.Errorf("%s: %w", word, err)
		}
	}
	c.number = func(*question) (int, error) { return n, nil }
	copies, err := c.copies(word, fmt.Sprintf("%s:%d", group, n))
	if err != nil {
		return term{}, err
	}
	return copies.term, nil
}

// weighs says whether it matters how full the members are.
func (c *choice) weighs() bool {
	return c.bySize || slices.ContainsFunc(c.members, func(uuid string) bool {
		_, limited := c.logs.MaxSize[uuid]
		return limited
	})
}

func (c *choice) needs() Facts {
	if c.weighs() {
		return c.asks | Groups | Sizes | Locations
	}
	return c.asks | Groups
}

func (c *choice) match(q *question) (bool, error) {
	n, err := c.number(q)
	if err != nil || !slices.Contains(c.members, c.uuid) {
		return false, err
	}
	candidates := c.members
	if c.weighs() {
		used, err := q.used()
		if err != nil {
			return false, err
		}
		if c.bySize {
			ranked := c.ranked(q, used)
			candidates = slices.Sorted(slices.Values(ranked[:max(0, min(n, len(ranked)))]))
		} else {
			candidates = slices.DeleteFunc(slices.Clone(candidates), func(uuid string) bool { return !c.fits(q, uuid, used[uuid]) })
		}
	}
	return slices.Contains(pick(c.members, candidates, q.file.Key, n), c.uuid), nil
}

// used gives what the repositories have.
func (q *question) used() (map[string]Use, error) {
	if q.file.Used == nil {
		return nil, errors.New("what the repositories have is not known")
	}
	return q.file.Used()
}

// fits says whether a member has room for the content, or has no maxsize.
func (c *choice) fits(q *question, uuid string, u Use) bool {
	most, limited := c.logs.MaxSize[uuid]
	if !limited {
		return true
	}
	if !slices.Contains(q.file.Locations, uuid) {
		most -= max(q.file.Size, 0)
	}
	return u.Now <= most
}

// free gives how much of its maxsize a member has free, were the content not there.
func (c *choice) free(q *question, uuid string, u Use) float64 {
	most, used := c.logs.MaxSize[uuid], u.Then
	if slices.Contains(q.file.Locations, uuid) {
		used -= max(q.file.Size, 0)
	}
	return float64(most-used) / float64(most)
}

// ranked gives the members that have a maxsize and room for the content, first those with the largest part of it free.
func (c *choice) ranked(q *question, used map[string]Use) []string {
	var all []string
	free := make(map[string]float64)
	for _, uuid := range c.members {
		if c.logs.MaxSize[uuid] > 0 && c.fits(q, uuid, used[uuid]) {
			all = append(all, uuid)
			free[uuid] = c.free(q, uuid, used[uuid])
		}
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(free[b], free[a]), cmp.Compare(b, a)) })
	return all
}

// why gives what match follows from.
func (c *choice) why(q *question) string {
	n, err := c.number(q)
	if err != nil {
		return err.Error()
	}
	if !slices.Contains(c.members, c.uuid) {
		return "it is not in the group"
	}
	if !c.weighs() {
		return fmt.Sprintf("the key says which %d of %d", n, len(c.members))
	}
	used, err := q.used()
	if err != nil {
		return err.Error()
	}
	most, u := c.logs.MaxSize[c.uuid], used[c.uuid]
	switch {
	case c.bySize && most <= 0:
		return "it has no maxsize"
	case !c.fits(q, c.uuid, u):
		return fmt.Sprintf("no room, %d of its maxsize of %d bytes are used", u.Now, most)
	case c.bySize:
		return fmt.Sprintf("%.1f%% of its maxsize is free, in %d of the group more", 100*c.free(q, c.uuid, u), slices.Index(c.ranked(q, used), c.uuid))
	}
	return fmt.Sprintf("the key says which %d of those that have room", n)
}

// pick gives the n candidates, of a sorted list, that the content of a key goes to, where all may have been candidates (Annex/Balanced.hs).
func pick(all, candidates []string, key string, n int) []string {
	if len(candidates) == 0 || n >= len(candidates) {
		return candidates
	}
	mac := hmac.New(sha256.New, []byte(strings.Join(all, "")))
	mac.Write([]byte(key))
	sum := new(big.Int).SetBytes(mac.Sum(nil))
	first := int(sum.Mod(sum, big.NewInt(int64(len(candidates)))).Int64())
	var picked []string
	for i := range max(0, n) {
		picked = append(picked, candidates[(first+i)%len(candidates)])
	}
	return picked
}
