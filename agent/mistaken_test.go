package agent_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/git-arbor/arbor/agent"
)

// TestDropsOldExtension has git-annex drop a key that a file had before it was renamed, when its keys database remembers that: it makes the
// file, which has the same content, a pointer to that key. The file keeps its content everywhere.
func TestDropsOldExtension(t *testing.T) {
	t.Parallel()
	eachAnnex(t, testDropsOldExtension)
}

func testDropsOldExtension(t *testing.T, n *network) {
	ms := n.grove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	content := noise(150_000)
	a.save("old.tar.gz", content)
	settled(t, a, b)

	a.stop()
	a.git("annex", "find") // its database has the file
	a.git("mv", "old.tar.gz", "new.bin")
	now := time.Now()
	if err := os.Chtimes(a.path("new.bin"), now, now); err != nil { // which has git ask for the key anew
		t.Fatal(err)
	}
	a.git("annex", "sync", "--no-content", "--no-pull", "--no-push")
	head := a.git("rev-parse", "HEAD")
	a.start()
	settled(t, a, b)
	for _, m := range ms {
		m.eventually("find the old key unused", func() error {
			if !unusedLine.MatchString(m.git("annex", "unused")) {
				return errors.New("it does not")
			}
			return nil
		})
		m.try("annex", "dropunused", "--force", "all")
	}
	settled(t, a, b)
	for _, m := range ms {
		m.has("new.bin", content)
		m.clean()
		if got := m.git("rev-parse", "HEAD"); got != head {
			t.Errorf("%s: a commit was made of it: %s", m.name, m.git("log", "-p", head+".."))
		}
		if out := m.git("annex", "unused"); unusedLine.MatchString(out) {
			t.Errorf("%s: git annex unused says %s", m.name, out)
		}
	}
	soundTwice(t, ms...)
}
