package annex

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// sidAnnex is the program that knows all words.
func sidAnnex(t *testing.T) string {
	return filepath.Join(filepath.SplitList(annextest.SidPath(t))[0], "git-annex")
}

// sizeWords are what only the newer git-annex understands.
func sizeWords(random *rand.Rand) []string {
	var words []string
	for range 60 {
		name := []string{"balanced", "fullybalanced", "sizebalanced", "fullysizebalanced"}[random.IntN(4)]
		group := []string{"g1", "g2", "g3", "client", "archive", "nobody"}[random.IntN(6)]
		number := []string{"", "", ":1", ":2", ":3", ":7", ":0", ":-1", ":lackingcopies", ":lackingcopies", ":lackingcopies=g1", ":lackingcopies=-client", ":lackingcopies=archive+g2-g1"}[random.IntN(13)]
		words = append(words, name+"="+group+number)
	}
	return append(words, "copies=g1+g2=2", "copies=client-g1=1", "copies=-archive=3", "copies=g1=1:2", "copies=g1:1=3", "copies=+g2++g1=1", "lackingcopies=client:2", "lackingcopies=trusted:2",
		"lackingcopies=client+archive-g3=1", "lackingcopies=-client=1", "approxlackingcopies=g1:1", "approxlackingcopies=-g2=2", "lackingcopies==2")
}

// Every verdict that follows from what repositories have and may have is git-annex's own.
func TestSizeVerdictsByGitAnnex(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(2026, 10))
	w := newWantedWorld(t, random)
	verdicts, wants := 0, 0
	for round := range 2 {
		w.logs[preferredLog], w.logs[maxSizeLog] = "", ""
		putLogs(t, w.repo, w.logs)
		used, err := w.repo.Used(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		expressions := make(map[string]string)
		words := sizeWords(random)
		for i, uuid := range w.uuids {
			expr := words[random.IntN(len(words))]
			if i%3 == 0 {
				expr = randomExpression(random, words...)
			}
			expressions[uuid] = expr
			w.logs[preferredLog] += fmt.Sprintf("%s %s timestamp=%ds\n", uuid, expr, round+2)
			limits := []int64{2 * used[uuid], 2 * used[uuid], 2 * used[uuid], used[uuid] - 1} // equally full
			if round > 0 {
				limits = []int64{0, used[uuid] - 1, used[uuid], used[uuid] + 1000, 2 * used[uuid], 2*used[uuid] + 6_000_000, 1e12}
			}
			if most := limits[random.IntN(len(limits))]; random.IntN(4) > 0 {
				w.logs[maxSizeLog] += fmt.Sprintf("%ds %s %d\n", round+1, uuid, most)
			}
		}
		settings := w.read(t)
		for i, uuid := range w.uuids {
			if settings.Configured(uuid) {
				wants += w.compare(t, settings, sidAnnex(t), []string{"--want-get-by=", "--want-drop-by="}[(i+round)%2], uuid, expressions[uuid])
				verdicts += len(w.files)
			}
		}
	}
	t.Logf("%d verdicts, %d of them yes", verdicts, wants)
	if verdicts < 5000 || wants < verdicts/5 || wants > verdicts*4/5 {
		t.Errorf("%d verdicts with %d yes are not a test", verdicts, wants)
	}
}

// What repositories have is counted as git-annex counts it, and what was counted step by step is what is counted at once.
func TestUsedByGitAnnex(t *testing.T) {
	t.Setenv("PATH", annextest.SidPath(t))
	r := newAnnex(t)
	dir := r.git.Dir()
	var keys []Key
	for i, name := range []string{"one", "two", "three"} {
		write(t, r, name, fmt.Sprintf("%*d", 10+i, i), 0o644)
		keys = append(keys, addFile(t, r, name, AddOptions{}).Key)
	}
	other, gone := "11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555"
	if err := r.Describe(t.Context(), gone, "gone"); err != nil {
		t.Fatal(err)
	}
	at := func(uuid string, present bool, k ...Key) (all []Location) {
		for _, k := range k {
			all = append(all, Location{Key: k, UUID: uuid, Present: present})
		}
		return all
	}
	setPresent := func(k Key, uuid, present string) {
		run(t, dir, "git", "-c", "annex.alwayscommit=false", "annex", "setpresentkey", k.String(), uuid, present)
	}
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"nothing", func() {}},
		{"some", func() { record(t, r, append(at(r.UUID(), true, keys...), at(other, true, keys[:2]...)...)...) }},
		{"of no known size", func() { record(t, r, at(other, true, mustKey(t, "URL--http&c%%example.org"))...) }},
		{"journalled", func() { setPresent(keys[2], other, "1") }},
		{"journalled otherwise", func() { setPresent(keys[0], other, "0") }},
		{"committed", func() { record(t, r, at(gone, true, keys...)...) }},
		{"removed", func() { record(t, r, at(other, false, keys[2])...) }},
		{"dead, and its history forgotten", func() {
			run(t, dir, "git-annex", "dead", gone)
			run(t, dir, "git-annex", "forget", "--drop-dead", "--force")
			run(t, dir, "git", "update-ref", "-d", ownRef)
			run(t, dir, "git", "reflog", "expire", "--expire=now", "--all")
			run(t, dir, "git", "gc", "-q", "--prune=now")
		}},
	} {
		step.do()
		used, err := r.Used(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		theirs := make(map[string]int64)
		for _, row := range gitAnnex(t, dir, "maxsize")[0]["repositories"].([]any) {
			row := row.(map[string]any)
			theirs[row["uuid"].(string)] = int64(row["size"].(map[string]any)["size"].(float64))
		}
		again, err := openAnnex(t, dir).Used(t.Context())
		for _, all := range []map[string]int64{used, theirs, again} {
			maps.DeleteFunc(all, func(_ string, n int64) bool { return n == 0 })
		}
		if !maps.Equal(used, theirs) || !maps.Equal(again, used) || err != nil {
			t.Errorf("%s: counted %v, at once %v (%v), by git-annex %v", step.name, used, again, err, theirs)
		}
	}
}

// BenchmarkUsed counts what 10,000 logs say, and follows a change of one.
func BenchmarkUsed(b *testing.B) {
	r := manyKeys(b)
	for name, forget := range map[string]bool{"all": true, "one": false} {
		b.Run(name, func(b *testing.B) {
			next := keysBefore
			for b.Loop() {
				b.StopTimer()
				record(b, r, Location{Key: keyOf(b, next), UUID: r.UUID(), Present: next%2 == 0})
				next++
				if forget {
					r.sizes.head, r.sizes.used = gitrepo.Hash{}, nil
				}
				b.StartTimer()
				if _, err := r.Used(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
