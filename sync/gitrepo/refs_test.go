package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRefs(t *testing.T) {
	c := newClone(t)
	if ref, h, err := c.Head(t.Context()); ref != "refs/heads/main" || !h.IsZero() || err != nil {
		t.Errorf("unborn HEAD: %q %s %v", ref, h, err)
	}
	a := c.make(nil, map[string]string{"f": "a"})
	b := c.make([]Hash{a}, map[string]string{"f": "b"})
	err := c.UpdateRefs(t.Context(), []RefUpdate{
		{Name: "refs/heads/main", New: a}, {Name: "refs/heads/deep/er", New: a}, {Name: "refs/tags/v1", New: a},
	}, "arbor: test")
	if err != nil {
		t.Fatal(err)
	}
	c.run("symbolic-ref", "refs/remotes/origin/HEAD", "refs/heads/main")
	list := func(prefix string) []string {
		t.Helper()
		refs, err := c.Refs(t.Context(), prefix)
		if err != nil {
			t.Fatal(err)
		}
		for name, h := range refs {
			if want := c.run("rev-parse", name); want != h.String() {
				t.Errorf("%s is %s, git says %s", name, h, want)
			}
		}
		return slices.Sorted(maps.Keys(refs))
	}
	for range 2 {
		if got, want := list("refs/"), []string{"refs/heads/deep/er", "refs/heads/main", "refs/remotes/origin/HEAD", "refs/tags/v1"}; !slices.Equal(got, want) {
			t.Errorf("all: %q", got)
		}
		if got := list("refs/heads/d"); !slices.Equal(got, []string{"refs/heads/deep/er"}) {
			t.Errorf("with a prefix: %q", got)
		}
		if got := list("refs/none/"); len(got) != 0 {
			t.Errorf("none: %q", got)
		}
		c.run("pack-refs", "--all")
	}
	// All or nothing.
	err = c.UpdateRefs(t.Context(), []RefUpdate{{Name: "refs/heads/main", New: b, Old: a}, {Name: "refs/tags/v1", New: b, Old: b}}, "arbor: test")
	if !errors.Is(err, ErrRefMoved) {
		t.Errorf("with a wrong old value: %v", err)
	}
	if h, _ := c.Ref("refs/heads/main"); h != a {
		t.Error("one of the two moved")
	}
	if err := c.UpdateRefs(t.Context(), []RefUpdate{{Name: "refs/heads/main", New: a}}, "arbor: test"); !errors.Is(err, ErrRefMoved) {
		t.Errorf("creating what exists: %v", err)
	}
	if err := c.UpdateRefs(t.Context(), []RefUpdate{{Name: "refs/heads/x", New: Hash{7}}}, "arbor: test"); err == nil || errors.Is(err, ErrRefMoved) {
		t.Errorf("to a missing object: %v", err)
	}
	for _, bad := range []string{"refs/heads/a b", "refs/heads/..", "refs/heads/x.lock", "main", "refs/heads/a\nupdate", "../x"} {
		if err := c.UpdateRefs(t.Context(), []RefUpdate{{Name: bad, New: a}}, ""); !errors.Is(err, ErrMalformed) {
			t.Errorf("name %q: %v", bad, err)
		}
		if _, err := c.Ref(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("reading %q: %v", bad, err)
		}
	}
	if err := c.UpdateRefs(t.Context(), []RefUpdate{{Name: "refs/tags/v1", Old: a}}, "arbor: test"); err != nil {
		t.Errorf("deleting: %v", err)
	}
	if _, err := c.Ref("refs/tags/v1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	c.run("checkout", "-q", "--detach", "main")
	if ref, h, err := c.Head(t.Context()); ref != "" || h != a || err != nil {
		t.Errorf("detached HEAD: %q %s %v", ref, h, err)
	}
	if err := c.SetHead(t.Context(), "refs/heads/new"); err != nil {
		t.Fatal(err)
	}
	if got := c.run("symbolic-ref", "HEAD"); got != "refs/heads/new" {
		t.Errorf("HEAD points to %s", got)
	}
	if got := c.run("reflog", "--format=%gs", "refs/heads/deep/er"); got != "arbor: test" {
		t.Errorf("reflog: %q", got)
	}
}

// TestRefsReadersAndWriters reads while git writes and packs: no read may miss a reference or see half of one.
func TestRefsReadersAndWriters(t *testing.T) {
	c := newClone(t)
	a := c.make(nil, map[string]string{"f": "a"})
	b := c.make([]Hash{a}, map[string]string{"f": "b"})
	c.run("update-ref", "refs/heads/main", a.String())
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			h, err := c.Ref("refs/heads/main")
			if err != nil || h != a && h != b {
				t.Errorf("read %s, %v", h, err)
				return
			}
			refs, err := c.Refs(t.Context(), "refs/heads/")
			if err != nil || len(refs) != 1 {
				t.Errorf("listed %v, %v", refs, err)
				return
			}
		}
	})
	from, to := a, b
	for i := range 40 {
		if err := c.UpdateRefs(t.Context(), []RefUpdate{{"refs/heads/main", to, from}}, fmt.Sprint("reason ", i%6)); err != nil {
			t.Fatal(err)
		}
		from, to = to, from
		if i%4 == 0 {
			c.run("pack-refs", "--all")
		}
	}
	cancel()
	wg.Wait()
	if len(c.updaters) > maxUpdaters {
		t.Errorf("%d processes are kept", len(c.updaters))
	}
}

// TestReflogDates: an entry in a reflog says when the reference moved, but for the second that a process is used for.
func TestReflogDates(t *testing.T) {
	t.Parallel()
	c := newClone(t)
	a := c.make(nil, map[string]string{"f": "a"})
	b := c.make([]Hash{a}, map[string]string{"f": "b"})
	move := func(from, to Hash) int64 {
		t.Helper()
		before := time.Now().Unix()
		if err := c.UpdateRefs(t.Context(), []RefUpdate{{"refs/heads/main", to, from}}, "test"); err != nil {
			t.Fatal(err)
		}
		date, err := strconv.ParseInt(c.run("log", "-g", "-1", "--format=%gd", "--date=unix", "main")[len("main@{"):][:10], 10, 64)
		if err != nil || date < before-1 {
			t.Errorf("moved at %d, and the reflog says %d, %v", before, date, err)
		}
		return date
	}
	first := move(Hash{}, a)
	<-time.After(time.Until(time.Unix(first+2, 0))) // dates are whole seconds
	move(a, b)
	move(b, a)
}

// TestRefsCancelled ends a call that a hook holds up.
func TestRefsCancelled(t *testing.T) {
	c := newClone(t)
	a := c.make(nil, map[string]string{"f": "a"})
	c.write(".git/hooks/reference-transaction", "#!/bin/sh\necho noise >&2\n[ -e slow ] && exec sleep 60\nexit 0\n")
	c.ok(os.Chmod(c.path(".git/hooks/reference-transaction"), 0o755))
	if err := c.UpdateRefs(t.Context(), []RefUpdate{{Name: "refs/heads/x", New: a}}, ""); err != nil {
		t.Fatal(err)
	}
	c.write("slow", "")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.UpdateRefs(ctx, []RefUpdate{{Name: "refs/heads/y", New: a}}, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("held up: %v", err)
	}
	c.remove("slow")
	if err := c.UpdateRefs(t.Context(), []RefUpdate{{Name: "refs/heads/z", New: a}}, ""); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestHistoryLikeGit draws histories whose dates lie and compares with git.
func TestHistoryLikeGit(t *testing.T) {
	c := newClone(t)
	rapid.Check(t, func(rt *rapid.T) {
		var history []Hash
		for i := range rapid.IntRange(2, 9).Draw(rt, "commits") {
			n := NewCommit{Message: fmt.Sprint(i), Tree: emptyTree, When: time.Unix(rapid.Int64Range(1e9, 1e9+6).Draw(rt, "date"), 0)}
			for _, p := range rapid.SliceOfNDistinct(rapid.IntRange(0, max(0, i-1)), 0, min(i, 3), rapid.ID).Draw(rt, "parents") {
				n.Parents = append(n.Parents, history[p])
			}
			h, err := c.NewCommit(t.Context(), n)
			if err != nil {
				rt.Fatal(err)
			}
			history = append(history, h)
		}
		pick := rapid.SampledFrom(history)
		a, b := pick.Draw(rt, "a"), pick.Draw(rt, "b")
		bases, err := c.MergeBases(t.Context(), a, b)
		if err != nil {
			rt.Fatal(err)
		}
		out, _ := c.try("merge-base", "--all", a.String(), b.String())
		want := strings.Fields(out)
		slices.Sort(want)
		var got []string
		for _, h := range bases {
			got = append(got, h.String())
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("merge bases %q, git says %q", got, want)
		}
		_, err = c.try("merge-base", "--is-ancestor", a.String(), b.String())
		is, err2 := c.IsAncestor(t.Context(), a, b)
		if err2 != nil || is != (err == nil) {
			rt.Fatalf("ancestor %v (%v), git says %v", is, err2, err)
		}
	})
}

// TestObjectsWhileGitRepacks reads on while git moves objects between files and packs.
func TestObjectsWhileGitRepacks(t *testing.T) {
	c := newClone(t)
	var blobs []Hash
	n := NewCommit{Message: "m"}
	for i := range 60 {
		h, err := c.WriteBlob(fmt.Appendf(nil, "content %d", i))
		if err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, h)
		n.Changes = append(n.Changes, Change{Path: fmt.Sprint("f", i), New: Entry{ModeFile, h}})
	}
	head, err := c.NewCommit(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	c.run("update-ref", "refs/heads/main", head.String())
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				for i, h := range blobs {
					data, err := c.Blob(h, 100)
					if err != nil || string(data) != fmt.Sprint("content ", i) {
						t.Errorf("blob %d: %q, %v", i, data, err)
						return
					}
				}
			}
		})
	}
	for i := range 5 {
		c.make([]Hash{head}, map[string]string{"f0": fmt.Sprint(i)}) // loose, and in no pack of a reference
		if _, err := c.try("repack", "-adqf"); err != nil {
			t.Error(err)
		}
		if out, err := c.try("gc", "-q", "--prune=now"); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
	cancel()
	wg.Wait()
	if c.Has(Hash{1, 2, 3}) {
		t.Error("has what nobody has")
	}
	if _, err := c.Blob(blobs[0], 3); !errors.Is(err, ErrTooBig) {
		t.Errorf("small limit: %v", err)
	}
	if _, err := c.Blob(head, 1<<20); !errors.Is(err, ErrMalformed) {
		t.Errorf("a commit as a blob: %v", err)
	}
}

func TestObjectsOfAlternates(t *testing.T) {
	c := newClone(t)
	c.write("f", "shared")
	h := c.commit("f")
	c.run("clone", "-q", "--shared", c.Dir(), c.Dir()+"-2")
	r, err := Open(t.Context(), c.Dir()+"-2")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	other := clone{r, t}
	mapsEqual(t, other.contents(h), map[string]string{"f": "shared"})
	c.run("repack", "-adq")
	if !other.Has(HashBlob([]byte("shared"))) {
		t.Error("a packed object of an alternate is not found")
	}
}

func TestDiffLikeGit(t *testing.T) {
	c := newClone(t)
	names := []string{"a", "a.b", "a/b", "a/b/c", "ab", "d/e/f", "d/e.f", "z"}
	rapid.Check(t, func(rt *rapid.T) {
		commit := func() Hash {
			h, err := c.NewCommit(t.Context(), NewCommit{Changes: drawChanges(rt, c, Hash{}, names), Message: "m"})
			if err != nil {
				rt.Fatal(err)
			}
			return h
		}
		a, b := commit(), commit()
		changes, err := c.Diff(a, b)
		if err != nil {
			rt.Fatal(err)
		}
		var got []string
		for _, ch := range changes {
			got = append(got, fmt.Sprintf(":%s %s %s %s %s", ch.Old.Mode, ch.New.Mode, ch.Old.Hash, ch.New.Hash, ch.Path))
		}
		slices.Sort(got)
		out := strings.ReplaceAll(c.run("diff-tree", "-r", "--no-renames", "-z", a.String(), b.String()), "\x00:", "\n:")
		var want []string
		for l := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\n") {
			if meta, path, ok := strings.Cut(l, "\x00"); ok {
				want = append(want, meta[:len(meta)-2]+" "+path)
			}
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			rt.Fatalf("diff\n%s\ngit says\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestNewCommitRefuses(t *testing.T) {
	c := newClone(t)
	h, _ := c.WriteBlob([]byte("x"))
	base := c.make(nil, map[string]string{"f": "f", "d/x": "x"})
	for _, path := range []string{"", "/abs", "a//b", "a/", "../x", "a/../b", ".", ".git/config", "sub/.GIT/hooks", "a/.git ", "a/.git::$DATA", "GIT~1", "x\x00y", ".g\u200cit/x", `a\.git\config`} {
		if _, err := c.NewCommit(t.Context(), NewCommit{Base: base, Changes: []Change{{Path: path, New: Entry{ModeFile, h}}}}); !errors.Is(err, ErrMalformed) {
			t.Errorf("path %q: %v", path, err)
		}
	}
	for _, path := range []string{"f/below", "d"} {
		if _, err := c.NewCommit(t.Context(), NewCommit{Base: base, Changes: []Change{{Path: path, New: Entry{ModeFile, h}}}}); err == nil {
			t.Errorf("path %q takes another's place", path)
		}
	}
	for _, ok := range []string{".gitignore", "..a", "a..", "git", ".gi", "x.git", "\xff", "-", " "} {
		if _, err := c.NewCommit(t.Context(), NewCommit{Base: base, Changes: []Change{{Path: ok, New: Entry{ModeFile, h}}}}); err != nil {
			t.Errorf("path %q: %v", ok, err)
		}
	}
	// The last file of a folder takes the folder along; the last of all leaves the empty tree.
	gone := c.make([]Hash{base}, map[string]string{"d/x": "", "f": ""})
	if got := c.run("rev-parse", gone.String()+"^{tree}"); got != emptyTree.String() {
		t.Errorf("tree %s", got)
	}
}
