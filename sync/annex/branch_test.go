package annex

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

func TestRecord(t *testing.T) { annextest.Each(t, testRecord) }

func testRecord(t *testing.T) {
	r := newAnnex(t)
	start, err := r.BranchHead()
	if err != nil {
		t.Fatal(err)
	}
	var all []Location
	for n := range 300 {
		all = append(all, Location{Key: keyOf(t, n), UUID: r.UUID(), Present: true}, Location{Key: keyOf(t, n), UUID: uuidB, Present: n%2 == 0})
	}
	first := record(t, r, all...)
	if again := record(t, r, all...); again != first {
		t.Errorf("the same news made a commit: %s, %s", first, again)
	}
	info, err := r.git.Commit(first)
	if err != nil || !slices.Equal(info.Parents, []gitrepo.Hash{start}) || info.Author.Name != "Tester" {
		t.Errorf("commit is %+v, %v", info, err)
	}
	if got := locations(t, r, keyOf(t, 4)); !slices.Equal(got, slices.Sorted(slices.Values([]string{r.UUID(), uuidB}))) {
		t.Errorf("key 4 is in %q", got)
	}
	if got := locations(t, r, keyOf(t, 5)); !slices.Equal(got, []string{r.UUID()}) {
		t.Errorf("key 5 is in %q", got)
	}
	record(t, r, Location{Key: keyOf(t, 5), UUID: r.UUID(), Present: false})
	if got := locations(t, r, keyOf(t, 5)); len(got) != 0 {
		t.Errorf("key 5 is in %q", got)
	}
	if got := locations(t, r, keyOf(t, 1000)); len(got) != 0 {
		t.Errorf("key 1000 is in %q", got)
	}
	run(t, r.git.Dir(), "git-annex", "setpresentkey", keyOf(t, 5).String(), uuidB, "1")
	if got := locations(t, r, keyOf(t, 5)); !slices.Equal(got, []string{uuidB}) {
		t.Errorf("after git annex setpresentkey key 5 is in %q", got)
	}
	for n, want := range map[int][]string{4: {r.UUID(), uuidB}, 5: {uuidB}} {
		out := gitAnnex(t, r.git.Dir(), "whereis", "--key="+keyOf(t, n).String())
		for _, uuid := range want {
			if !strings.Contains(fmt.Sprint(out), "uuid:"+uuid) || strings.Count(fmt.Sprint(out), "uuid:") != len(want) {
				t.Errorf("key %d is, for git-annex, in %v, want %q", n, out, want)
			}
		}
	}
	run(t, r.git.Dir(), "git", "fsck", "--strict")
	run(t, r.git.Dir(), "git", "gc", "-q", "--prune=now")
	record(t, r, Location{Key: keyOf(t, 6), UUID: r.UUID(), Present: false})
	if got := locations(t, r, keyOf(t, 6)); !slices.Equal(got, []string{uuidB}) {
		t.Errorf("after git gc key 6 is in %q", got)
	}
}

// TestRecordTold writes down what other repositories have said of themselves.
func TestRecordTold(t *testing.T) {
	r := newAnnex(t)
	k, told := keyOf(t, 1), time.Unix(1_700_000_000, 900_000_000)
	line := func(want string) {
		t.Helper()
		if got := run(t, r.git.Dir(), "git", "cat-file", "-p", "git-annex:"+k.logPath()); strings.TrimSpace(got) != want {
			t.Errorf("the log says %q, want %q", got, want)
		}
	}
	says := func(present bool, at time.Time) Location {
		return Location{Key: k, UUID: uuidB, Present: present, Told: at}
	}
	record(t, r, says(true, told))
	line("1700000000s 1 " + uuidB)
	record(t, r, says(false, told.Add(-time.Second))) // it came late
	line("1700000000s 1 " + uuidB)
	record(t, r, says(false, told)) // which of them was first in that second, nobody knows but the repository itself
	line("1700000000s 1 " + uuidB)
	record(t, r, Location{Key: k, UUID: uuidB})
	record(t, r, says(true, told)) // the log knows better
	if got := locations(t, r, k); len(got) > 0 {
		t.Errorf("it is at %q", got)
	}
	told = time.Now().Add(time.Hour)
	record(t, r, says(true, told))
	line(fmt.Sprintf("%ds 1 %s", told.Unix(), uuidB))
	head := record(t, r, says(true, told.Add(time.Hour)))
	if again := record(t, r, Location{Key: k, UUID: "not a uuid\n1700000099s 1 " + uuidA, Present: true, Told: told}); again != head {
		t.Error("what is no UUID was written")
	}
	line(fmt.Sprintf("%ds 1 %s", told.Unix(), uuidB))
}

func TestDescribe(t *testing.T) { annextest.Each(t, testDescribe) }

func testDescribe(t *testing.T) {
	r := newAnnex(t)
	if err := r.Describe(t.Context(), uuidB, "my  NAS & more"); err != nil {
		t.Fatal(err)
	}
	if err := r.Describe(t.Context(), uuidB, "two\nlines"); err == nil {
		t.Error("a description of two lines was written")
	}
	if err := r.SetSetting(t.Context(), "annex.autocommit", "false"); err != nil {
		t.Fatal(err)
	}
	if out := run(t, r.git.Dir(), "git-annex", "config", "--get", "annex.autocommit"); strings.TrimSpace(out) != "false" {
		t.Errorf("annex.autocommit is %q for git-annex", out)
	}
	if out := fmt.Sprint(gitAnnex(t, r.git.Dir(), "info")); !strings.Contains(out, "my  NAS & more") {
		t.Errorf("git annex info: %s", out)
	}
	run(t, r.git.Dir(), "git-annex", "describe", "here", "by git-annex")
	run(t, r.git.Dir(), "git-annex", "config", "--unset", "annex.autocommit")
	descriptions, err := r.Descriptions(t.Context())
	if err != nil || descriptions[r.UUID()] != "by git-annex" || descriptions[uuidB] != "my  NAS & more" {
		t.Errorf("descriptions: %v, %v", descriptions, err)
	}
	if value, ok, err := r.Setting(t.Context(), "annex.autocommit"); ok || err != nil {
		t.Errorf("annex.autocommit is %q, %v", value, err)
	}
}

// A log in git-annex's journal counts, and nothing of it or of ours is lost when git-annex commits it.
func TestJournal(t *testing.T) { annextest.Each(t, testJournal) }

func testJournal(t *testing.T) {
	r := newAnnex(t)
	k := keyOf(t, 1)
	record(t, r, Location{Key: k, UUID: r.UUID(), Present: true})
	_ = locations(t, r, k)
	run(t, r.git.Dir(), "git", "-c", "annex.alwayscommit=false", "annex", "setpresentkey", k.String(), uuidA, "1")
	want := slices.Sorted(slices.Values([]string{uuidA, r.UUID()}))
	if got := locations(t, r, k); !slices.Equal(got, want) {
		t.Errorf("with a journal the key is in %q, want %q", got, want)
	}
	record(t, r, Location{Key: k, UUID: uuidB, Present: true})
	want = slices.Sorted(slices.Values(append(want, uuidB)))
	if got := locations(t, r, k); !slices.Equal(got, want) {
		t.Errorf("after Record the key is in %q, want %q", got, want)
	}
	if left, err := os.ReadDir(filepath.Join(r.dir, "journal")); err != nil || len(left) != 0 {
		t.Errorf("journal after Record: %v, %v", left, err)
	}
	run(t, r.git.Dir(), "git", "-c", "annex.alwayscommit=false", "annex", "setpresentkey", k.String(), r.UUID(), "0")
	run(t, r.git.Dir(), "git-annex", "merge")
	want = slices.DeleteFunc(want, func(uuid string) bool { return uuid == r.UUID() })
	if got := locations(t, r, k); !slices.Equal(got, want) {
		t.Errorf("after git annex committed its journal the key is in %q, want %q", got, want)
	}
}

// The union of branches is what git annex merge makes of them, and the same commit in every clone.
func TestMergeByGitAnnex(t *testing.T) { annextest.Each(t, testMergeByGitAnnex) }

func testMergeByGitAnnex(t *testing.T) {
	a := newAnnex(t)
	write(t, a, "file", "content", 0o644)
	k := addFile(t, a, "file", AddOptions{}).Key
	dirs := []string{a.git.Dir()}
	for _, name := range []string{"b", "c"} {
		dir := filepath.Join(annextest.TempDir(t), name)
		run(t, "/", "git", "clone", "-q", a.git.Dir(), dir)
		run(t, dir, "git-annex", "init", "-q", name)
		run(t, dir, "git-annex", "get", "-q", "file")
		run(t, dir, "git-annex", "metadata", "-q", "file", "--set", "author="+name)
		run(t, dir, "git-annex", "untrust", "-q", "--force", "here")
		run(t, dir, "git-annex", "numcopies", "-q", fmt.Sprint(len(dirs)))
		dirs = append(dirs, dir)
	}
	record(t, a, Location{Key: k, UUID: uuidB, Present: true})
	for _, dir := range dirs {
		for i, from := range dirs {
			if from != dir {
				run(t, dir, "git", "fetch", "-q", from, fmt.Sprintf("git-annex:refs/remotes/peer%d/git-annex", i))
			}
		}
	}
	reference := filepath.Join(annextest.TempDir(t), "reference")
	run(t, "/", "cp", "-a", dirs[0], reference)

	var commits []gitrepo.Hash
	for _, dir := range dirs {
		r, err := Open(t.Context(), openGit(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		closeLater(t, r)
		refs, err := r.git.Refs(t.Context(), "refs/remotes/peer")
		if err != nil {
			t.Fatal(err)
		}
		var heads []gitrepo.Hash
		for _, h := range refs {
			heads = append(heads, h)
		}
		before := locations(t, r, k)
		old := mustHead(t, r)
		head, err := r.Merge(t.Context(), heads)
		if err != nil {
			t.Errorf("Merge in %s: %v", dir, err)
		}
		if changed, err := r.Changed(old, head); err != nil || !slices.Contains(changed, k) {
			t.Errorf("Merge in %s changed %v, %v", dir, changed, err)
		}
		if again, err := r.Merge(t.Context(), heads); err != nil || again != head {
			t.Errorf("second Merge in %s: %s, %s, %v", dir, head, again, err)
		}
		if got := locations(t, r, k); len(got) != 4 || slices.Equal(got, before) {
			t.Errorf("after Merge in %s the key is in %q, before in %q", dir, got, before)
		}
		commits = append(commits, head)
		run(t, dir, "git", "fsck", "--strict")
		run(t, dir, "git-annex", "merge", "-q")
		if after, err := r.BranchHead(); err != nil || after != head {
			t.Errorf("git annex merge still found something to merge: %s, %s, %v", head, after, err)
		}
	}
	if len(slices.Compact(slices.Clone(commits))) != 1 {
		t.Errorf("clones made different commits: %v", commits)
	}
	run(t, reference, "git-annex", "merge", "-q")
	want := run(t, reference, "git", "ls-tree", "-r", "git-annex")
	if got := run(t, dirs[0], "git", "ls-tree", "-r", "git-annex"); got != want {
		t.Errorf("Merge made\n%s\ngit annex merge made\n%s", got, want)
	}
}

func mustHead(t testing.TB, r *Repo) gitrepo.Hash {
	t.Helper()
	h, err := r.BranchHead()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// What was written here comes back when somebody overwrites the branch.
func TestOverwrittenBranch(t *testing.T) { annextest.Each(t, testOverwrittenBranch) }

func testOverwrittenBranch(t *testing.T) {
	r := newAnnex(t)
	old := mustHead(t, r)
	record(t, r, Location{Key: keyOf(t, 1), UUID: r.UUID(), Present: true})
	run(t, r.git.Dir(), "git", "update-ref", "refs/heads/git-annex", old.String())
	if got := locations(t, r, keyOf(t, 1)); len(got) != 0 {
		t.Errorf("after the branch was overwritten key 1 is in %q", got)
	}
	run(t, r.git.Dir(), "git", "reflog", "expire", "--expire=now", "--all")
	run(t, r.git.Dir(), "git", "gc", "-q", "--prune=now")
	record(t, r, Location{Key: keyOf(t, 2), UUID: r.UUID(), Present: true})
	if got := locations(t, r, keyOf(t, 1)); !slices.Equal(got, []string{r.UUID()}) {
		t.Errorf("after the next Record key 1 is in %q", got)
	}
	run(t, r.git.Dir(), "git", "update-ref", "-d", "refs/heads/git-annex")
	if _, err := r.Merge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := locations(t, r, keyOf(t, 2)); !slices.Equal(got, []string{r.UUID()}) {
		t.Errorf("after the branch was deleted key 2 is in %q", got)
	}
}

// git-annex, two agents and a person who pushes write at once; every line must be there in the end.
func TestConcurrentWriters(t *testing.T) { annextest.Each(t, testConcurrentWriters) }

func testConcurrentWriters(t *testing.T) {
	const rounds = 6
	r := newAnnex(t)
	second, err := Open(t.Context(), openGit(t, r.git.Dir()))
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, second)
	shared := keyOf(t, 999)
	writer := func(uuid string, write func(k Key) error) func() error {
		return func() error {
			for n := range rounds {
				for _, k := range []Key{shared, mustKey(t, fmt.Sprintf("SHA256E-s%d--%s", n, uuid))} {
					if err := write(k); err != nil {
						return fmt.Errorf("%s: %w", uuid, err)
					}
				}
			}
			return nil
		}
	}
	uuids := make([]string, 4)
	for i := range uuids {
		uuids[i] = fmt.Sprintf("00000000-0000-4000-8000-00000000000%d", i)
	}
	var g errgroup.Group
	for i, repo := range []*Repo{r, r, second} {
		g.Go(writer(uuids[i], func(k Key) error {
			_, err := repo.Record(t.Context(), []Location{{Key: k, UUID: uuids[i], Present: true}})
			return err
		}))
	}
	g.Go(writer(uuids[3], func(k Key) error {
		_, err := try(t, r.git.Dir(), "git-annex", "setpresentkey", k.String(), uuids[3], "1")
		return err
	}))
	g.Go(func() error {
		for n := range rounds {
			if _, err := try(t, r.git.Dir(), "git-annex", "describe", "here", fmt.Sprint("round ", n)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	descriptions, err := r.Descriptions(t.Context())
	if err != nil || descriptions[r.UUID()] != fmt.Sprint("round ", rounds-1) {
		t.Errorf("descriptions: %v, %v", descriptions, err)
	}
	if got := locations(t, second, shared); !slices.Equal(got, uuids) {
		t.Errorf("the key that all have is in %q", got)
	}
	for _, uuid := range uuids {
		for n := range rounds {
			if got := locations(t, r, mustKey(t, fmt.Sprintf("SHA256E-s%d--%s", n, uuid))); !slices.Equal(got, []string{uuid}) {
				t.Errorf("key %d of %s is in %q", n, uuid, got)
			}
		}
	}
	run(t, r.git.Dir(), "git", "fsck", "--strict")
}
