package watch

import (
	"log/slog"
	"maps"
	"slices"
	"testing"
)

func TestTreeAddsFromTheTop(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a/b/c/f", "")
	write(t, root, "nested/.git/HEAD", "")
	write(t, root, "nested/d/f", "")
	tree, err := newTree(Options{Root: root}, true, slog.New(slog.DiscardHandler))
	must(t, err)
	defer tree.close()
	known := func(want ...string) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(tree.dirs)); !slices.Equal(got, want) {
			t.Errorf("knows %q, want %q", got, want)
		}
		if n := len(tree.notifier.WatchList()); n != len(want) {
			t.Errorf("%d watches, want %d", n, len(want))
		}
	}
	tree.add("a/b")
	known()
	if files := tree.add(""); !slices.Equal(files, []string{"a/b/c/f"}) {
		t.Errorf("found %q", files)
	}
	known("", "a", "a/b", "a/b/c", "nested")
	tree.add("nested/d")
	known("", "a", "a/b", "a/b/c", "nested")
	if files := tree.add("a"); files != nil {
		t.Errorf("found %q again", files)
	}
	tree.forget("a")
	known("", "nested")
}
