package annex

import (
	"errors"
	"os"
	"testing"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// TestOpenForWriting: a file that a program has opened, and not yet written to, is not replaced or added; what it writes is not lost.
func TestOpenForWriting(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	write(t, r, "unlocked", "content", 0o644)
	k := addFile(t, r, "unlocked", AddOptions{}).Key
	pointer := string(Pointer(k))
	write(t, r, "pointer", pointer, 0o644)
	write(t, r, "new", "content", 0o644)
	write(t, r, "new unlocked", "content", 0o644)
	for path, replace := range map[string]func() error{
		"new": func() error {
			_, err := r.Add(t.Context(), "new", AddOptions{Locked: true})
			return err
		},
		"new unlocked": func() error {
			_, err := r.Add(t.Context(), "new unlocked", AddOptions{})
			return err
		},
		"pointer": func() error {
			entries, err := r.Populate(t.Context(), k, []string{"pointer"})
			if err == nil && len(entries) == 0 {
				err = gitrepo.ErrChanged
			}
			return err
		},
	} {
		f, err := os.OpenFile(r.workPath(path), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := replace(); !errors.Is(err, gitrepo.ErrChanged) {
			t.Errorf("%s was taken while somebody had it open for writing: %v", path, err)
		}
		before := read(t, r, path)
		_, err = f.WriteString(" and more\n")
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if got := read(t, r, path); got != before+" and more\n" {
			t.Errorf("%s is %q", path, got)
		}
		write(t, r, path, before, 0o644)
		if err := replace(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if got := read(t, r, path); got != "content" {
			t.Errorf("%s is %q in the end", path, got)
		}
	}
}
