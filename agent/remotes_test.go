package agent_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
)

// TestContentsThroughRemote: two machines that exchange no contents themselves do so through a place that both reach.
func TestContentsThroughRemote(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	cloud := t.TempDir()
	before := noise(300_000)
	a.save("before.bin", before)
	b.has("before.bin", before)
	settled(t, ms...)
	a.try("annex", "initremote", "cloud", "type=directory", "directory="+cloud, "encryption=none")
	a.try("annex", "merge") // writes what is in the journal
	settled(t, ms...)
	b.eventually("know the remote", func() error {
		_, err := b.tryGit("annex", "enableremote", "cloud", "directory="+cloud)
		return err
	})
	if err := b.client().Pause(t.Context(), control.PauseRequest{Clone: b.dir, Peer: "laptop"}); err != nil {
		t.Fatal(err)
	}
	large, small, back := noise(3<<20), noise(200_000), noise(2<<20)
	a.save("large.bin", large)
	a.save("small.bin", small)
	b.has("large.bin", large)
	b.has("small.bin", small)
	b.save("back.bin", back)
	a.has("back.bin", back)
	settled(t, ms...)
	for _, m := range ms {
		for _, file := range []string{"before.bin", "large.bin", "small.bin", "back.bin"} {
			m.eventually("know where "+file+" is", func() error {
				out, err := m.tryGit("annex", "whereis", file)
				if err == nil && !strings.Contains(out, "3 copies") {
					err = fmt.Errorf("%s", out)
				}
				return err
			})
		}
	}
	out := a.git("annex", "fsck", "--from", "cloud", "--json")
	if strings.Contains(strings.ReplaceAll(out, `"note":"checksum..."`, ""), `"note":"`) || strings.Contains(out, `"success":false`) || !strings.Contains(out, "large.bin") {
		t.Errorf("git annex fsck --from cloud: %s", out)
	}
	settled(t, ms...)
}

// TestGitRemote: what is committed is pushed to a bare repository without an agent, and what others push there is taken in when the person
// asks, or when a peer has pushed it.
func TestGitRemote(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	origin := filepath.Join(t.TempDir(), "origin.git")
	run := func(dir string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	a.save("one.txt", "one\n")
	b.has("one.txt", "one\n")
	run(".", "init", "-q", "--bare", origin)
	for _, m := range ms {
		m.try("remote", "add", "origin", origin)
	}
	branch := a.git("branch", "--show-current")
	pushed := func(m *machine) {
		t.Helper()
		m.eventually("see its commit pushed", func() error {
			head := m.git("rev-parse", "HEAD")
			for _, ref := range []string{branch, "synced/" + branch} {
				out, err := exec.CommandContext(t.Context(), "git", "-C", origin, "rev-parse", "refs/heads/"+ref).CombinedOutput()
				if err != nil {
					return fmt.Errorf("%s: %w: %s", ref, err, out)
				}
				if at := strings.TrimSpace(string(out)); at != head {
					return fmt.Errorf("%s is at %s, not %s", ref, at, head)
				}
			}
			return nil
		})
	}
	pushed(a)
	b.save("two.txt", "two\n")
	a.has("two.txt", "two\n")
	pushed(b)
	work := filepath.Join(t.TempDir(), "work")
	run(".", "clone", "-q", "-b", branch, origin, work)
	run(work, "config", "user.name", "somebody")
	run(work, "config", "user.email", "somebody@arbor.test")
	if err := exec.CommandContext(t.Context(), "sh", "-c", "echo three > "+filepath.Join(work, "three.txt")).Run(); err != nil {
		t.Fatal(err)
	}
	run(work, "add", ".")
	run(work, "commit", "-q", "-m", "three")
	run(work, "push", "-q")
	a.save("four.txt", "four\n") // so that it is behind when it pushes
	a.has("three.txt", "three\n")
	b.has("three.txt", "three\n")
	b.has("four.txt", "four\n")
	settled(t, ms...)
	pushed(a)
}

// TestHearsOfRemote has somebody without an agent put a content to a remote, and push nothing but the git-annex branch that says so.
func TestHearsOfRemote(t *testing.T) {
	t.Parallel()
	a := newGrove(t, agent.InitOptions{}, "laptop")[0]
	cloud := t.TempDir()
	a.save("first.bin", noise(200_000))
	a.try("annex", "initremote", "-q", "cloud", "type=directory", "directory="+cloud, "encryption=none")
	a.eventually("put its own there", func() error {
		out, err := a.tryGit("annex", "find", "--in=cloud")
		if err == nil && out != "first.bin" {
			err = fmt.Errorf("there is %q", out)
		}
		return err
	})
	stock := a.stock(a.dir)
	stock.git("annex", "enableremote", "-q", "cloud", "directory="+cloud)
	content := noise(190_000)
	stock.save("second.bin", content)
	stock.git("annex", "add", "-q", "second.bin")
	stock.try("annex", "sync", "--no-content")
	a.eventually("lack its content", func() error {
		c, err := a.clone()
		if err == nil && c.Keys.Missing != 1 {
			err = fmt.Errorf("contents: %+v", c.Keys)
		}
		return err
	})
	stock.git("annex", "copy", "-q", "--to", "cloud", "second.bin")
	stock.eventually("say so", func() error {
		if _, err := stock.tryGit("annex", "sync", "--no-content", "--no-push"); err != nil {
			return err
		}
		_, err := stock.tryGit("push", "-q", "origin", "git-annex")
		return err
	})
	a.has("second.bin", content)
}
