package agent_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/sync/annex"
)

// annexBefore makes the machine's clone a repository that a person has used with git-annex, and gives its files.
func (m *machine) annexBefore(version string) map[string]string {
	m.t.Helper()
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		m.t.Fatal(err)
	}
	m.git("init", "-q", "-b", "main")
	m.identify()
	m.git("config", "annex.autoupgraderepository", "false")
	m.git("annex", "init", "-q", "--version="+version, m.name)
	files := make(map[string]string)
	for i, backend := range []string{"SHA256E", "MD5E", "SHA512E", "SHA1", "WORM", "BLAKE2B256E"} {
		for _, form := range []string{"locked", "unlocked"} {
			name := fmt.Sprintf("dir %d/%s %s.bin", i, form, backend)
			files[name] = strings.Repeat(name+"\n", 2000)
			m.save(name, files[name])
			m.git("-c", fmt.Sprintf("annex.addunlocked=%t", form == "unlocked"), "annex", "add", "-q", "--backend="+backend, name)
		}
	}
	web := filepath.Join(m.t.TempDir(), "from the web.bin")
	files["web.bin"] = strings.Repeat("web\n", 1000)
	if err := os.WriteFile(web, []byte(files["web.bin"]), 0o666); err != nil {
		m.t.Fatal(err)
	}
	for _, verb := range [][]string{{"addurl", "-q", "--fast", "--file=web.bin", "file://" + strings.ReplaceAll(web, " ", "%20")}, {"get", "-q", "web.bin"}} {
		m.git(append([]string{"-c", "annex.security.allowed-url-schemes=file", "annex"}, verb...)...)
	}
	m.git("commit", "-q", "-m", "as it was")
	return files
}

// annexSound lets git-annex judge the machine's clone: it must find nothing to mend.
func (m *machine) annexSound() {
	m.t.Helper()
	for _, note := range annexFsck(m.t, m, true) {
		m.t.Errorf("%s: git annex fsck: %s", m.name, note)
	}
}

// TestAnnexOfBefore has agents keep a repository of an old version in step, with keys of every kind.
func TestAnnexOfBefore(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.machine(t, "laptop"), n.machine(t, "desktop")
	files := a.annexBefore("8")
	a.init(agent.InitOptions{})
	a.start()
	b.join(a, agent.JoinOptions{})
	b.start()
	for name, content := range files {
		b.has(name, content)
	}
	settled(t, a, b)
	if version := a.git("config", "annex.version"); version != "8" {
		t.Errorf("annex.version is now %s", version)
	}
	for name := range files {
		if one, other := a.git("annex", "lookupkey", name), b.git("annex", "lookupkey", name); one != other || name != "web.bin" && !strings.HasPrefix(one, strings.TrimSuffix(name[strings.LastIndexByte(name, ' ')+1:], ".bin")) {
			t.Errorf("%s has the keys %s and %s", name, one, other)
		}
	}
	a.annexSound()
	b.annexSound()
}

// TestUnlocked has a person unlock files where new ones are locked. They stay unlocked, also when they are edited, and when they are looked at
// again though nothing has changed.
func TestUnlocked(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	want := make(map[string]string)
	for i := range 10 {
		want[fmt.Sprintf("%d.bin", i)] = noise(150_000 + i)
	}
	for _, m := range ms {
		m.git("config", "annex.addunlocked", "false")
	}
	a.saveAll(want)
	for name, content := range want {
		b.has(name, content) // through the link
	}
	settled(t, a, b)
	a.try("annex", "unlock", ".")
	unlocked := func() error {
		for line := range strings.Lines(a.git("ls-tree", "HEAD")) {
			if !strings.HasPrefix(line, "100644 ") {
				return fmt.Errorf("git has %s", line)
			}
		}
		return nil
	}
	a.eventually("have all unlocked", unlocked)
	only(t, want, a, b)
	now := time.Now()
	if err := os.Chtimes(b.path("0.bin"), now, now); err != nil {
		t.Fatal(err)
	}
	want["1.bin"] = noise(160_000)
	b.save("1.bin", want["1.bin"])
	only(t, want, a, b)
	if err := unlocked(); err != nil {
		t.Error(err)
	}
}

// TestEmptied has a program that knows nothing of git-annex check out a file whose content is here.
func TestEmptied(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	want := map[string]string{"large.bin": noise(150_000)}
	a.saveAll(want)
	only(t, want, a, b)
	for _, m := range ms {
		m.save("large.bin", m.git("cat-file", "-p", "HEAD:large.bin")+"\n")
	}
	only(t, want, a, b)
	for _, m := range ms {
		m.annexSound()
	}
}

// TestHuge has two files of one content so large that it is copied into them beside everything else, also after a person's git has put pointers
// in their places.
func TestHuge(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	content := noise(annex.HugeSize + 1)
	want := map[string]string{"one.bin": content, "dir/two.bin": content}
	a.saveAll(want)
	only(t, want, a, b)
	for path := range want {
		b.save(path, b.git("cat-file", "-p", "HEAD:"+path)+"\n")
	}
	want["small.bin"] = noise(150_000)
	a.save("small.bin", want["small.bin"])
	only(t, want, a, b)
	for _, m := range ms {
		m.annexSound()
		if left, err := filepath.Glob(m.path(".git/annex/othertmp/*")); err != nil || len(left) > 0 {
			t.Errorf("%s: temporary files are left: %q, %v", m.name, left, err)
		}
	}
}

// TestMovedLinks has a person move locked files into other folders, without git and with it.
func TestMovedLinks(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	content := make(map[string]string)
	for _, name := range []string{"by hand.bin", "by git.bin", "in a commit.bin", "sub/up.bin", "folder/in it.bin"} {
		content[name] = strings.Repeat(name, 20_000)
		a.save(name, content[name])
		b.has(name, content[name])
	}
	settled(t, a, b)
	a.try("annex", "lock", ".")
	settled(t, a, b)
	for _, m := range []*machine{a, b} {
		for name := range content {
			m.locked(name)
		}
	}
	for from, to := range map[string]string{"by hand.bin": "deep/er/by hand.bin", "sub/up.bin": "up.bin", "folder": "deep/folder"} {
		if err := os.MkdirAll(filepath.Dir(a.path(to)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(a.path(from), a.path(to)); err != nil {
			t.Fatal(err)
		}
	}
	a.try("mv", "by git.bin", "deep/by git.bin")
	settled(t, a, b)
	b.try("mv", "in a commit.bin", "deep/in a commit.bin")
	b.try("-c", "core.hooksPath=/dev/null", "commit", "-q", "--allow-empty", "-m", "where git-annex is not installed")
	for to, from := range map[string]string{
		"deep/er/by hand.bin": "by hand.bin", "up.bin": "sub/up.bin", "deep/by git.bin": "by git.bin", "deep/in a commit.bin": "in a commit.bin", "deep/folder/in it.bin": "folder/in it.bin",
	} {
		for _, m := range ms {
			m.has(to, content[from]) // through the link
			m.locked(to)
			m.lacks(from)
		}
	}
	settled(t, a, b)
	a.annexSound()
	b.annexSound()
	if out := a.git("annex", "fix"); out != "" {
		t.Errorf("git annex fix still had something to do: %s", out)
	}
}

// locked waits until a file is a link to its content.
func (m *machine) locked(name string) {
	m.t.Helper()
	m.eventually("see "+name+" locked", func() error {
		st, err := os.Lstat(m.path(name))
		if err == nil && st.Mode()&os.ModeSymlink == 0 {
			err = fmt.Errorf("it is %v", st.Mode())
		}
		return err
	})
}

// TestForgetDead has a person forget a lost machine with git-annex on one machine; nothing of it comes back from the other.
func TestForgetDead(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop", "lost")
	a, b, lost := ms[0], ms[1], ms[2]
	a.save("f.bin", strings.Repeat("1", 200_000))
	for _, m := range ms {
		m.has("f.bin", strings.Repeat("1", 200_000))
	}
	settled(t, ms...)
	origin := filepath.Join(t.TempDir(), "origin.git")
	a.git("init", "-q", "--bare", origin)
	a.try("remote", "add", "origin", origin)
	a.eventually("push", func() error {
		out, err := a.tryGit("ls-remote", "origin", "git-annex")
		if err == nil && out == "" {
			err = errors.New("there is no git-annex branch")
		}
		return err
	})
	uuid := lost.git("config", "annex.uuid")
	lines := func(m *machine) string {
		out, _ := m.tryGit("grep", "-l", uuid, "git-annex", "--", ":!trust.log")
		return out
	}
	for _, m := range ms[:2] {
		m.eventually("know where it is", func() error {
			if out := lines(m); !strings.Contains(out, ".bin.log") {
				return fmt.Errorf("only %q tell", out)
			}
			return nil
		})
	}
	lost.stop()
	old := a.git("rev-list", "--max-parents=0", "git-annex")
	a.try("annex", "dead", uuid)
	a.try("annex", "forget", "--force", "--drop-dead")
	a.save("g.bin", strings.Repeat("2", 200_000))
	b.save("h.bin", strings.Repeat("3", 200_000))
	a.has("h.bin", strings.Repeat("3", 200_000))
	b.has("g.bin", strings.Repeat("2", 200_000))
	settled(t, a, b)
	for _, m := range ms[:2] {
		m.eventually("forget", func() error {
			if out := lines(m); out != "" {
				return fmt.Errorf("%q tell of it", out)
			}
			roots, err := m.tryGit("rev-list", "--max-parents=0", "git-annex")
			if err == nil && strings.Contains(roots, old) {
				err = fmt.Errorf("the old history is there: %s", roots)
			}
			return err
		})
		m.eventually("know where all is", func() error {
			out, err := m.tryGit("annex", "whereis", "f.bin", "g.bin", "h.bin")
			if err == nil && strings.Count(out, "(3 copies)") != 3 {
				err = fmt.Errorf("whereis says %s", out)
			}
			return err
		})
	}
	for _, m := range ms[:2] {
		m.annexSound()
	}
	// A remote that still has the old history gets no more of it, nor do we push to it for ever.
	if w := a.warned("remote-forgot"); !strings.Contains(w.Hint, "git push --force origin git-annex") {
		t.Errorf("the warning is %+v", w)
	}
	for _, args := range [][]string{{"git-annex"}, {"git-annex:synced/git-annex"}} {
		a.git(append([]string{"push", "-q", "--force", "origin"}, args...)...)
	}
	a.save("i.bin", strings.Repeat("4", 200_000))
	b.has("i.bin", strings.Repeat("4", 200_000))
	a.eventually("push again", func() error {
		out, err := a.tryGit("ls-remote", "origin", "synced/git-annex")
		if own := a.git("rev-parse", "git-annex"); err == nil && !strings.Contains(out, own) {
			err = fmt.Errorf("%s, not %s", out, own)
		}
		return err
	})
	for _, m := range ms[:2] {
		if out := lines(m); out != "" {
			t.Errorf("%s: %q tell of what was forgotten", m.name, out)
		}
	}
}

// TestBecomesAnnex: a person begins to use git-annex in a clone, and then in another; the agents go on with it.
func TestBecomesAnnex(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.save("text.txt", "1\n")
	b.has("text.txt", "1\n")
	big := strings.Repeat("big", 100_000)
	a.try("annex", "init", "-q", "laptop")
	a.eventually("see that it is an annex", func() error {
		c, err := a.clone()
		if uuid := a.git("config", "annex.uuid"); err == nil && c.ID != uuid {
			err = fmt.Errorf("the clone is %s, not %s", c.ID, uuid)
		}
		return err
	})
	a.save("big.bin", big)
	b.eventually("have the link", func() error {
		_, err := os.Readlink(b.path("big.bin"))
		return err
	})
	if w := b.warned("no-annex"); !strings.Contains(w.Text, "on laptop") || w.Hint != "git -C "+b.dir+" annex init" {
		t.Errorf("the warning is %+v", w)
	}
	b.try("annex", "init", "-q", "desktop")
	b.has("big.bin", big)
	settled(t, a, b)
	b.save("more.bin", big+"more")
	a.has("more.bin", big+"more")
	settled(t, a, b)
	for _, m := range ms {
		m.annexSound()
		if s, err := m.client().Status(t.Context(), 0); err != nil || len(s.Warnings) > 0 {
			t.Errorf("%s: there are warnings: %+v, %v", m.name, s.Warnings, err)
		}
	}
}

// TestAdjustedBranch: an adjusted branch is left alone while it is checked out, and is not shared.
func TestAdjustedBranch(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.save("before.txt", "before\n")
	b.has("before.txt", "before\n")
	settled(t, a, b)
	branch := a.git("branch", "--show-current")
	a.try("annex", "adjust", "--unlock")
	if w := a.warned("cycle"); !strings.Contains(w.Text, "adjusted/"+branch) || w.Hint != "run git checkout "+branch {
		t.Errorf("the warning is %+v", w)
	}
	a.save("meanwhile.txt", "meanwhile\n")
	b.save("theirs.txt", "theirs\n")
	a.try("checkout", "-q", branch)
	b.has("meanwhile.txt", "meanwhile\n")
	a.has("theirs.txt", "theirs\n")
	settled(t, a, b)
	if refs := b.git("for-each-ref", "refs/heads/adjusted"); refs != "" {
		t.Errorf("the adjusted branch was shared: %s", refs)
	}
}
