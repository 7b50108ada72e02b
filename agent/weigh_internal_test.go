package agent

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/wanted"
)

// weighedWorld is a laptop, where files come from, and stores that share them by how full they are. Each knows of the others what has come to its ears.
type weighedWorld struct {
	t      *rapid.T
	most   map[string]int64 // of the stores
	clones map[string]*weighedClone
	has    map[string]map[annex.Key]bool // the truth, by clone
	got    int                           // contents that have come to a store
}

type weighedClone struct {
	*holders
	logged map[annex.Key][]string // its location log
	unread []annex.Key            // files that it does not know yet, in their order
	told   []toldOf               // what others have told and it has not heard
}

// toldOf is news of a content at a clone.
type toldOf struct {
	clone string
	key   annex.Key
}

func (w *weighedWorld) weigh(id string, keys ...annex.Key) {
	c := w.clones[id]
	for _, k := range keys {
		if len(c.named[k]) > 0 {
			c.weigh(k, c.logged[k], w.has[id][k])
		}
	}
}

// change has a clone get or lose a content, and tell the others.
func (w *weighedWorld) change(id string, k annex.Key, present bool) {
	delete(w.has[id], k)
	if present {
		w.has[id][k] = true
		w.got++
	}
	w.weigh(id, k)
	sum := int64(0)
	for k := range w.has[id] {
		size, _ := k.Size()
		sum += size
	}
	if most, store := w.most[id]; store && sum > most {
		w.t.Fatalf("%s has %d bytes of %d", id, sum, most)
	}
	for other, c := range w.clones {
		if other != id {
			c.told = append(c.told, toldOf{id, k})
		}
	}
}

// hear has a clone know what it was told first.
func (w *weighedWorld) hear(id string) {
	c := w.clones[id]
	who, k := c.told[0].clone, c.told[0].key
	c.told = c.told[1:]
	said := without(c.said[k], []string{who})
	if w.has[who][k] {
		said = append(said, who)
	}
	c.said[k] = said
	w.weigh(id, k)
}

// read has a clone know the location log as it is when all have written.
func (w *weighedWorld) read(id string) {
	c := w.clones[id]
	used := make(map[string]int64)
	clear(c.logged)
	for _, other := range slices.Sorted(maps.Keys(w.has)) {
		for k := range w.has[other] {
			size, _ := k.Size()
			used[other] += size
			c.logged[k] = append(c.logged[k], other)
		}
	}
	c.counted(used)
	keys := slices.Collect(maps.Keys(c.named))
	sortKeys(keys)
	w.weigh(id, keys...)
}

// step does one thing that can be done; false when there is none. What a clone finds out by waiting is not among it.
func (w *weighedWorld) step() bool {
	var can []func()
	for _, id := range slices.Sorted(maps.Keys(w.clones)) {
		c := w.clones[id]
		if len(c.unread) > 0 {
			can = append(can, func() {
				n := rapid.IntRange(1, len(c.unread)).Draw(w.t, "files")
				batch := slices.Clone(c.unread[:n])
				c.unread = c.unread[n:]
				sortKeys(batch)
				for _, k := range batch {
					c.name(k, k.String())
				}
				w.weigh(id, batch...)
			})
		}
		if len(c.told) > 0 {
			can = append(can, func() { w.hear(id) })
		}
		moving := slices.Collect(maps.Keys(c.moves))
		sortKeys(moving)
		for _, k := range moving {
			m := c.moves[k]
			others := slices.DeleteFunc(slices.Sorted(maps.Keys(w.has)), func(other string) bool { return other == id || !w.has[other][k] })
			if slices.Contains(m.to, id) && len(others) > 0 {
				can = append(can, func() { w.change(id, k, true) })
				break
			}
			if slices.Contains(m.from, id) && len(others) > 0 {
				can = append(can, func() { w.change(id, k, false) })
				break
			}
		}
	}
	if len(can) == 0 {
		return false
	}
	can[rapid.IntRange(0, len(can)-1).Draw(w.t, "what")]()
	if rapid.IntRange(0, 9).Draw(w.t, "log") == 0 {
		w.read(rapid.SampledFrom(slices.Sorted(maps.Keys(w.clones))).Draw(w.t, "who"))
	}
	return true
}

// wait is what happens after a while: the log is with everybody, and what did not come where it was to go is looked at again.
func (w *weighedWorld) wait() {
	for _, id := range slices.Sorted(maps.Keys(w.clones)) {
		w.read(id)
	}
	for _, id := range slices.Sorted(maps.Keys(w.clones)) {
		c := w.clones[id]
		clear(c.arrived)
		for k, m := range c.moves {
			m.since = time.Time{}
			c.moves[k] = m
		}
		keys := c.hanging()
		c.letGo(keys)
		w.weigh(id, keys...)
	}
}

// However late and in whatever order clones hear of files and of each other: all files come to the stores, no store is filled beyond its maxsize, and
// there is an end to it.
func TestWeighingComesToRest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "git", "init", "-q", dir).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v: %s", err, out)
	}
	git, err := gitrepo.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer git.Close()
	repo, err := annex.Init(t.Context(), git, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	rapid.Check(t, func(t *rapid.T) {
		fully := rapid.SampledFrom([]string{"", "fully"}).Draw(t, "fully")
		copies := rapid.IntRange(1, 2).Draw(t, "copies")
		w := &weighedWorld{t: t, most: make(map[string]int64), clones: make(map[string]*weighedClone), has: make(map[string]map[annex.Key]bool)}
		logs := wanted.Logs{Preferred: make(map[string]string), Groups: make(map[string][]string), MaxSize: w.most}
		for i := range rapid.IntRange(copies, 4).Draw(t, "stores") {
			id := fmt.Sprint("store ", i)
			w.most[id] = rapid.Int64Range(8000, 40_000).Draw(t, "maxsize")
			logs.Preferred[id], logs.Groups[id] = fmt.Sprintf("%ssizebalanced=g:%d", fully, copies), []string{"g"}
		}
		settings := wanted.New(logs)
		var keys []annex.Key
		for i, size := range rapid.SliceOfN(rapid.Int64Range(1, 250), 1, 30).Draw(t, "sizes") {
			keys = append(keys, annex.KeyFor(sha256.Sum256(fmt.Append(nil, i)), size, "", 0))
		}
		for _, id := range append(slices.Collect(maps.Keys(w.most)), "laptop") {
			c := &weighedClone{holders: newHolders(), logged: make(map[annex.Key][]string), unread: slices.Clone(keys)}
			c.self, c.repo, c.settings = id, repo, settings
			c.setWeighing(settings.Weighing())
			w.clones[id], w.has[id] = c, make(map[annex.Key]bool)
		}
		for _, k := range keys {
			w.has["laptop"][k] = true
			for _, c := range w.clones {
				c.said[k] = []string{"laptop"}
			}
		}
		rounds := 0
		for got := -1; got != w.got; rounds++ {
			got = w.got
			for w.step() {
			}
			w.wait()
			if rounds > 100 {
				t.Fatalf("no end after %d contents have come", w.got)
			}
			if w.step() {
				got = -1
			}
		}
		for _, k := range keys {
			n := 0
			for id := range w.most {
				if w.has[id][k] {
					n++
				}
			}
			if n < copies || fully != "" && n > copies {
				t.Fatalf("%d stores have %s", n, k)
			}
		}
		most := 2 * (len(keys)*copies + 1)
		if fully != "" {
			most *= 2
		}
		if w.got > most {
			t.Fatalf("%d contents have come for %d", w.got, len(keys)*copies)
		}
	})
}

// TestCommitsBetween: where contents go by how full the repositories are, commits that come at once are taken in one by one, as by those to whom they
// came alone.
func TestCommitsBetween(t *testing.T) {
	t.Parallel()
	git, err := gitrepo.Init(t.Context(), t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer git.Close()
	commit := func(message string, parents ...gitrepo.Hash) gitrepo.Hash {
		h, err := git.NewCommit(t.Context(), gitrepo.NewCommit{Parents: parents, Message: message})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	first := commit("first")
	second := commit("second", first)
	third := commit("third", second)
	side := commit("side", first)
	merge := commit("merge", third, side)
	for _, test := range []struct {
		name     string
		weighing []string
		from, to gitrepo.Hash
		want     []gitrepo.Hash
	}{
		{"several", []string{"store"}, first, third, []gitrepo.Hash{second, third}},
		{"a merge into ours", []string{"store"}, first, merge, []gitrepo.Hash{second, third, merge}},
		{"a merge of ours", []string{"store"}, side, merge, []gitrepo.Hash{merge}},
		{"one", []string{"store"}, second, third, []gitrepo.Hash{third}},
		{"none", []string{"store"}, third, third, nil},
		{"the way back", []string{"store"}, third, first, []gitrepo.Hash{first}},
		{"all", []string{"store"}, gitrepo.Hash{}, third, []gitrepo.Hash{third}},
		{"where nobody weighs", nil, first, third, []gitrepo.Hash{third}},
	} {
		c := &clone{git: git, want: contents{holders: newHolders()}}
		c.want.setWeighing(test.weighing)
		if got := c.commitsBetween(test.from, test.to); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
