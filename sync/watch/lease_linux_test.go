package watch

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLeasesDisturbNoWriter: an open for writing that meets the lease waits for the microseconds it lasts, and the signal
// the kernel sends about it ends nobody.
func TestLeasesDisturbNoWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(path, nil, 0o644))
	seen := map[sight]int{writers(path): 1}
	done := make(chan error, 1)
	go func() {
		for range 5000 {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				err = f.Close()
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			must(t, err)
			if seen[untold] > 0 || seen[gone] > 0 {
				t.Errorf("seen %v", seen)
			}
			return
		default:
			seen[writers(path)]++
		}
	}
}

func TestWritersOfWhatIsNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Symlink("nowhere", filepath.Join(dir, "link")))
	for name, want := range map[string]sight{"missing": gone, "missing/below": gone, "link": untold} {
		if got := writers(filepath.Join(dir, name)); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
