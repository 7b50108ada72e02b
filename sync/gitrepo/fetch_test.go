package gitrepo

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// fetchFrom runs Fetch in to against Serve in from over a connection.
func (c clone) fetchFrom(peer string, from clone) (map[string]Hash, error) {
	near, far := net.Pipe()
	var serving sync.WaitGroup
	var served error
	serving.Go(func() { served = from.Serve(c.t.Context(), "git-upload-pack", far) })
	refs, err := c.Fetch(c.t.Context(), peer, near)
	serving.Wait()
	if err == nil && served != nil {
		c.t.Errorf("serve: %v", served)
	}
	return refs, err
}

func TestFetch(t *testing.T) {
	a, b := newClone(t), newClone(t)
	refs, err := b.fetchFrom("empty", a)
	if err != nil || len(refs) != 0 {
		t.Errorf("an empty repository: %v, %v", refs, err)
	}
	a.write("f", "1")
	first := a.commit("f")
	a.run("branch", "git-annex")
	a.run("branch", "deep/er")
	a.run("tag", "v1")
	a.run("tag", "-a", "-m", "annotated", "v2")
	for _, hidden := range []string{"refs/annex/last-index", "refs/remotes/x/main", "refs/notes/commits", "refs/arbor/p/tags/t", "refs/stash"} {
		a.run("update-ref", hidden, first.String())
	}
	want := []string{"refs/heads/deep/er", "refs/heads/git-annex", "refs/heads/main", "refs/tags/v1", "refs/tags/v2"}
	refs, err = b.fetchFrom("peer-1", a)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(refs)); !slices.Equal(got, want) {
		t.Errorf("refs %q, want %q", got, want)
	}
	if h, err := b.Ref("refs/remotes/peer-1/main"); err != nil || h != first || refs["refs/heads/main"] != first {
		t.Errorf("main is %s, %v", h, err)
	}
	if got := b.run("cat-file", "-t", "refs/tags/v2"); got != "tag" {
		t.Errorf("v2 is a %s", got)
	}
	if out := b.run("for-each-ref", "refs/annex", "refs/notes", "refs/stash", "refs/heads"); out != "" {
		t.Errorf("also fetched:\n%s", out)
	}
	// A branch goes, one takes the place of its folder, another is rewound, a tag moves.
	a.run("branch", "-D", "deep/er")
	a.run("branch", "deep")
	a.write("f", "2")
	second := a.commit("f")
	a.run("branch", "-f", "git-annex", second.String())
	a.run("tag", "-f", "v1", second.String())
	if refs, err = b.fetchFrom("peer-1", a); err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(refs)), []string{"refs/heads/deep", "refs/heads/git-annex", "refs/heads/main", "refs/tags/v1", "refs/tags/v2"}; !slices.Equal(got, want) {
		t.Errorf("refs %q, want %q", got, want)
	}
	if h, _ := b.Ref("refs/tags/v1"); h != first {
		t.Error("a tag of ours was moved")
	}
	if refs["refs/tags/v1"] != second {
		t.Error("the peer's tag is not reported")
	}
	if err := b.Complete(t.Context(), second); err != nil {
		t.Error(err)
	}
	b.clean()
}

func TestFetchRefuses(t *testing.T) {
	a, b := newClone(t), newClone(t)
	a.write("f", "1")
	a.commit("f")
	for _, peer := range []string{"", "a/b", "..", "x.lock", "a b", "-\n", "a:b"} {
		near, far := net.Pipe()
		far.Close()
		if _, err := b.Fetch(t.Context(), peer, near); err == nil {
			t.Errorf("peer name %q was taken", peer)
		}
	}
	// A tree that git's own check refuses.
	blob, _ := a.WriteBlob([]byte("[core]"))
	tree, err := a.objects.write(plumbing.TreeObject, encodeTree([]treeEntry{{".git", Entry{ModeFile, blob}}}))
	if err != nil {
		t.Fatal(err)
	}
	bad, err := a.NewCommit(t.Context(), NewCommit{Tree: tree, Message: "bad"})
	if err != nil {
		t.Fatal(err)
	}
	a.run("update-ref", "refs/heads/bad", bad.String())
	if _, err := b.fetchFrom("peer", a); err == nil {
		t.Error("a tree with .git was fetched")
	}
	if _, err := b.Ref("refs/remotes/peer/bad"); !errors.Is(err, ErrNotFound) {
		t.Error("a reference points at it")
	}
	// A peer that says nothing, and one that talks nonsense.
	near, far := net.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.Fetch(ctx, "peer", near); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent peer: %v", err)
	}
	far.Close()
	near, far = net.Pipe()
	var talking sync.WaitGroup
	talking.Go(func() {
		_, _ = io.WriteString(far, strings.Repeat("HTTP/1.1 400 Bad Request\r\n", 10))
		far.Close()
	})
	if _, err := b.Fetch(t.Context(), "peer", near); err == nil {
		t.Error("nonsense was fetched")
	}
	talking.Wait()
	if _, err := b.fetchFrom("peer2", newClone(t)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	near, _ = net.Pipe()
	if err := a.Serve(t.Context(), "git-receive-pack", near); err == nil {
		t.Error("a push was served")
	}
}

// TestFetchBig moves more than any buffer between the two holds.
func TestFetchBig(t *testing.T) {
	a, b := newClone(t), newClone(t)
	var text strings.Builder
	for i := range 30000 {
		text.WriteString(strings.Repeat(string(rune('a'+i*7%26)), i%13))
		text.WriteString(HashBlob([]byte{byte(i), byte(i >> 8), byte(i >> 16)}).String())
	}
	a.write("big", text.String())
	h := a.commit("big")
	if _, err := b.fetchFrom("peer", a); err != nil {
		t.Fatal(err)
	}
	b.checkout(h)
	if b.read("big") != text.String() {
		t.Error("content differs")
	}
}
