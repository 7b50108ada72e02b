package agent_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
)

// stock makes a clone that has git-annex only, and no agent.
func (m *machine) stock(url string) *machine {
	m.t.Helper()
	s := &machine{t: m.t, name: "stock", dir: filepath.Join(m.t.TempDir(), "clone"), control: m.control, env: m.env}
	clone := exec.CommandContext(m.t.Context(), "git", "clone", "-q", url, s.dir)
	clone.Env = s.environ()
	if out, err := clone.CombinedOutput(); err != nil {
		m.t.Fatalf("git clone: %v: %s", err, out)
	}
	m.t.Cleanup(func() { _ = exec.Command("chmod", "-R", "u+w", s.dir).Run() })
	s.identify()
	s.git("annex", "init", "-q", s.name)
	return s
}

// alike has a stock clone sync with content until it is the same as the machines, to the last location, and the locations are true.
func alike(t *testing.T, stock *machine, machines ...*machine) {
	t.Helper()
	where := func(m *machine) string {
		out, _ := m.tryGit("annex", "whereis", "--format=${file} ${uuid}\\n") // its status tells of contents that are nowhere
		lines := strings.Split(out, "\n")
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	stock.eventually("be the same as the others", func() error {
		if _, err := stock.tryGit(syncContent...); err != nil {
			return err
		}
		tree, locations := stock.git("rev-parse", "HEAD^{tree}"), where(stock)
		for _, m := range machines {
			if got, err := m.tryGit("rev-parse", "HEAD^{tree}"); err != nil || got != tree {
				return fmt.Errorf("%s has another tree (%w): %s", m.name, err, m.git("diff", "--stat", tree, got))
			}
			if err := sameFiles(m.tree(), stock.tree()); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			if got := where(m); got != locations {
				return fmt.Errorf("whereis says %s, on %s %s", locations, m.name, got)
			}
		}
		for _, m := range append(machines, stock) {
			id := m.git("config", "annex.uuid")
			held, err := m.tryGit("annex", "find", "--in=here", "--format=${file} "+id+"\\n")
			if err != nil {
				return err
			}
			lines := strings.Split(held, "\n")
			slices.Sort(lines)
			said := slices.DeleteFunc(strings.Split(locations, "\n"), func(line string) bool { return !strings.HasSuffix(line, " "+id) })
			if !slices.Equal(lines, said) {
				return fmt.Errorf("whereis says %q, and %s has %q", said, m.name, lines)
			}
		}
		return nil
	})
	settled(t, machines...)
}

// soundTwice has git-annex judge machines, and judge them again, for the first fsck repairs some of what it remarks on.
func soundTwice(t *testing.T, machines ...*machine) {
	t.Helper()
	for _, which := range []string{"first", "second"} {
		for _, m := range machines {
			for _, note := range annexFsck(t, m, false) {
				t.Errorf("%s: %s git annex fsck: %s", m.name, which, note)
			}
		}
	}
}

var syncContent = []string{"annex", "sync", "--content"}

// TestStockClone has somebody without an agent run git annex sync against a machine's directory, and nothing else on that machine.
func TestStockClone(t *testing.T) {
	t.Parallel()
	eachAnnex(t, testStockClone)
}

func testStockClone(t *testing.T, n *network) {
	ms := n.grove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	want := map[string]string{"first.bin": noise(200_000), "first.txt": "1\n", "both.bin": noise(150_000), "both.txt": "1\n2\n3\n4\n5\n"}
	a.saveAll(want)
	only(t, want, a, b)
	stock := a.stock(a.dir)
	stock.try(syncContent...)
	stock.has("first.bin", want["first.bin"])

	t.Log("what it adds")
	content, text := noise(250_000), "of the stock clone\n"
	stock.save("sub/locked.bin", content)
	stock.git("annex", "add", "-q", ".")
	stock.save("text.txt", text)
	stock.git("add", "text.txt")
	stock.try("annex", "sync")
	b.has("text.txt", text)
	stock.try(syncContent...)
	for _, m := range ms {
		m.has("sub/locked.bin", content)
	}

	t.Log("what it pushes as an assistant does when others are faster")
	want["owned.txt"] = "1\n"
	stock.save("owned.txt", want["owned.txt"])
	stock.git("add", "owned.txt")
	stock.git("commit", "-q", "-m", "owned")
	stock.git("push", "-q", "origin", "main:refs/synced/"+stock.git("config", "annex.uuid")+"/main")
	for _, m := range ms {
		m.has("owned.txt", want["owned.txt"])
	}

	t.Log("what its location log lacks")
	stock.git("annex", "setpresentkey", stock.git("annex", "lookupkey", "both.bin"), b.git("config", "annex.uuid"), "0")
	stock.eventually("hear that it is there", func() error {
		if _, err := stock.tryGit("annex", "sync", "--no-content"); err != nil {
			return err
		}
		out, err := stock.tryGit("annex", "whereis", "both.bin")
		if err == nil && !strings.Contains(out, "3 copies") {
			err = fmt.Errorf("whereis says %s", out)
		}
		return err
	})

	t.Log("what it deletes and moves")
	stock.git("rm", "-q", "first.txt")
	stock.git("mv", "first.bin", "sub/moved.bin")
	stock.try(syncContent...)
	for _, m := range ms {
		m.lacks("first.txt")
		m.lacks("first.bin")
		m.has("sub/moved.bin", want["first.bin"])
	}
	settled(t, a, b)

	t.Log("what the desktop saves")
	content, text = noise(220_000), "of the desktop\n"
	b.save("desktop.bin", content)
	b.save("text.txt", text)
	for _, m := range []*machine{a, b} {
		m.has("desktop.bin", content)
		m.has("text.txt", text)
	}
	settled(t, a, b)
	stock.try(syncContent...)
	stock.has("desktop.bin", content)
	stock.has("text.txt", text)
	alike(t, stock, a, b)

	t.Log("a conflict that git-annex meets first")
	contents := []string{noise(160_000), noise(170_000)}
	rewrite(stock, "both.bin", contents[0])
	stock.git("annex", "add", "-q", "both.bin")
	b.save("both.bin", contents[1])
	a.has("both.bin", contents[1])
	settled(t, a, b)
	stock.try(syncContent...)
	alike(t, stock, a, b)
	kept(t, contents, a, b, stock)

	t.Log("and one that the agent meets first")
	contents = append(contents, noise(180_000), noise(190_000), "stock\n2\n3\n4\n5\n", "1\n2\n3\n4\ndesktop\n")
	apart(a, func() {
		rewrite(stock, "desktop.bin", contents[2])
		stock.save("both.txt", contents[4])
		stock.save("new.txt", "of the stock clone\n")
		stock.git("annex", "add", "-q", ".")
		stock.try(syncContent...)
		b.save("desktop.bin", contents[3])
		b.save("both.txt", contents[5])
		b.save("new.txt", "of the desktop\n")
		b.clean()
	})
	for _, m := range ms {
		m.has("both.txt", "stock\n2\n3\n4\ndesktop\n")
	}
	settled(t, a, b)
	alike(t, stock, a, b)
	kept(t, append(contents[:4], "of the stock clone\n", "of the desktop\n"), a, b, stock)
	soundTwice(t, a, b, stock)
}

// rewrite replaces a file, as programs do that do not write in place.
func rewrite(m *machine, name, content string) {
	m.t.Helper()
	if err := os.Remove(m.path(name)); err != nil {
		m.t.Fatal(err)
	}
	m.save(name, content)
}

// kept looks for contents in the files of machines.
func kept(t *testing.T, contents []string, machines ...*machine) {
	t.Helper()
	for _, m := range machines {
		var there []string
		for name := range m.tree() {
			if got, err := os.ReadFile(m.path(name)); err == nil {
				there = append(there, string(got))
			}
		}
		for _, content := range contents {
			if !slices.Contains(there, content) {
				t.Errorf("%s: no file holds %.40q", m.name, content)
			}
		}
	}
}
