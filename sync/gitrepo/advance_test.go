package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAdvanceKeepsStaging(t *testing.T) {
	for _, version := range []string{"2", "3", "4", "2 and an untracked cache"} {
		t.Run("version "+version, func(t *testing.T) {
			c := newClone(t)
			version, _, cache := strings.Cut(version, " ")
			if cache {
				c.run("config", "core.untrackedCache", "true")
			}
			c.run("config", "index.version", version)
			c.write("a", "a\n")
			c.write("d/b", "b\n")
			c.write("half", "1\n")
			c.commit("")
			c.write("staged", "staged\n")
			c.write("intended", "x\n")
			c.write("half", "2\n")
			c.run("add", "staged", "half")
			c.run("add", "-N", "intended")
			c.write("half", "3\n")
			c.run("update-index", "--force-write-index", "--index-version", version)
			c.write("a", "changed\n")
			c.remove("d")
			c.run("status")
			if data, _ := os.ReadFile(c.path(".git/index")); bytes.Contains(data, []byte("UNTR")) != cache {
				t.Errorf("untracked cache: %v", !cache)
			}
			c.write("new/file", "new\n")
			c.commit("a", "d/b", "new/file")
			want := " A intended\nMM half\nA  staged"
			if got := c.run("status", "--porcelain"); !sameLines(got, want) {
				t.Errorf("status:\n%s\nwant:\n%s", got, want)
			}
			if got := c.run("show", "--name-status", "--format=", "HEAD"); !sameLines(got, "M\ta\nD\td/b\nA\tnew/file") {
				t.Errorf("commit:\n%s", got)
			}
			// The stat of what was committed is in the index: git need not read it again.
			if out := c.run("diff-files", "--name-only"); !sameLines(out, "half\nintended") {
				t.Errorf("git thinks these changed:\n%s", out)
			}
		})
	}
}

func sameLines(a, b string) bool {
	set := func(s string) map[string]bool {
		m := make(map[string]bool)
		for l := range strings.SplitSeq(strings.TrimSpace(s), "\n") {
			m[strings.TrimSpace(l)] = true
		}
		return m
	}
	sa, sb := set(a), set(b)
	for l := range sa {
		if !sb[l] {
			return false
		}
	}
	return len(sa) == len(sb)
}

func TestAdvanceRefuses(t *testing.T) {
	c := newClone(t)
	c.write("a", "1\n")
	first := c.commit("a")
	c.write("a", "2\n")
	res := c.snapshot("a")
	next, err := c.NewCommit(t.Context(), NewCommit{Base: first, Parents: []Hash{first}, Changes: res.Changes, Message: "m"})
	if err != nil {
		t.Fatal(err)
	}
	adv := Advance{Ref: "refs/heads/main", Old: first, New: next, Index: res.Index}

	// A person commits first.
	c.write("other", "x\n")
	c.run("add", "other")
	c.run("commit", "-q", "-m", "person's", "other")
	if err := c.Advance(t.Context(), adv); !errors.Is(err, ErrRefMoved) {
		t.Errorf("after a person's commit: %v", err)
	}
	// A person is on another branch.
	c.run("checkout", "-q", "-b", "elsewhere")
	adv.Old = c.head()
	if err := c.Advance(t.Context(), adv); !errors.Is(err, ErrRefMoved) {
		t.Errorf("on another branch: %v", err)
	}
	c.run("checkout", "-q", "main")
	// Another git holds the lock.
	if err := os.WriteFile(c.path(".git/index.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Advance(t.Context(), adv); !errors.Is(err, ErrIndexLocked) {
		t.Errorf("with the index locked: %v", err)
	}
	if !c.IndexLocked() {
		t.Error("the lock of another was taken away")
	}
	os.Remove(c.path(".git/index.lock"))
	if c.head() != adv.Old {
		t.Error("the branch moved")
	}
	left, _ := filepath.Glob(c.path(".git/arbor/*"))
	for _, path := range left {
		if name := filepath.Base(path); name != "lock" && name != lastIndex {
			t.Errorf("left behind: %s", name)
		}
	}
}

// TestAdvanceRecovers kills an Advance between taking index.lock and releasing it.
// TestAdvanceHeld: what somebody has staged since the index was looked at keeps Advance from changing it; what git has learnt of the files' stat does not.
func TestAdvanceHeld(t *testing.T) {
	c := newClone(t)
	c.write("a", "a\n")
	first := c.commit("")
	second := c.make([]Hash{first}, map[string]string{"a": "b\n"})
	entry, err := c.Entry(second, "a")
	c.ok(err)
	held, err := c.IndexState()
	c.ok(err)
	advance := func(from, to Hash) error {
		return c.Advance(t.Context(), Advance{Ref: "refs/heads/main", Old: from, New: to, Index: []IndexEntry{{Path: "a", Entry: entry}}, Held: held})
	}

	c.write("other", "other\n")
	c.run("add", "other")
	before := c.run("ls-files", "--stage")
	if err := advance(first, second); !errors.Is(err, ErrRefMoved) {
		t.Errorf("Advance with another index: %v", err)
	}
	if head, err := c.Ref("refs/heads/main"); head != first || err != nil || c.run("ls-files", "--stage") != before {
		t.Errorf("it changed something: the branch is at %s, %v, the index\n%s", head, err, c.run("ls-files", "--stage"))
	}
	c.run("rm", "-q", "--cached", "other")
	c.ok(os.Chtimes(c.path("a"), time.Unix(1, 0), time.Unix(1, 0)))
	c.run("update-index", "--refresh")
	if now, err := c.IndexState(); err != nil || now == held {
		t.Fatalf("git has not written the index: %v", err)
	}
	if err := advance(first, second); err != nil {
		t.Errorf("Advance after git looked at the files: %v", err)
	}
}

// TestAdvanceDetached: where HEAD is detached the index is changed, and HEAD is not.
func TestAdvanceDetached(t *testing.T) {
	c := newClone(t)
	c.write("a", "a\n")
	first := c.commit("")
	second := c.make([]Hash{first}, map[string]string{"a": "b\n"})
	c.run("checkout", "-q", "--detach")
	c.ok(os.Chtimes(c.path("a"), time.Unix(1, 0), time.Unix(1, 0)))
	index := c.snapshot("a").Index
	for _, a := range []Advance{{Old: second, New: second, Index: index}, {Old: first, New: second, Index: index}, {Ref: "refs/heads/main", Old: first, New: first, Index: index}} {
		if err := c.Advance(t.Context(), a); !errors.Is(err, ErrRefMoved) {
			t.Errorf("Advance %+v: %v", a, err)
		}
	}
	if out := c.run("diff-files", "--name-only"); out != "a" {
		t.Errorf("the index has changed: git thinks %q changed", out)
	}
	if err := c.Advance(t.Context(), Advance{Old: first, New: first, Index: index}); err != nil {
		t.Error(err)
	}
	if out := c.run("diff-files", "--name-only"); out != "" || c.head() != first {
		t.Errorf("git thinks %q changed, and HEAD is at %s", out, c.head())
	}
}

func TestAdvanceRecovers(t *testing.T) {
	c := newClone(t)
	c.write("a", "1\n")
	c.commit("a")
	own := c.path(".git/arbor/index")
	if err := os.WriteFile(own, []byte("DIRC"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(own, c.path(".git/index.lock")); err != nil {
		t.Fatal(err)
	}
	c.reopen()
	if c.IndexLocked() {
		t.Error("our stale lock is still there")
	}
	c.run("add", "a")
	// A lock that is not ours stays.
	if err := os.WriteFile(own, []byte("DIRC"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path(".git/index.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.reopen()
	if !c.IndexLocked() {
		t.Error("the lock of another was taken away")
	}
}

// TestAdvanceBesideGit commits one file again and again while a person adds and commits others: nothing is lost on either
// side.
func TestAdvanceBesideGit(t *testing.T) {
	c := newClone(t)
	c.write("agent", "0\n")
	c.write("person", "0\n")
	c.commit("")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var person sync.WaitGroup
	var committed, added int
	git := func(args ...string) error {
		cmd := exec.Command("git", args...)
		cmd.Dir = c.Dir()
		return cmd.Run()
	}
	// A person pauses between two commands; a loop without would keep the lock most of the time. There is one person
	// only: git commit reads the index before it locks it, and so loses what another git adds in between.
	next := func() bool { return pause(ctx, 10*time.Millisecond) == nil }
	person.Go(func() {
		for i := 1; next(); i++ {
			c.ok(os.WriteFile(c.path("person"), fmt.Appendf(nil, "%d\n", i), 0o644))
			if git("commit", "-q", "-m", fmt.Sprint("person ", i), "person") == nil {
				committed++
			}
			name := fmt.Sprint("added-", i)
			c.ok(os.WriteFile(c.path(name), []byte("x\n"), 0o644))
			if git("add", name) == nil {
				added++
			} else {
				os.Remove(c.path(name))
			}
		}
	})
	const rounds = 25
	done := 0
	for try := 0; done < rounds && try < 10*rounds; try++ {
		c.write("agent", fmt.Sprint(done+1, "\n"))
		old := c.head()
		res, err := c.Snapshot(t.Context(), old, []string{"agent"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		h, err := c.NewCommit(t.Context(), NewCommit{Base: old, Parents: []Hash{old}, Changes: res.Changes, Message: fmt.Sprint("agent ", done+1)})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Advance(t.Context(), Advance{Ref: "refs/heads/main", Old: old, New: h, Index: res.Index, Reason: "arbor: commit"})
		switch {
		case err == nil:
			done++
		case !errors.Is(err, ErrRefMoved) && !errors.Is(err, ErrIndexLocked):
			t.Fatal(err)
		}
	}
	cancel()
	person.Wait()
	if done < rounds {
		t.Fatalf("only %d commits in", done)
	}
	log := c.run("log", "--format=%s", "--no-merges")
	if n := strings.Count(log, "agent "); n != done {
		t.Errorf("%d of %d commits of the agent are in the history", n, done)
	}
	if n := strings.Count(log, "person "); n != committed {
		t.Errorf("%d of %d commits of the person are in the history", n, committed)
	}
	tracked := c.run("ls-files", "added-*")
	if n := len(strings.Fields(tracked)); n != added {
		t.Errorf("%d of %d added files are in the index", n, added)
	}
	if c.IndexLocked() {
		t.Error("index.lock is left")
	}
	t.Logf("agent %d, person %d commits, %d adds", done, committed, added)
}

func TestIndexPatchKeepsTheRest(t *testing.T) {
	c := newClone(t)
	for i := range 50 {
		c.write(fmt.Sprintf("dir/%02d/file", i), fmt.Sprint(i))
	}
	c.run("add", ".")
	c.run("commit", "-q", "-m", "x")
	for _, version := range []string{"2", "3", "4"} {
		c.run("update-index", "--force-write-index", "--index-version", version)
		data, err := os.ReadFile(c.path(".git/index"))
		if err != nil {
			t.Fatal(err)
		}
		x, err := parseIndex(data)
		if err != nil {
			t.Fatal(err)
		}
		if len(x.items) != 50 {
			t.Fatalf("version %s: %d entries", version, len(x.items))
		}
		it, ok := x.find("dir/07/file")
		if !ok {
			t.Fatalf("version %s: entry not found", version)
		}
		st, err := c.Stat("dir/07/file")
		if err != nil {
			t.Fatal(err)
		}
		entry := x.entry(it)
		st.Size += 5
		if err := patchStats(data, []IndexEntry{{"dir/07/file", entry, st}, {"dir/08/file", entry, st}, {"none", entry, st}}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(c.path(".git/index"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := c.run("diff-files", "--name-only"); got != "dir/07/file" {
			t.Errorf("version %s: git sees changed %q", version, got)
		}
		_, _ = c.try("update-index", "--refresh") // fails to say that it did something
	}
}

// TestAdvanceKeepsRacyEntries changes a staged file in the tick of its staging: git must still see that.
func TestAdvanceKeepsRacyEntries(t *testing.T) {
	c := newClone(t)
	c.write("mine", "1\n")
	c.commit("mine")
	c.write("theirs", "12345\n")
	c.run("add", "theirs")
	st, err := os.Stat(c.path("theirs"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(c.path("theirs"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("54321\n")
	c.ok(err)
	f.Close()
	// The file and the index have one time, as on a file system with coarse clocks.
	c.ok(os.Chtimes(c.path("theirs"), st.ModTime(), st.ModTime()))
	c.ok(os.Chtimes(c.path(".git/index"), st.ModTime(), st.ModTime()))
	c.run("config", "core.trustctime", "false")
	if got := c.run("diff-files", "--name-only"); got != "theirs" {
		t.Fatalf("git sees changed %q even before", got)
	}
	c.write("mine", "2\n")
	c.commit("mine")
	if got := c.run("diff-files", "--name-only"); got != "theirs" {
		t.Errorf("git sees changed %q, want theirs", got)
	}
}

func noStat(string) (Stat, error) { return Stat{}, fs.ErrNotExist }

// TestEditIndexLikeGit draws indexes and edits: the result must be what git update-index makes of it, the cached tree must
// be right, and nothing git finds wrong.
func TestEditIndexLikeGit(t *testing.T) {
	c := newClone(t)
	one, _ := c.WriteBlob([]byte("one"))
	two, _ := c.WriteBlob([]byte("two"))
	names := []string{"a", "a/b", "a/b/c", "a.b", "ab", "d/e", "d/e/f", "d/é\n", "z"}
	entry := rapid.SampledFrom([]Entry{{}, {ModeFile, one}, {ModeFile, two}, {ModeExecutable, one}, {ModeSymlink, two}})
	draw := func(rt *rapid.T, label string) []IndexEntry {
		m := make(map[string]Entry)
		for range rapid.IntRange(1, 5).Draw(rt, label) {
			p, e := rapid.SampledFrom(names).Draw(rt, "path"), entry.Draw(rt, "entry")
			for q := range maps.Clone(m) {
				if !e.IsZero() && !m[q].IsZero() && (strings.HasPrefix(q, p+"/") || strings.HasPrefix(p, q+"/")) {
					delete(m, q)
				}
			}
			m[p] = e
		}
		var es []IndexEntry
		for p, e := range m {
			es = append(es, IndexEntry{Path: p, Entry: e})
		}
		return es
	}
	rapid.Check(t, func(rt *rapid.T) {
		version := rapid.SampledFrom([]string{"2", "3", "4"}).Draw(rt, "version")
		os.Remove(c.path(".git/index"))
		start, err := c.editIndexByGit(t.Context(), c.path(".git/start"), append(draw(rt, "start"), IndexEntry{Path: "keep", Entry: Entry{ModeFile, one}}))
		if err != nil {
			rt.Fatal(err)
		}
		if err := os.WriteFile(c.path(".git/index"), start, 0o600); err != nil {
			rt.Fatal(err)
		}
		c.run("write-tree") // fills the cached tree
		c.run("update-index", "--force-write-index", "--index-version", version)
		edits := draw(rt, "edits")
		data, err := os.ReadFile(c.path(".git/index"))
		if err != nil {
			rt.Fatal(err)
		}
		want, err := c.editIndexByGit(t.Context(), c.path(".git/arbor-index"), edits)
		if err != nil {
			rt.Fatal(err)
		}
		got, err := editIndex(data, 0, edits, noStat)
		if err != nil {
			rt.Fatal(err)
		}
		results := make([]string, 2)
		for i, idx := range [][]byte{want, got} {
			if err := os.WriteFile(c.path(".git/index"), idx, 0o600); err != nil {
				rt.Fatal(err)
			}
			tree := c.run("write-tree")
			results[i] = c.run("ls-files", "-s", "-z") + tree
		}
		if results[0] != results[1] {
			rt.Fatalf("index after %v is\n%q\ngit makes\n%q", edits, results[1], results[0])
		}
	})
}

func FuzzIndex(f *testing.F) {
	for _, name := range []string{"v2", "v3", "v4"} {
		data, err := os.ReadFile(filepath.Join("testdata", "index-"+name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := parseIndex(data)
		if err != nil {
			return
		}
		for _, it := range x.items {
			x.entry(it)
			x.same(it, Stat{})
		}
		if _, err := editIndex(data, 0, []IndexEntry{{Path: "x/y"}, {Path: "new", Entry: Entry{Mode: ModeFile}}}, noStat); err != nil && !errors.Is(err, errIndexForGit) {
			t.Fatalf("editing a good index: %v", err)
		}
		var patch []IndexEntry
		if len(x.items) > 0 {
			patch = append(patch, IndexEntry{x.items[0].path, x.entry(x.items[0]), Stat{Size: 1}})
		}
		n := len(data)
		if err := patchStats(data, patch); err != nil || len(data) != n {
			t.Fatalf("patching a good index: %v", err)
		}
	})
}

// TestIndexTouched tells the writes of others from our own, also after a restart.
func TestIndexTouched(t *testing.T) {
	c := newClone(t)
	touched := func() time.Time {
		t.Helper()
		at, err := c.IndexTouched()
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	c.write("a", "1\n")
	c.commit("a")
	if at := touched(); !at.IsZero() {
		t.Errorf("nobody but us has written the index, not at %v", at)
	}
	before := time.Now().Add(-time.Second) // file times lag behind the clock
	c.write("b", "1\n")
	c.run("add", "b")
	theirs := touched()
	if theirs.Before(before) {
		t.Errorf("git add at %v was not noticed: %v", before, theirs)
	}
	if is, err := c.IndexIs(c.head()); is || err != nil {
		t.Errorf("the index has more than HEAD, but IndexIs says %v, %v", is, err)
	}
	c.run("commit", "-q", "-m", "by hand")
	if is, err := c.IndexIs(c.head()); !is || err != nil {
		t.Errorf("git has committed the index, but IndexIs says %v, %v", is, err)
	}
	theirs = touched()
	c.write("a", "2\n")
	c.commit("a")
	if at := touched(); !at.Equal(theirs) {
		t.Errorf("after a write of ours: %v, not %v", at, theirs)
	}
	c = c.reopen()
	if at := touched(); !at.IsZero() {
		t.Errorf("opened again: %v", at)
	}
}
