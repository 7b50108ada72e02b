package agent_test

import (
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
)

// TestDetachedHead: a person who looks at an old commit gets the contents of its files, and nothing else is done there.
func TestDetachedHead(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	if err := b.client().Pause(t.Context(), control.PauseRequest{}); err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("big", 70_000)
	a.save("big.bin", big)
	b.pointer("big.bin")
	b.clean()
	main := b.git("symbolic-ref", "--short", "HEAD")
	b.try("checkout", "-q", "--detach")
	at := b.git("rev-parse", "HEAD")
	if err := b.client().Resume(t.Context(), control.PauseRequest{}); err != nil {
		t.Fatal(err)
	}
	b.has("big.bin", big)
	b.clean()
	a.save("later.txt", "later\n")
	b.eventually("have the branch move", func() error {
		_, err := b.tryGit("cat-file", "-e", main+":later.txt")
		return err
	})
	b.lacks("later.txt")
	if now := b.git("rev-parse", "HEAD"); now != at {
		t.Errorf("HEAD has moved from %s to %s", at, now)
	}
	s, err := b.client().Status(t.Context(), 0)
	if err != nil || len(s.Warnings) > 0 {
		t.Errorf("there are warnings: %+v, %v", s.Warnings, err)
	}
	b.try("checkout", "-q", main)
	b.has("later.txt", "later\n")
	settled(t, a, b)
}
