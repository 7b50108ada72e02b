package p2p

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
)

// TestArrivalsAreBounded: neither what was interrupted nor what was asked for in vain is remembered without end.
func TestArrivalsAreBounded(t *testing.T) {
	var s Arrivals
	dir := t.TempDir()
	for n := range 2 * maxInterrupted {
		key := annex.KeyFor(sha256.Sum256([]byte{byte(n)}), annex.BlockSize+1, "", annex.DefaultMaxExtensionLength)
		list, err := annex.NewBlockList(key, make([]byte, annex.StateSize))
		if err != nil {
			t.Fatal(err)
		}
		if reader, err := s.open(t.Context(), key, 0); reader != nil || err != nil {
			t.Fatalf("read before anything came: %v", err)
		}
		if len(s.of) > maxInterrupted {
			t.Fatalf("%d arrivals are remembered", len(s.of))
		}
		file, err := os.Create(filepath.Join(dir, fmt.Sprint(n)))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		a := s.begin(file, list, nil, 0)
		if reader, err := s.open(t.Context(), key, 0); err != nil {
			t.Fatal(err)
		} else {
			reader.close()
		}
		s.advance(a, annex.BlockSize)
		s.interrupt(a)
		if got := s.known(file, list); got != 1 {
			t.Errorf("%d blocks are known", got)
		}
	}
	if len(s.of) != maxInterrupted {
		t.Errorf("%d arrivals are remembered", len(s.of))
	}
}
