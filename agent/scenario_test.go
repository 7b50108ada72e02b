package agent_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
)

// files lists the files of the work tree, with slashes.
func (m *machine) files() map[string]string {
	m.t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(m.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(m.dir, path)
		if d.IsDir() {
			if rel == ".git" {
				return filepath.SkipDir
			}
			return nil
		}
		b, err := os.ReadFile(path)
		found[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return found
}

func TestTextMergesByContent(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	var lines []string
	for i := range 40 {
		lines = append(lines, fmt.Sprintf("line %d\n", i))
	}
	a.save("text", strings.Join(lines, ""))
	settled(t, a, b)
	b.stop()
	lines[2] = "changed on the laptop\n"
	a.save("text", strings.Join(lines, ""))
	a.commits("2")
	theirs := strings.Replace(strings.Join(lines, ""), "changed on the laptop\n", "line 2\n", 1)
	b.save("text", strings.Replace(theirs, "line 37\n", "changed on the desktop\n", 1))
	b.start()
	want := strings.Replace(strings.Join(lines, ""), "line 37\n", "changed on the desktop\n", 1)
	a.has("text", want)
	b.has("text", want)
	settled(t, a, b)
}

func TestConflictKeepsBoth(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.save("plan.txt", "base\n")
	settled(t, a, b)
	b.stop()
	a.save("plan.txt", "of the laptop\n")
	b.save("plan.txt", "of the desktop\n")
	b.start()
	a.warned("conflict")
	settled(t, a, b)
	for _, m := range ms {
		got := m.files()
		if len(got) != 2 {
			t.Fatalf("%s has %q, want two variants", m.name, got)
		}
		for _, want := range []string{"of the laptop\n", "of the desktop\n"} {
			found := false
			for name, content := range got {
				found = found || content == want && strings.HasPrefix(name, "plan.variant-") && strings.HasSuffix(name, ".txt")
			}
			if !found {
				t.Errorf("%s has %q, and nothing with %q", m.name, got, want)
			}
		}
	}
}

func TestThreeMachinesAndOneAway(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop", "nas")
	a, b, c := ms[0], ms[1], ms[2]
	a.save("one", "1")
	b.has("one", "1")
	c.has("one", "1")
	c.stop()
	a.save("two", "2")
	b.has("two", "2")
	b.save("one", "changed while the nas was away")
	a.has("one", "changed while the nas was away")
	c.save("three", "3")
	c.start()
	for _, m := range ms {
		m.has("one", "changed while the nas was away")
		m.has("two", "2")
		m.has("three", "3")
	}
	settled(t, ms...)
}

func TestNames(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	names := []string{
		"with space", "new\nline", "-dash", "--help", "caf\xe9", "ünïcode", "quote\"s'", "back\\slash", "tab\tname", "*", "?", "[a]",
		"trailing ", ".hidden", "a/-b/c d/ e", "~", "#x", "100%", "~variant-x",
	}
	for _, name := range names {
		a.save(name, "content of "+name)
	}
	a.save("empty", "")
	if err := os.Symlink("../outside", a.path("link")); err != nil {
		t.Fatal(err)
	}
	a.save("run.sh", "#!/bin/sh\n")
	if err := os.Chmod(a.path("run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b.has(name, "content of "+name)
	}
	b.has("empty", "")
	b.eventually("wait for the link", func() error {
		target, err := os.Readlink(b.path("link"))
		if err == nil && target != "../outside" {
			err = fmt.Errorf("it leads to %q", target)
		}
		return err
	})
	b.eventually("wait for the mode", func() error {
		st, err := os.Stat(b.path("run.sh"))
		if err == nil && st.Mode()&0o111 == 0 {
			err = fmt.Errorf("mode is %v", st.Mode())
		}
		return err
	})
	settled(t, a, b)
}

func TestIgnoredStaysHere(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.save(".gitignore", "*.tmp\nbuild/\n")
	b.has(".gitignore", "*.tmp\nbuild/\n")
	a.save("x.tmp", "no")
	a.save("build/out", "no")
	a.save("sub/.gitignore", "secret\n")
	b.has("sub/.gitignore", "secret\n")
	a.save("sub/secret", "no")
	a.save("last", "yes")
	b.has("last", "yes")
	settled(t, a, b)
	for name := range b.files() {
		if strings.HasSuffix(name, ".tmp") || strings.HasPrefix(name, "build") || strings.HasSuffix(name, "/secret") {
			t.Errorf("%q came over", name)
		}
	}
}

func TestPersonUsesGit(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.save("file", "1\n")
	settled(t, a, b)
	a.git("checkout", "-q", "-b", "feature")
	a.save("feature.txt", "new\n")
	a.eventually("commit", func() error {
		if out := a.git("log", "-1", "--format=%s"); !strings.Contains(out, "feature.txt") {
			return fmt.Errorf("last commit is %q", out)
		}
		return nil
	})
	b.eventually("get the branch", func() error {
		if got, want := b.git("for-each-ref", "--format=%(objectname)", "refs/heads/feature"), a.git("rev-parse", "HEAD"); got != want {
			return fmt.Errorf("feature is %q, want %q", got, want)
		}
		return nil
	})
	b.git("checkout", "-q", "feature")
	b.has("feature.txt", "new\n")
	a.git("branch", "side", "HEAD~1")
	b.eventually("get the branch", func() error {
		_, err := b.tryGit("rev-parse", "--verify", "refs/heads/side")
		return err
	})
	b.git("branch", "-q", "-D", "side")
	a.eventually("lose the branch", func() error {
		if out, err := a.tryGit("for-each-ref", "refs/heads/side"); err != nil || out != "" {
			return fmt.Errorf("it is there: %s (%w)", out, err)
		}
		return nil
	})
	a.git("tag", "v1")
	b.eventually("get the tag", func() error {
		_, err := b.tryGit("rev-parse", "--verify", "refs/tags/v1")
		return err
	})
	b.git("commit", "-q", "--allow-empty", "-m", "by hand")
	a.eventually("get the commit", func() error {
		if out := a.git("log", "-1", "--format=%s"); out != "by hand" {
			return fmt.Errorf("last commit is %q", out)
		}
		return nil
	})
	settled(t, a, b)
}

func TestUnfinishedMergeIsWaitedFor(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.save("file", "1\n")
	b.has("file", "1\n")
	settled(t, a, b)
	b.git("update-ref", "MERGE_HEAD", "HEAD")
	b.eventually("wait", func() error {
		c, err := b.clone()
		if err == nil && c.State != status.StateWaiting {
			err = fmt.Errorf("it is %s", c.State)
		}
		return err
	})
	a.save("file", "2\n")
	b.save("other", "mine\n")
	a.commits("2")
	if n := b.git("rev-list", "--count", "HEAD"); n != "1" {
		t.Errorf("the agent committed in the middle of a merge: %s commits", n)
	}
	b.git("update-ref", "-d", "MERGE_HEAD")
	b.has("file", "2\n")
	a.has("other", "mine\n")
	settled(t, a, b)
}

func TestMassDeletionHalts(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	for i := range 80 {
		a.save(fmt.Sprintf("dir/%d", i), "x")
	}
	b.has("dir/79", "x")
	settled(t, a, b)
	if err := os.RemoveAll(a.path("dir")); err != nil {
		t.Fatal(err)
	}
	a.warned("mass-deletion")
	if _, err := os.Stat(b.path("dir/7")); err != nil {
		t.Errorf("the deletion went over: %v", err)
	}
	if err := a.client().Resume(t.Context(), control.PauseRequest{Clone: a.dir, Accept: true}); err != nil {
		t.Fatal(err)
	}
	b.lacks("dir")
	settled(t, a, b)
}

func TestCommitsMode(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.machine(t, "laptop"), n.machine(t, "desktop")
	a.init(agent.InitOptions{Plain: true, Mode: "commits"})
	a.start()
	a.online(0)
	b.join(a, agent.JoinOptions{Mode: "commits"})
	b.start()
	a.save("draft", "not yet\n")
	a.save("done", "1\n")
	a.git("add", "done")
	a.git("commit", "-q", "-m", "done")
	b.has("done", "1\n")
	if _, err := os.Stat(b.path("draft")); err == nil {
		t.Error("what was not committed went over")
	}
	if out := a.git("status", "--porcelain"); out != "?? draft" {
		t.Errorf("git status: %q", out)
	}
}

func TestBareClone(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, nas, b := n.machine(t, "laptop"), n.machine(t, "nas"), n.machine(t, "desktop")
	a.init(agent.InitOptions{})
	a.start()
	a.online(0)
	nas.join(a, agent.JoinOptions{Bare: true})
	nas.start()
	nas.online(1)
	a.save("file", "1\n")
	nas.commits("1")
	b.join(nas, agent.JoinOptions{})
	b.start()
	b.has("file", "1\n")
	// A person can ask for contents there too.
	nasPaused := func(paused bool) {
		t.Helper()
		act := nas.client().Resume
		if paused {
			act = nas.client().Pause
		}
		if err := act(t.Context(), control.PauseRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	nasPaused(true)
	a.save("folder/large.bin", noise(300_000))
	nas.commits("2")
	if reply, err := nas.client().Prioritise(t.Context(), nas.named("folder/large.bin")); err != nil || reply.Contents != 1 {
		t.Errorf("prioritise: %+v, %v", reply, err)
	}
	nasPaused(false)
	if told, err := nas.get(true, "folder"); err != nil || !told[len(told)-1].Done || told[len(told)-1].Lacking > 0 {
		t.Errorf("get: %+v, %v", told, err)
	}
	if objects, err := filepath.Glob(filepath.Join(nas.dir, "annex/objects/*/*/*/*")); err != nil || len(objects) != 1 {
		t.Errorf("its objects are %q, %v", objects, err)
	}
	b.commits("2")
	a.stop()
	b.save("file", "2\n")
	nas.commits("3")
	b.stop()
	a.start()
	a.has("file", "2\n")
}

// commits waits until the branch that HEAD names has this many commits.
func (m *machine) commits(n string) {
	m.t.Helper()
	m.eventually("have "+n+" commits", func() error {
		got, err := m.tryGit("rev-list", "--count", "HEAD")
		if err == nil && got != n {
			err = fmt.Errorf("it has %s", got)
		}
		return err
	})
}

func TestForgottenDeviceGetsNothing(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop", "phone")
	a, b, lost := ms[0], ms[1], ms[2]
	a.save("before", "1")
	lost.has("before", "1")
	settled(t, ms...)
	s, err := lost.client().Status(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.client().Forget(t.Context(), control.ForgetRequest{Clone: a.dir, Device: s.Agent.Device[:12]}); err != nil {
		t.Fatal(err)
	}
	lost.warned("forgotten")
	a.save("after", "2")
	b.has("after", "2")
	lost.save("by the lost", "3")
	b.save("more", "4")
	a.has("more", "4")
	settled(t, a, b)
	if _, err := os.Stat(lost.path("after")); err == nil {
		t.Error("the forgotten device got a file")
	}
	if _, err := os.Stat(a.path("by the lost")); err == nil {
		t.Error("the forgotten device gave a file")
	}
}

func TestInvitations(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b, c := n.machine(t, "laptop"), n.machine(t, "desktop"), n.machine(t, "phone")
	a.init(agent.InitOptions{Plain: true})
	a.start()
	a.online(0)
	inv, err := a.client().Invite(t.Context(), control.InviteRequest{})
	if err != nil {
		t.Fatal(err)
	}
	join := func(m *machine, uri string) error {
		_, err := agent.Join(t.Context(), agent.JoinOptions{URI: uri, Dir: m.dir, Name: m.name, Paths: m.paths, Log: m.log()})
		return err
	}
	if err := join(b, "xmpp:nobody"); err == nil {
		t.Error("joined by nonsense")
	}
	if err := join(b, inv.URI); err != nil {
		t.Fatal(err)
	}
	err = join(c, inv.URI)
	if err == nil || !strings.Contains(err.Error(), "used") {
		t.Errorf("an invitation used twice: %v", err)
	}
	a.warned("join-refused")
	if _, err := os.Stat(c.dir); err == nil {
		t.Error("the refused machine has a folder")
	}
}

// TestManyAccounts has machines with an account each join at once: all see each other, and the end of each other, long before the server has let
// through all subscriptions.
func TestManyAccounts(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop", "nas", "tablet", "attic", "cellar", "garage")
	want := make(map[string]string)
	for _, m := range ms {
		want["from "+m.name] = m.name
		m.save("from "+m.name, m.name)
	}
	only(t, want, ms...)
	last := ms[len(ms)-1]
	last.stop()
	for _, m := range ms[:len(ms)-1] {
		m.eventually("see that "+last.name+" has gone", func() error {
			c, err := m.clone()
			for _, p := range c.Peers {
				if p.Name == last.name && p.Online {
					err = errors.New("it is online")
				}
			}
			return err
		})
	}
}

// TestOneAccount has machines of one account join right after each other.
func TestOneAccount(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.user = n.account(t, "anna")
	ms := n.grove(t, agent.InitOptions{Plain: true}, "laptop", "desktop", "nas", "tablet")
	for _, m := range ms {
		m.save("from "+m.name, m.name)
	}
	only(t, map[string]string{"from laptop": "laptop", "from desktop": "desktop", "from nas": "nas", "from tablet": "tablet"}, ms...)
}
