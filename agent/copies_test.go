package agent_test

import (
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
)

// TestCopyUnderAnotherName has the laptop copy a file and rename another, each to another extension. The desktop, which exchanges no
// contents with anybody by then, makes both from what it has.
func TestCopyUnderAnotherName(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	copied, renamed, other := noise(300_000), noise(5<<20), noise(200_000)
	a.save("a.bin", copied)
	a.save("old.txt", renamed)
	b.has("a.bin", copied)
	b.has("old.txt", renamed)
	settled(t, ms...)
	if err := b.client().Pause(t.Context(), control.PauseRequest{Clone: b.dir, Peer: "laptop"}); err != nil {
		t.Fatal(err)
	}
	a.save("b.dat", copied)
	a.rename("old.txt", "new.md")
	a.save("other", other)
	b.has("b.dat", copied)
	b.has("new.md", renamed)
	b.pointer("other") // nothing came over a link
	b.lacks("old.txt")
}
