package agent_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
)

// TestThin has a machine with annex.thin, where each file is its content under another name, among others without.
func TestThin(t *testing.T) {
	t.Parallel()
	eachAnnex(t, func(t *testing.T, n *network) {
		ms := n.grove(t, agent.InitOptions{}, "laptop", "desktop")
		a, b := ms[0], ms[1]
		a.stop()
		a.git("config", "annex.thin", "true")
		a.start()
		a.online(1)
		thin := func(name string) {
			t.Helper()
			a.eventually("have "+name+" as its own content", func() error {
				out, err := a.tryGit("annex", "contentlocation", a.git("annex", "lookupkey", name))
				if err != nil {
					return err
				}
				object, err := os.Stat(a.path(out))
				if err != nil {
					return err
				}
				if file, err := os.Stat(a.path(name)); err != nil || !os.SameFile(file, object) {
					return fmt.Errorf("it is not (%w)", err)
				}
				return nil
			})
		}
		want := map[string]string{"mine.bin": noise(200_000)}
		a.saveAll(want)
		want["theirs.bin"] = noise(250_000)
		b.save("theirs.bin", want["theirs.bin"])
		only(t, want, ms...)
		thin("mine.bin")
		thin("theirs.bin")
		a.copies("theirs.bin", a, b)
		a.copies("mine.bin", a, b)
		a.sound()

		for _, name := range []string{"mine.bin", "theirs.bin"} {
			old := a.git("annex", "lookupkey", name)
			want[name] = strings.ToUpper(want[name])
			if err := os.WriteFile(a.path(name), []byte(want[name]), 0o644); err != nil { // in place
				t.Fatal(err)
			}
			only(t, want, ms...)
			thin(name)
			a.copies(name, a, b)
			b.eventually("be alone with what "+name+" was", func() error {
				out, err := b.tryGit("annex", "whereis", "--key="+old)
				if err == nil && !strings.Contains(out, "(1 copy)") {
					err = fmt.Errorf("%s", out)
				}
				return err
			})
			if out := a.git("annex", "contentlocation", a.git("annex", "lookupkey", name)); out == "" {
				t.Errorf("%s is not here", name)
			}
		}
		for _, m := range ms {
			if out := m.git("annex", "fsck", "--all", "--json"); strings.Contains(out, `"success":false`) || strings.Contains(out, "fixing") {
				t.Errorf("%s: git annex fsck: %s", m.name, out)
			}
			m.sound()
		}
		if err := os.Rename(b.path("theirs.bin"), b.path("moved.bin")); err != nil {
			t.Fatal(err)
		}
		want["moved.bin"] = want["theirs.bin"]
		delete(want, "theirs.bin")
		only(t, want, ms...)
		thin("moved.bin")
		b.save("mine.bin", "1\n") // which is not annexed any more, perhaps; what it was stays
		a.has("mine.bin", "1\n")
		if reply, err := a.drop("moved.bin"); err != nil || reply.Contents != 1 {
			t.Errorf("drop a thin file: %+v, %v", reply, err)
		}
		a.holds(1)
		if _, err := a.get(true, "moved.bin"); err != nil {
			t.Fatal(err)
		}
		a.has("moved.bin", want["moved.bin"])
		thin("moved.bin")
		settled(t, ms...)
		a.sound()
	})
}

// TestSharesObject has git-annex put the content of a file under another key, and take it from there, with annex.thin: it is one with the file.
func TestSharesObject(t *testing.T) {
	t.Parallel()
	eachAnnex(t, testSharesObject)
}

func testSharesObject(t *testing.T, n *network) {
	a := n.grove(t, agent.InitOptions{}, "laptop")[0]
	content := noise(150_000)
	a.stop()
	a.git("config", "annex.thin", "true")
	a.start()
	a.save("file.bin", content)
	a.clean()
	key := a.git("annex", "lookupkey", "file.bin")
	other := strings.TrimSuffix(key, ".bin") + ".txt"
	if err := os.Link(a.path("file.bin"), a.path(".git/other")); err != nil {
		t.Fatal(err)
	}
	known := func() {
		t.Helper()
		a.eventually("know the file", func() error {
			if out, err := a.tryGit("diff-files", "--name-only"); out != "" || err != nil {
				return fmt.Errorf("git takes %s for changed (%w)", out, err)
			}
			return nil
		})
	}
	a.git("annex", "setkey", other, ".git/other")
	known()
	a.git("annex", "unused")
	a.git("annex", "dropunused", "--force", "1")
	known()
	a.has("file.bin", content)
	a.clean()
}
