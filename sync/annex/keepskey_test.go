package annex

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestUnchangedKeepsKey: a file that was only touched keeps a key that Arbor cannot compute, by Add and by git's filter; an edited one gets another.
func TestUnchangedKeepsKey(t *testing.T) {
	content := strings.Repeat("kept\n", 30_000)
	for _, backend := range []string{"WORM", "SKEIN256E"} {
		t.Run(backend, func(t *testing.T) {
			r := newAnnex(t)
			dir := r.git.Dir()
			write(t, r, "f.bin", content, 0o644)
			run(t, dir, "git", "-c", "annex.addunlocked=true", "annex", "add", "-q", "--backend="+backend, "f.bin")
			run(t, dir, "git", "commit", "-qm", "with "+backend)
			old, ok := ParsePointer([]byte(run(t, dir, "git", "cat-file", "blob", "HEAD:f.bin")))
			if !ok || old.Backend() != backend {
				t.Fatalf("git-annex made %s", old)
			}
			touch := func() {
				t.Helper()
				if at := time.Now().Add(-time.Hour); os.Chtimes(r.workPath("f.bin"), at, at) != nil {
					t.Fatal("cannot touch the file")
				}
			}
			touch()
			if added, err := r.Add(t.Context(), "f.bin", AddOptions{}); err != nil || added.Key != old || !added.Here {
				t.Errorf("Add of the touched file gives %+v, %v", added, err)
			}
			write(t, r, "f.bin", strings.Repeat("made\n", 30_000), 0o644)
			if added, err := r.Add(t.Context(), "f.bin", AddOptions{}); err != nil || added.Key.Backend() != "SHA256E" {
				t.Errorf("Add of the edited file gives %+v, %v", added, err)
			}
		})
		t.Run(backend+" by the filter", func(t *testing.T) {
			full := os.Getenv("PATH")
			r := newFiltered(t)
			dir, bare := r.git.Dir(), os.Getenv("PATH")
			write(t, r, "f.bin", content, 0o644)
			t.Setenv("PATH", full)
			run(t, dir, "git", "-c", "annex.addunlocked=true", "annex", "add", "-q", "--backend="+backend, "f.bin")
			t.Setenv("PATH", bare)
			run(t, dir, "git", "commit", "-qm", "with "+backend)
			write(t, r, "f.bin", content, 0o644)
			if out := run(t, dir, "git", "status", "--porcelain"); out != "" {
				t.Errorf("git status of the touched file says %s", out)
			}
		})
	}
}
