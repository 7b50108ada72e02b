package annex

import (
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// A pointer to a key that is not here becomes one to what git has, if that is for the same content and here. Other files are left alone.
func TestFixPointer(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	write(t, r, "f.bin", "content", 0o755)
	right := addFile(t, r, "f.bin", AddOptions{}).Key
	sum := sha256.Sum256([]byte("content"))
	_, head, err := r.git.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	old, err := r.git.Entry(head, "f.bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		content string
		fixed   bool
	}{
		{string(Pointer(KeyFor(sum, 7, "f.tar.gz", DefaultMaxExtensionLength))), true},
		{string(Pointer(KeyFor(sum, 7, "f", DefaultMaxExtensionLength))), true},
		{string(Pointer(right)), false},
		{string(Pointer(KeyFor(sum, 8, "f.tar.gz", DefaultMaxExtensionLength))), false},
		{string(Pointer(KeyFor(sha256.Sum256([]byte("another")), 7, "f.bin", DefaultMaxExtensionLength))), false},
		{"content", false},
		{"", false},
	} {
		write(t, r, "f.bin", c.content, 0o755)
		st, err := r.git.Stat("f.bin")
		if err != nil {
			t.Fatal(err)
		}
		fixed, ok, err := r.FixPointer(t.Context(), "f.bin", st, old)
		if err != nil || ok != c.fixed {
			t.Errorf("%q: fixed is %t (%v)", c.content, ok, err)
		}
		want := c.content
		if c.fixed {
			want = string(Pointer(right))
			if fixed.Key != right || !fixed.Here || string(fixed.Content) != want || fixed.Mode != gitrepo.ModeExecutable {
				t.Errorf("%q: it is said to be %+v", c.content, fixed)
			}
			st = fixed.Stat
		}
		now, err := r.git.Stat("f.bin")
		if got := read(t, r, "f.bin"); got != want || st != now || err != nil {
			t.Errorf("%q: the file is %q with %+v (%v), was said to have %+v", c.content, got, now, err, st)
		}
	}
	write(t, r, "f.bin", string(Pointer(KeyFor(sum, 7, "f", DefaultMaxExtensionLength))), 0o755)
	if _, ok, err := r.FixPointer(t.Context(), "f.bin", gitrepo.Stat{}, old); ok || !errors.Is(err, gitrepo.ErrChanged) {
		t.Errorf("a file that has changed was fixed (%v)", err)
	}
}
