package annex

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// openAnnex opens the annex at dir until the test ends.
func openAnnex(t testing.TB, dir string) *Repo {
	t.Helper()
	r, err := Open(t.Context(), openGit(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, r)
	return r
}

// mergeFrom merges the git-annex branch of another clone.
func mergeFrom(t testing.TB, r, from *Repo) gitrepo.Hash {
	t.Helper()
	run(t, r.git.Dir(), "git", "fetch", "-q", from.git.Dir(), "git-annex")
	head, err := r.Merge(t.Context(), []gitrepo.Hash{mustHead(t, from)})
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// mentions gives the logs of the branch, but for trust.log, that have a line about a repository.
func mentions(t testing.TB, r *Repo, uuid string) []string {
	t.Helper()
	out, _ := try(t, r.git.Dir(), "git", "grep", "-l", uuid, "git-annex", "--", ":!trust.log")
	return strings.Fields(out)
}

// What git annex forget has forgotten on one machine is forgotten on all, as git-annex does it, and does not come back from those that did not know.
func TestForget(t *testing.T) {
	annextest.Each(t, testForget)
}

func testForget(t *testing.T) {
	a := newAnnex(t)
	var keys []Key
	for _, name := range []string{"one", "two", "three"} {
		write(t, a, name, "content of "+name, 0o644)
		keys = append(keys, addFile(t, a, name, AddOptions{}).Key)
	}
	clones := make(map[string]*Repo)
	for _, name := range []string{"lost", "away"} {
		dir := filepath.Join(annextest.TempDir(t), name)
		run(t, "/", "git", "clone", "-q", a.git.Dir(), dir)
		run(t, dir, "git-annex", "init", "-q", name)
		run(t, dir, "git-annex", "get", "-q", "one", "two")
		run(t, dir, "git-annex", "group", "-q", "here", "client")
		if name == "lost" {
			run(t, dir, "git-annex", "wanted", "-q", "here", "anything")
		}
		run(t, dir, "git-annex", "metadata", "-q", "one", "--set", "author="+name)
		clones[name] = openAnnex(t, dir)
	}
	lost, away := clones["lost"], clones["away"]
	mergeFrom(t, a, lost)
	mergeFrom(t, away, a)
	mergeFrom(t, a, away)
	before := mustHead(t, a)
	record(t, a, Location{Key: keys[2], UUID: lost.UUID(), Present: true})
	run(t, a.git.Dir(), "git-annex", "dead", "-q", "lost")
	run(t, a.git.Dir(), "git-annex", "forget", "-q", "--force", "--drop-dead")
	rewritten := mustHead(t, a)
	if found := mentions(t, a, lost.UUID()); len(found) > 0 || rewritten == before {
		t.Fatalf("git annex forget left %q", found)
	}

	// What the one here has written meanwhile stays; the clone that was away writes on, in what is to be forgotten too.
	for _, h := range []gitrepo.Hash{before, mustHead(t, lost)} {
		if head, err := a.Merge(t.Context(), []gitrepo.Hash{h}); head != rewritten || err != nil {
			t.Errorf("Merge of what was before git annex forget: %s, %v", head, err)
		}
	}
	record(t, away, Location{Key: keys[2], UUID: away.UUID(), Present: true}, Location{Key: keyOf(t, 7), UUID: lost.UUID(), Present: true}, Location{Key: keyOf(t, 7), UUID: away.UUID(), Present: true})
	run(t, away.git.Dir(), "git-annex", "metadata", "-q", "two", "--set", "author=away")
	reference := filepath.Join(annextest.TempDir(t), "reference")
	run(t, "/", "cp", "-a", away.git.Dir(), reference)
	run(t, reference, "git", "fetch", "-q", a.git.Dir(), "git-annex:refs/remotes/a/git-annex")
	run(t, reference, "git-annex", "merge", "-q")

	head := mergeFrom(t, away, a)
	if got, want := run(t, away.git.Dir(), "git", "ls-tree", "-r", head.String()), run(t, reference, "git", "ls-tree", "-r", "git-annex"); got != want {
		t.Errorf("Merge made\n%s\ngit annex merge made\n%s", got, want)
	}
	if info, err := away.git.Commit(head); err != nil || !slices.Equal(info.Parents, []gitrepo.Hash{rewritten}) {
		t.Errorf("the merge has the parents %v, %v, want %s", info.Parents, err, rewritten)
	}
	if got := locations(t, away, keys[2]); len(got) != 2 || slices.Contains(got, lost.UUID()) {
		t.Errorf("key 2 is in %q", got)
	}
	if again := mergeFrom(t, a, away); again != head {
		t.Errorf("the clones are at %s and %s", head, again)
	}

	// Neither git-annex, which has an index of its own, nor we bring anything back later.
	for _, r := range []*Repo{away, a} {
		run(t, r.git.Dir(), "git-annex", "metadata", "-q", "--force", ".", "--set", "seen="+r.UUID())
		record(t, r, Location{Key: keyOf(t, 8), UUID: r.UUID(), Present: true})
		run(t, r.git.Dir(), "git-annex", "merge", "-q")
		mergeFrom(t, r, lost)
		if found := mentions(t, r, lost.UUID()); len(found) > 0 {
			t.Errorf("forgotten lines are back in %q", found)
		}
		if kept, err := r.git.IsAncestor(t.Context(), before, mustHead(t, r)); err != nil || kept {
			t.Errorf("forgotten history is back: %v, %v", kept, err)
		}
		run(t, r.git.Dir(), "git", "fsck", "--strict")
	}
}

// TestForgetSiblings: git-annex merges the git-annex branches of remotes that it finds here, and brings back what it has forgotten when they have not (seen
// with both versions), unless they were followed.
func TestForgetSiblings(t *testing.T) { annextest.Each(t, testForgetSiblings) }

func testForgetSiblings(t *testing.T) {
	a := newAnnex(t)
	dir := a.git.Dir()
	clone := func(name string) *Repo {
		at := filepath.Join(annextest.TempDir(t), name)
		run(t, "/", "git", "clone", "-q", dir, at)
		run(t, at, "git-annex", "init", "-q", name)
		return openAnnex(t, at)
	}
	lost := clone("lost")
	mergeFrom(t, a, lost)
	record(t, a, Location{Key: keyOf(t, 1), UUID: lost.UUID(), Present: true})
	run(t, dir, "git-annex", "dead", "-q", "lost") // which makes a group.log of one line
	run(t, dir, "git", "update-ref", "refs/remotes/same/git-annex", branchRef)
	run(t, dir, "git", "fetch", "-q", clone("peer").git.Dir(), "git-annex:refs/remotes/peer/git-annex")
	run(t, dir, "git", "update-ref", "refs/remotes/gone/git-annex", branchRef)
	write(t, a, ".git/refs/remotes/gone/git-annex", strings.Repeat("1", 40)+"\n", 0o644)
	run(t, dir, "git-annex", "forget", "-q", "--force", "--drop-dead")
	head, err := a.Follow(t.Context())
	if err != nil || head != mustHead(t, a) {
		t.Fatalf("Follow: %s, %v", head, err)
	}
	if out := run(t, dir, "git", "show", "git-annex:uuid.log"); !strings.Contains(out, "peer") {
		t.Errorf("uuid.log has lost a line:\n%s", out)
	}
	if again, err := a.Follow(t.Context()); err != nil || again != head {
		t.Errorf("Follow again: %s, %v, not %s", again, err, head)
	}
	run(t, dir, "git", "update-ref", "-d", "refs/remotes/gone/git-annex")
	run(t, dir, "git-annex", "merge", "-q")
	run(t, dir, "git-annex", "describe", "-q", "here", "this one")
	if found := mentions(t, a, lost.UUID()); len(found) > 0 {
		t.Errorf("forgotten lines are back in %q", found)
	}
}

// Two that have forgotten at the same time agree; a rewriting of a kind not known here is left to git-annex.
func TestForgetTwice(t *testing.T) {
	annextest.Each(t, testForgetTwice)
}

func testForgetTwice(t *testing.T) {
	a := newAnnex(t)
	record(t, a, Location{Key: keyOf(t, 1), UUID: a.UUID(), Present: true})
	before := mustHead(t, a)
	dir := filepath.Join(annextest.TempDir(t), "b")
	run(t, "/", "git", "clone", "-q", a.git.Dir(), dir)
	run(t, dir, "git-annex", "init", "-q", "b")
	b := openAnnex(t, dir)
	for _, r := range []*Repo{a, b} {
		run(t, r.git.Dir(), "git-annex", "forget", "-q", "--force")
		record(t, r, Location{Key: keyOf(t, 2), UUID: r.UUID(), Present: true})
	}
	run(t, a.git.Dir(), "git", "fetch", "-q", dir, "git-annex")
	run(t, dir, "git", "fetch", "-q", a.git.Dir(), "git-annex")
	ofA, ofB := mustHead(t, a), mustHead(t, b)
	one, err := a.Merge(t.Context(), []gitrepo.Hash{ofB})
	two, err2 := b.Merge(t.Context(), []gitrepo.Hash{ofA})
	if one != two || err != nil || err2 != nil {
		t.Errorf("the clones are at %s, %v, and %s, %v", one, err, two, err2)
	}
	if got := locations(t, b, keyOf(t, 2)); len(got) != 2 {
		t.Errorf("key 2 is in %q", got)
	}
	if kept, err := b.git.IsAncestor(t.Context(), before, two); err != nil || kept {
		t.Errorf("forgotten history is back: %v, %v", kept, err)
	}
	strange, err := a.writeCommit(t.Context(), gitrepo.NewCommit{Base: one, Message: "x"}, map[string][]byte{transitionsLog: []byte("ForgetMore 1s\n")})
	if err != nil {
		t.Fatal(err)
	}
	var refused *Refused
	if head, err := a.Merge(t.Context(), []gitrepo.Hash{strange}); !errors.As(err, &refused) || head != one {
		t.Errorf("Merge of what was rewritten in another way: %s, %v", head, err)
	}
}

// TestForgetHalfway looks at the branch as git annex forget leaves it for a moment: what is to be forgotten is noted, and still there.
func TestForgetHalfway(t *testing.T) { annextest.Each(t, testForgetHalfway) }

func testForgetHalfway(t *testing.T) {
	r := newAnnex(t)
	dir := r.git.Dir()
	record(t, r, Location{Key: keyOf(t, 1), UUID: uuidB, Present: true})
	run(t, dir, "git", "config", "core.logAllRefUpdates", "always")
	run(t, dir, "git-annex", "forget", "-q", "--force")
	rewritten := mustHead(t, r)
	halfway, err := gitrepo.ParseHash(strings.TrimSpace(run(t, dir, "git", "rev-parse", "git-annex@{1}")))
	if err != nil {
		t.Fatal(err)
	}
	is := func(head gitrepo.Hash, want, here bool) {
		t.Helper()
		if got, err := r.Forgetting(head); err != nil || got != want {
			t.Errorf("about to be rewritten at %s: %v, %v", head, got, err)
		}
		if got, err := r.forgettingHere(); err != nil || got != here {
			t.Errorf("about to be rewritten here: %v, %v", got, err)
		}
	}
	is(rewritten, false, false)
	run(t, dir, "git", "update-ref", branchRef, halfway.String())
	is(halfway, true, true)
	news := []Location{{Key: keyOf(t, 2), UUID: uuidB, Present: true}}
	if _, err := r.Record(t.Context(), news); !errors.Is(err, ErrForgetting) || mustHead(t, r) != halfway {
		t.Errorf("it was recorded on top of what is to be forgotten: %v", err)
	}
	if _, err := r.Merge(t.Context(), []gitrepo.Hash{rewritten}); !errors.Is(err, ErrForgetting) {
		t.Errorf("it was merged with what is to be forgotten: %v", err)
	}
	run(t, dir, "git", "update-ref", branchRef, rewritten.String())
	is(rewritten, false, false)
	is(record(t, r, news...), false, false)
}
