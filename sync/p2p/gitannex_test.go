package p2p_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/annex/annextest"
)

// gitEnv is the environment of every git and git-annex child: nothing of the person's own configuration.
func gitEnv(t *testing.T) []string {
	t.Helper()
	home := t.TempDir()
	return append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C.UTF-8",
		"GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.org")
}

// git runs git in a folder and gives what it prints, without the last newline.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	return gitIn(t, gitEnv(t), dir, args...)
}

func gitIn(t *testing.T, env []string, dir string, args ...string) string {
	t.Helper()
	for _, name := range []string{"git", "git-annex"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%s is missing: apt-get install git git-annex", name)
		}
	}
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = dir, env
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %v\n%s%s", strings.Join(args, " "), err, out, errs.String())
	}
	return strings.TrimSuffix(string(out), "\n")
}

// newAnnex makes a repository with git-annex.
func newAnnex(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	git(t, "/", "init", "-q", "-b", "main", dir)
	git(t, dir, "annex", "init", "-q", "test")
	t.Cleanup(func() { thaw(dir) })
	return dir
}

// thaw makes git-annex's write-protected directories removable.
func thaw(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o755)
		}
		return nil
	})
}

// add puts a file into the annex and gives its key.
func add(t *testing.T, dir, name string, content []byte) annex.Key {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "annex", "add", "-q", "--", name)
	git(t, dir, "commit", "-q", "-m", "add")
	key, err := annex.ParseKey(git(t, dir, "annex", "lookupkey", "--", name))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func uuid(t *testing.T, dir string) string {
	t.Helper()
	return git(t, dir, "config", "annex.uuid")
}

// pipes is the standard input and output of a child process.
type pipes struct {
	io.Reader
	io.WriteCloser
	cmd *exec.Cmd
}

func (p *pipes) Close() error {
	_ = p.WriteCloser.Close()
	_ = p.cmd.Process.Kill()
	return nil
}

// annexShell runs the real server.
func annexShell(t *testing.T, dir string) *pipes {
	t.Helper()
	if _, err := exec.LookPath("git-annex-shell"); err != nil {
		t.Fatal("git-annex-shell is missing: apt-get install git-annex")
	}
	cmd := exec.Command("git-annex-shell", "p2pstdio", dir, clientUUID, "--uuid", uuid(t, dir))
	cmd.Env = gitEnv(t)
	in, out := annextest.Start(t, cmd)
	p := &pipes{out, in, cmd}
	t.Cleanup(func() {
		_ = p.Close()
		_ = cmd.Wait()
	})
	return p
}

// clientUUID names the client in tests.
const clientUUID = "11111111-2222-4333-8444-555555555555"
