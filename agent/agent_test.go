package agent_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/git-arbor/arbor/agent"
)

func TestTwoMachines(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{true, false} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			ms := newGrove(t, agent.InitOptions{Plain: plain}, "laptop", "desktop")
			a, b := ms[0], ms[1]

			a.save("note.txt", "hello\n")
			b.has("note.txt", "hello\n")
			b.save("note.txt", "hello yourself\n")
			a.has("note.txt", "hello yourself\n")

			a.save("folder/deep/file", "x")
			b.has("folder/deep/file", "x")
			if err := os.Rename(a.path("folder"), a.path("moved")); err != nil {
				t.Fatal(err)
			}
			b.has("moved/deep/file", "x")
			b.lacks("folder")

			if err := os.Remove(b.path("note.txt")); err != nil {
				t.Fatal(err)
			}
			a.lacks("note.txt")

			big := make([]byte, 3<<20)
			rng := rand.NewChaCha8([32]byte{1})
			_, _ = rng.Read(big) // never fails
			if err := os.WriteFile(a.path("big.bin"), big, 0o644); err != nil {
				t.Fatal(err)
			}
			b.eventually("wait for big.bin", func() error {
				got, err := os.ReadFile(b.path("big.bin"))
				if err == nil && !bytes.Equal(got, big) {
					err = fmt.Errorf("it has %d bytes that are not those", len(got))
				}
				return err
			})
			settled(t, a, b)
		})
	}
}
