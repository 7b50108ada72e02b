package agent_test

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/shell"
)

// TestBesideGitAnnex has a person use git-annex's own commands in a clone while the agents run.
func TestBesideGitAnnex(t *testing.T) {
	t.Parallel()
	eachAnnex(t, testBesideGitAnnex)
}

func testBesideGitAnnex(t *testing.T, n *network) {
	ms := n.grove(t, agent.InitOptions{}, "laptop", "desktop")
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

// TestServesGitAnnex has somebody who has git-annex only use a machine's clone as an ssh remote, while the agents run.
func TestServesGitAnnex(t *testing.T) {
	t.Parallel()
	eachAnnex(t, testServesGitAnnex)
}

func testServesGitAnnex(t *testing.T, n *network) {
	n.path = annextest.SSH(t, shell.Name) + ":" + cmp.Or(n.path, os.Getenv("PATH"))
	ms := n.grove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	first, second, third := noise(200_000), noise(200_000), noise(200_000)
	a.save("first.bin", first)
	settled(t, a, b)

	stock := a.stock("ssh://here" + a.dir)
	stock.git("annex", "sync", "--content")
	stock.has("first.bin", first)

	t.Log("what it pushes is on both machines")
	stock.save("second.bin", second)
	stock.save("small.txt", "small\n")
	stock.git("annex", "add", ".")
	stock.git("annex", "sync", "--content")
	for _, m := range ms {
		m.has("second.bin", second)
		m.has("small.txt", "small\n")
	}
	settled(t, a, b)

	t.Log("and content alone, of a file that is known without it")
	stock.save("third.bin", third)
	stock.git("-c", "annex.addunlocked=false", "annex", "add", ".") // locked, so that nothing changes in the work tree when it comes
	stock.git("annex", "sync", "--no-content")
	for _, m := range ms {
		m.eventually("have the file without its content", func() error {
			_, err := m.tryGit("annex", "lookupkey", "third.bin")
			return err
		})
	}
	apart(b, func() {
		stock.git("annex", "copy", "--to", "origin", "third.bin")
		a.eventually("see that the content has come", func() error {
			c, err := a.clone()
			if err == nil && c.Keys.Missing > 0 {
				err = fmt.Errorf("contents: %+v", c.Keys)
			}
			return err
		})
	})
	for _, m := range ms {
		m.has("third.bin", third)
	}
	settled(t, a, b)
	stock.eventually("know where it is", func() error {
		stock.git("annex", "sync", "--no-content")
		out, err := stock.tryGit("annex", "whereis", "third.bin")
		if err == nil && !strings.Contains(out, "3 copies") {
			err = fmt.Errorf("whereis says %s", out)
		}
		return err
	})
	for _, m := range append(ms, stock) {
		for _, note := range annexFsck(t, m, false) {
			t.Errorf("%s: git annex fsck: %s", m.name, note)
		}
	}
}

// try runs a command of git that may find the index locked by the agent for a moment, as anybody's may.
func (m *machine) try(args ...string) {
	m.t.Helper()
	m.eventually("git "+strings.Join(args, " "), func() error {
		_, err := m.tryGit(args...)
		return err
	})
}
