package agent_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/sync/annex/annextest"
)

// TestBesideGitAnnex has a person use git-annex's own commands in a clone while the agents run.
func TestBesideGitAnnex(t *testing.T) { annextest.Each(t, testBesideGitAnnex) }

func testBesideGitAnnex(t *testing.T) {
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	large := func() string {
		data := make([]byte, 200_000)
		rand.Read(data)
		return string(data)
	}
	first, second, third := large(), large(), large()
	a.save("by arbor.bin", first)
	b.has("by arbor.bin", first)
	a.save("small.txt", "small\n")
	b.has("small.txt", "small\n")
	settled(t, a, b)

	a.save("sub/by annex.bin", second)
	a.try("annex", "add", "sub/by annex.bin")
	b.has("sub/by annex.bin", second)
	settled(t, a, b)
	a.try("annex", "lock", "by arbor.bin")
	b.eventually("get the lock", func() error {
		st, err := os.Lstat(b.path("by arbor.bin"))
		if err == nil && st.Mode()&os.ModeSymlink == 0 {
			err = fmt.Errorf("it is %v", st.Mode())
		}
		return err
	})
	b.has("by arbor.bin", first)
	settled(t, a, b)
	b.try("annex", "unlock", "by arbor.bin")
	b.save("by arbor.bin", third)
	a.has("by arbor.bin", third)
	a.try("mv", "sub/by annex.bin", "moved.bin")
	b.has("moved.bin", second)
	b.lacks("sub")
	b.try("annex", "metadata", "-t", "seen", "moved.bin")
	settled(t, a, b)
	a.eventually("know where it is", func() error {
		out, err := a.tryGit("annex", "whereis", "moved.bin")
		if err == nil && !strings.Contains(out, "2 copies") {
			err = fmt.Errorf("whereis says %s", out)
		}
		return err
	})
	for _, m := range ms {
		for _, note := range annexFsck(t, m, true) {
			t.Errorf("%s: git annex fsck: %s", m.name, note)
		}
		for _, note := range annexFsck(t, m, false) {
			t.Errorf("%s: second git annex fsck: %s", m.name, note)
		}
	}
	settled(t, a, b)
}

// try runs a command of git that may find the index locked by the agent for a moment, as anybody's may.
func (m *machine) try(args ...string) {
	m.t.Helper()
	m.eventually("git "+strings.Join(args, " "), func() error {
		_, err := m.tryGit(args...)
		return err
	})
}
