package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/wanted"
)

// Some repositories want contents by how full all are (sizebalanced= and its kin). What each has is what the location logs say, and what they do not say
// yet: what somebody has told, and what is on its way. Each clone finds out for every content to whom it is to go, in the same order, commit by commit,
// and counts it as theirs from then on; so a burst of files is spread before the first of them has come anywhere. Clones may find different things when
// commits come to them in a different order. So what is to go to others and does not come there is looked at again, and what is to come here stays in
// the queue.

const (
	// weighDelay is how long a change of what the repositories have waits for others before contents are looked at again.
	weighDelay = 2 * time.Second
	// weighBatch is how many contents are looked at in one go.
	weighBatch = 500
	// weighShare is how much longer than one go the pause after it is: where all verdicts hang on sizes, as with fullysizebalanced=, any change asks for
	// a look at all contents, which must not take more than a small part of a processor.
	weighShare = 50
	// weighSteps is how many commits that come at once are taken in one by one.
	weighSteps = 500
	// weighPatience is how long nothing may come to a repository before what is on its way there is looked at again.
	weighPatience = 30 * time.Second
)

// scales are what the repositories have. The mutex of holders guards them.
type scales struct {
	weighing []string              // who wants contents by what the repositories have; where nobody does, nothing else is kept here
	logged   map[string]int64      // bytes by repository, by the location logs
	use      map[string]wanted.Use // likewise, with the moves
	moves    map[annex.Key]move
	hang     map[annex.Key]bool   // contents whose verdicts hang on sizes
	arrived  map[string]time.Time // when a content on its way to a repository has last come there
	loggedAt time.Time            // when logged has last changed
	again    bool                 // that was since a look at hang began
}

// move is what the location logs do not say about a content. It is kept also where there is nothing to say, if that hangs on sizes.
type move struct {
	have, paths []string // what it follows from: who has it, and its names
	news, gone  []string // who has it, or has it no more
	to, from    []string // who is to get it, and to lose it
	since       time.Time
}

// readSizes takes in what the location logs say that the repositories have.
func (c *clone) readSizes(ctx context.Context) error {
	if !c.want.weighs() {
		return nil
	}
	used, err := c.annex.Used(ctx)
	if err != nil {
		return fmt.Errorf("find out how full the repositories are: %w", err)
	}
	if unsaid, changed := c.want.counted(used); changed {
		c.consider(unsaid...)
		c.agenda.in(taskWeigh, weighDelay)
	}
	return nil
}

// weighs reports whether anybody wants contents by what the repositories have.
func (h *holders) weighs() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.weighing) > 0
}

// setWeighing takes in who wants contents by what the repositories have, after settings have changed. What was found before is void.
func (h *holders) setWeighing(ids []string) {
	h.scales = scales{weighing: ids}
	if len(ids) > 0 {
		h.use, h.moves = make(map[string]wanted.Use), make(map[annex.Key]move)
		h.hang, h.arrived = make(map[annex.Key]bool), make(map[string]time.Time)
	}
}

// counted takes in what the location logs say now. It gives the contents of which they did not say all before.
func (h *holders) counted(used map[string]int64) (unsaid []annex.Key, changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.logged != nil && maps.Equal(used, h.logged) {
		return nil, false
	}
	for id, n := range used {
		h.add(id, n-h.logged[id], n-h.logged[id])
	}
	for id, n := range h.logged {
		if _, still := used[id]; !still {
			h.add(id, -n, -n)
		}
	}
	h.logged, h.loggedAt, h.again = used, time.Now(), true
	for k, m := range h.moves {
		if len(m.news)+len(m.gone) > 0 {
			unsaid = append(unsaid, k)
		}
	}
	sortKeys(unsaid)
	return unsaid, true
}

// add counts bytes of a repository. The mutex is held.
func (h *holders) add(id string, now, then int64) {
	u := h.use[id]
	h.use[id] = wanted.Use{Now: u.Now + now, Then: u.Then + then}
}

// count counts a move, or takes it off again when times is -1. The mutex is held.
func (h *holders) count(k annex.Key, m move, times int64) {
	size, _ := k.Size()
	size = max(size, 0) * times
	for _, id := range slices.Concat(m.news, m.to) {
		h.add(id, size, size)
	}
	for _, id := range m.gone {
		h.add(id, -size, -size)
	}
	for _, id := range m.from { // until it has gone it takes room
		h.add(id, 0, -size)
	}
}

// weigh finds out who is to get a content and who to lose it. That stands until it has come about, or something else has. The mutex is held.
func (h *holders) weigh(k annex.Key, logged []string, here bool) move {
	have := h.have(k, logged)
	if here {
		have = append(have, h.self)
	}
	m := move{have: have, paths: h.named[k], news: without(have, logged), gone: without(logged, have), since: time.Now()}
	old, known := h.moves[k]
	h.forgetMove(k)
	h.count(k, m, 1)
	came, left := without(have, old.have), without(old.have, have)
	if known && slices.Equal(old.paths, m.paths) && len(without(came, old.to))+len(without(left, old.from)) == 0 {
		for _, id := range came {
			h.arrived[id] = m.since
		}
		m.to, m.from, m.since = without(old.to, came), without(old.from, left), old.since
	} else {
		m.to, m.from = h.judge(k, have)
	}
	h.count(k, move{to: m.to, from: m.from}, 1)
	if len(m.paths) > 0 && (h.hang[k] || len(m.news)+len(m.gone)+len(m.to)+len(m.from) > 0) {
		h.moves[k] = m
	} else { // nobody would take it off
		h.count(k, m, -1)
		delete(h.hang, k)
	}
	return m
}

// forgetMove takes off what is known of a content beside the location logs. The mutex is held.
func (h *holders) forgetMove(k annex.Key) {
	if m, ok := h.moves[k]; ok {
		h.count(k, m, -1)
		delete(h.moves, k)
	}
}

// forgetMoves is forgetMove of all. The mutex is held.
func (h *holders) forgetMoves() {
	for k := range h.moves {
		h.forgetMove(k)
	}
	clear(h.hang)
}

// commitsBetween gives the commits by which a branch has come from one to another, without the first. Where nobody weighs, it does not matter how it came
// there.
func (c *clone) commitsBetween(from, to gitrepo.Hash) []gitrepo.Hash {
	if from == to {
		return nil
	}
	between := []gitrepo.Hash{to}
	for !from.IsZero() && c.want.weighs() {
		commit, err := c.git.Commit(between[len(between)-1])
		if err != nil || len(commit.Parents) == 0 || len(between) == weighSteps {
			break // it has not come there by steps of its own, or by many
		}
		if commit.Parents[0] == from {
			slices.Reverse(between)
			return between
		}
		between = append(between, commit.Parents[0])
	}
	return between[:1]
}

// judge asks all who weigh whether they want a content, or want to drop it. The mutex is held.
func (h *holders) judge(k annex.Key, have []string) (to, from []string) {
	delete(h.hang, k)
	file := func(path string) *wanted.File {
		f := h.repo.WantedFile(context.Background(), k, path, have)
		f.Used = func() (map[string]wanted.Use, error) {
			h.hang[k] = true
			return h.use, nil
		}
		return f
	}
	for _, id := range h.weighing {
		switch has := slices.Contains(have, id); {
		case has && !h.ask(k, func(path string) (bool, error) {
			drop, err := h.settings.WantsDrop(id, file(path))
			return !drop, err
		}):
			from = append(from, id)
		case !has && h.ask(k, func(path string) (bool, error) { return h.settings.Wants(id, file(path)) }):
			to = append(to, id)
		}
	}
	return to, from
}

// moveOf is what weigh has found. The mutex is held.
func (h *holders) moveOf(k annex.Key) move {
	if m, ok := h.moves[k]; ok {
		return m
	}
	logged, err := h.repo.Locations(context.Background(), k)
	if err != nil {
		return move{}
	}
	return h.weigh(k, logged, h.repo.Has(k))
}

// useBeside gives what the repositories have but for the moves of a content: what its own move followed from.
func (h *holders) useBeside(k annex.Key) map[string]wanted.Use {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.moves[k]
	mine := move{to: m.to, from: m.from}
	h.count(k, mine, -1)
	defer h.count(k, mine, 1)
	return maps.Clone(h.use)
}

// hanging gives the contents whose verdicts hang on sizes, in the order in which all clones look at them.
func (h *holders) hanging() []annex.Key {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.again = false
	keys := slices.Collect(maps.Keys(h.hang))
	sortKeys(keys)
	return keys
}

// letGo forgets the moves of contents, but of those that are under way.
func (h *holders) letGo(keys []annex.Key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range keys {
		m := h.moves[k]
		if !slices.ContainsFunc(m.to, func(id string) bool {
			return id == h.self || time.Since(m.since) < weighPatience || time.Since(h.arrived[id]) < weighPatience
		}) {
			h.forgetMove(k)
		}
	}
}

// nextWeighing says when contents are to be looked at again, if at all: what is on its way to others may have to go elsewhere. It is waited for the
// longer the longer nothing has come.
func (h *holders) nextWeighing() (time.Duration, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.again {
		return weighDelay, true
	}
	for _, m := range h.moves {
		if len(m.to) > 0 && !slices.Contains(m.to, h.self) {
			return max(weighPatience, time.Since(h.loggedAt)), true
		}
	}
	return 0, false
}

// weighAgain looks again at some of the contents whose verdicts hang on sizes, and plans when to look at the next.
func (c *clone) weighAgain() {
	if !c.want.weighs() {
		return
	}
	began := time.Now()
	if len(c.want.round) == 0 {
		c.want.round = c.want.hanging()
	}
	batch := c.want.round[:min(weighBatch, len(c.want.round))]
	c.want.round = c.want.round[len(batch):]
	batch = slices.DeleteFunc(slices.Clone(batch), func(k annex.Key) bool { return len(c.want.named[k]) == 0 })
	c.want.letGo(batch)
	c.consider(batch...)
	c.lacking(slices.DeleteFunc(batch, func(k annex.Key) bool { return c.want.missing[k] })...)
	if len(c.want.round) > 0 {
		c.agenda.in(taskWeigh, weighDelay+weighShare*time.Since(began))
	} else if d, ok := c.want.nextWeighing(); ok {
		c.agenda.in(taskWeigh, d)
	}
}

// without gives those of all that are not among some.
func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(id string) bool { return slices.Contains(some, id) })
}

func sortKeys(keys []annex.Key) {
	slices.SortFunc(keys, func(a, b annex.Key) int { return strings.Compare(a.String(), b.String()) })
}
