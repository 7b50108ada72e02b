package p2p_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
)

// TestDraft: huge content is copied for a file while it comes, goes on after it was cut off, and nothing is left of a copy of what was wrong.
func TestDraft(t *testing.T) {
	content := random(annex.HugeSize + 5)
	key, list := keyOf(content), listOf(t, content)
	wrong := flipped(content, annex.HugeSize/2)
	for name, fill := range map[string]func(t *testing.T, s *p2p.Server, p *p2p.Partial, write func(offset int64, w io.Writer) error) error{
		"blocks": func(t *testing.T, s *p2p.Server, p *p2p.Partial, write func(int64, io.Writer) error) error {
			return p.FillBlocks(t.Context(), s.Arrivals, list, nil, func(_ context.Context, offset int64, w io.Writer) error { return write(offset, w) })
		},
		"whole": func(t *testing.T, _ *p2p.Server, p *p2p.Partial, write func(int64, io.Writer) error) error {
			return p.Fill(t.Context(), func(w io.Writer) error { return write(p.Size(), w) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newRepo(t)
			s := openServer(t, dir)
			s.Arrivals = new(p2p.Arrivals)
			if err := os.WriteFile(filepath.Join(dir, "file"), annex.Pointer(key), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, attempt := range []struct {
				content []byte
				end     int
				fails   bool
			}{{wrong, len(wrong), true}, {content, annex.HugeSize - 3, true}, {content, len(content), false}} {
				p, err := p2p.OpenPartial(s.Annex, key, "")
				if err != nil {
					t.Fatal(err)
				}
				p.Draft([]string{"file"})
				err = fill(t, s, p, func(offset int64, w io.Writer) error {
					if _, err := w.Write(attempt.content[offset:attempt.end]); err != nil {
						return err
					}
					if attempt.end < len(content) {
						return errCut
					}
					return nil
				})
				p.Close()
				if (err != nil) != attempt.fails {
					t.Fatalf("%d bytes: %v", attempt.end, err)
				}
				if attempt.fails {
					waitFor(t, "the draft of what did not come to go", func() bool { return len(temporary(t, dir)) == 0 })
				}
			}
			s.Annex.Draft(t.Context(), key, "file")
			if _, err := s.Annex.Populate(t.Context(), key, []string{"file"}); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(dir, "file"))
			if err != nil || keyOf(got) != key {
				t.Errorf("the file has %d bytes, not its content: %v", len(got), err)
			}
			if left := temporary(t, dir); len(left) > 0 {
				t.Errorf("temporary files: %v", left)
			}
			checkObjects(t, s.Annex)
		})
	}
}

// temporary gives what is in the annex's directory of temporary files.
func temporary(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, ".git/annex/othertmp"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return entries
}
