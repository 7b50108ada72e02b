package remote_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/remote"
)

// programs stand in for others: an ssh that reaches one host, which is here, and an external special remote.
var programs = map[string]string{
	"ssh": `#!/bin/sh
[ -z "$SSH_LOG" ] || echo "$@" >> "$SSH_LOG"
for command; do :; done
case " $* " in
*" here "* | *" me@here "*) exec sh -c "$command" ;;
*" forge "*) case "$command" in git-annex-shell*) echo "Invalid command: $command" >&2; exit 1 ;; *) exec sh -c "$command" ;; esac ;;
*" stranger "*) echo "Host key verification failed." >&2; exit 255 ;;
esac
echo "ssh: connect to host port 22: No route to host" >&2
exit 255
`,
	"git-annex-remote-shelf": `#!/bin/sh
echo VERSION 1
while read -r request a b c; do
	case "$request" in
	INITREMOTE | PREPARE) echo "$request-SUCCESS" ;;
	TRANSFER)
		case "$a" in
		STORE) cp -- "$c" "$SHELF/$b" ;;
		RETRIEVE) cp -- "$SHELF/$b" "$c" ;;
		esac && echo "TRANSFER-SUCCESS $a $b" || echo "TRANSFER-FAILURE $a $b no such thing" ;;
	CHECKPRESENT)
		if [ ! -d "$SHELF" ]; then echo "CHECKPRESENT-UNKNOWN $a the shelf is not accessible"
		elif [ -e "$SHELF/$a" ]; then echo "CHECKPRESENT-SUCCESS $a"
		else echo "CHECKPRESENT-FAILURE $a"; fi ;;
	REMOVE) rm -f -- "$SHELF/$a" && echo "REMOVE-SUCCESS $a" ;;
	*) echo UNSUPPORTED-REQUEST ;;
	esac
done
`,
}

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		_ = flag.Set("rapid.checks", "4") // each check runs git-annex several times
	}
	os.Exit(testIn(m))
}

// testIn runs the tests with a home and programs of their own.
func testIn(m *testing.M) int {
	home, err := os.MkdirTemp("", "remote-home")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(home)
	bin := filepath.Join(home, "bin")
	for name, script := range programs {
		if err := os.MkdirAll(bin, 0o777); err != nil {
			panic(err)
		}
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o777); err != nil {
			panic(err)
		}
	}
	config := "[user]\n\tname = Tester\n\temail = tester@example.org\n[init]\n\tdefaultBranch = main\n[annex]\n\tdiskreserve = 1kb\n"
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o666); err != nil {
		panic(err)
	}
	for name, value := range map[string]string{
		"HOME": home, "XDG_CONFIG_HOME": filepath.Join(home, "xdg"), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C.UTF-8", "GIT_SSH_COMMAND": "", "GIT_SSH": "",
		"PATH": bin + ":" + os.Getenv("PATH"),
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	return m.Run()
}

// run runs a program in dir, which must succeed, and gives what it prints.
func run(t testing.TB, dir string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("git-annex"); err != nil {
		t.Fatal("these tests need git and git-annex: apt-get install git git-annex")
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%q: %v\n%s%s", args, err, &stdout, &stderr)
	}
	return strings.TrimSpace(stdout.String())
}

// newAnnex makes a repository with git-annex.
func newAnnex(t testing.TB, options ...string) string {
	t.Helper()
	dir := filepath.Join(annextest.TempDir(t), "repo")
	run(t, "/", append([]string{"git", "init", "-q", dir}, options...)...)
	run(t, dir, "git", "annex", "init", "-q", "test")
	return dir
}

// clone is a clone under test.
type clone struct {
	dir  string
	git  *gitrepo.Repo
	repo *annex.Repo
}

func openClone(t testing.TB, dir string) clone {
	t.Helper()
	git, err := gitrepo.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { git.Close() })
	repo, err := annex.Open(t.Context(), git)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { repo.Close() })
	return clone{dir, git, repo}
}

// annex runs git-annex in the clone.
func (c clone) annex(t testing.TB, args ...string) string {
	t.Helper()
	return run(t, c.dir, append([]string{"git", "annex"}, args...)...)
}

// remote gives a remote that git's configuration names by now.
func (c clone) remote(t testing.TB, name string) *remote.Remote {
	t.Helper()
	if err := c.git.ReloadConfig(t.Context()); err != nil {
		t.Fatal(err)
	}
	remotes, err := remote.List(t.Context(), c.git, c.repo)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range remotes {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no remote %s", name)
	return nil
}

// open begins a session with a remote.
func (c clone) open(t testing.TB, name string) remote.Session {
	t.Helper()
	r := c.remote(t, name)
	if err := r.Identify(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := r.Open(t.Context(), p2p.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// hold puts content into the clone's annex and records it.
func (c clone) hold(t testing.TB, content []byte) annex.Key {
	t.Helper()
	key := annex.KeyFor(sha256.Sum256(content), int64(len(content)), "a.dat", annex.DefaultMaxExtensionLength)
	tmp := c.repo.TmpPath(key)
	if err := os.MkdirAll(filepath.Dir(tmp), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tmp, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.repo.PlaceVerified(key, tmp); err != nil {
		t.Fatal(err)
	}
	c.record(t, key, c.repo.UUID(), true)
	return key
}

func (c clone) record(t testing.TB, key annex.Key, uuid string, present bool) {
	t.Helper()
	if _, err := c.repo.Record(t.Context(), []annex.Location{{Key: key, UUID: uuid, Present: present}}); err != nil {
		t.Fatal(err)
	}
}

// forget removes content from the clone.
func (c clone) forget(t testing.TB, key annex.Key) {
	t.Helper()
	path, present := c.repo.ObjectPath(key)
	if !present {
		return
	}
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	c.record(t, key, c.repo.UUID(), false)
}

// content reads what the clone has of a key.
func (c clone) content(t testing.TB, key annex.Key) []byte {
	t.Helper()
	path, present := c.repo.ObjectPath(key)
	if !present {
		t.Fatalf("%s is not here", key)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// random gives bytes that are the same in every run.
func random(seed uint64, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, seed))).Read(b)
	return b
}
