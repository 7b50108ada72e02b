package annex

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// filterEnv makes the test binary be the filter process that git starts.
const filterEnv = "ARBOR_TEST_FILTER"

func TestMain(m *testing.M) {
	for env, program := range map[string]func() error{filterEnv: runFilter, writerEnv: runWriter, removerEnv: runRemover, getterEnv: runGetter} {
		if os.Getenv(env) == "" {
			continue
		}
		if err := program(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(testIn(m))
}

// testIn runs the tests with a home of their own, so that no configuration of the person counts.
func testIn(m *testing.M) int {
	home, err := os.MkdirTemp("", "annex-home")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(home) }()
	config := "[user]\n\tname = Tester\n\temail = tester@example.org\n[init]\n\tdefaultBranch = main\n[protocol \"file\"]\n\tallow = always\n[annex]\n\tdiskreserve = 1kb\n"
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o666); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for key, value := range map[string]string{
		"HOME": home, "XDG_CONFIG_HOME": filepath.Join(home, "xdg"), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0",
	} {
		if err := os.Setenv(key, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

func runFilter() (err error) {
	ctx := context.Background()
	git, err := gitrepo.Open(ctx, ".")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, git.Close()) }()
	return FilterProcess(ctx, git, os.Stdin, os.Stdout)
}

// run runs a program in dir and gives its output; the test fails when the program does.
func run(t testing.TB, dir, name string, args ...string) string {
	t.Helper()
	out, err := try(t, dir, name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

func try(t testing.TB, dir, name string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("these tests need git and git-annex (apt-get install git git-annex): %v", err)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%w: %s", err, stderr.String())
	}
	return stdout.String(), nil
}

// gitAnnex runs git-annex, which must succeed, and gives what it says in JSON, a line for each file.
func gitAnnex(t testing.TB, dir string, args ...string) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(run(t, dir, "git-annex", append(args, "--json")...)) {
		var decoded map[string]any
		if err := json.Unmarshal([]byte(line), &decoded); err != nil {
			t.Fatalf("git-annex %q says %q: %v", args, line, err)
		}
		lines = append(lines, decoded)
	}
	return lines
}

// fsck lets git-annex and git judge a clone, twice: nothing may be wrong, and nothing may have been put right.
func fsck(t testing.TB, dir string) {
	t.Helper()
	for range 2 {
		for _, line := range gitAnnex(t, dir, "fsck") {
			if line["success"] != true || line["note"] != nil && line["note"] != "" && line["note"] != "checksum..." {
				t.Errorf("git annex fsck in %s: %v", dir, line)
			}
		}
	}
	run(t, dir, "git", "fsck", "--strict")
	if out := run(t, dir, "git", "status", "--porcelain"); out != "" {
		t.Errorf("git status in %s:\n%s", dir, out)
	}
}

// openGit opens the repository at dir until the test ends.
func openGit(t testing.TB, dir string) *gitrepo.Repo {
	t.Helper()
	git, err := gitrepo.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := git.Close(); err != nil {
			t.Error(err)
		}
	})
	return git
}

// newAnnex makes a repository with an annex.
func newAnnex(t testing.TB) *Repo {
	t.Helper()
	dir := annextest.TempDir(t)
	run(t, dir, "git", "init", "-q")
	return initAnnex(t, dir, "laptop")
}

// initAnnex makes an annex in the repository at dir until the test ends.
func initAnnex(t testing.TB, dir, description string) *Repo {
	t.Helper()
	r, err := Init(t.Context(), openGit(t, dir), description)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, r)
	return r
}

func closeLater(t testing.TB, r *Repo) {
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// write writes a file of the work tree.
func write(t testing.TB, r *Repo, path, content string, mode fs.FileMode) {
	t.Helper()
	name := r.workPath(path)
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, r *Repo, path string) string {
	t.Helper()
	content, err := os.ReadFile(r.workPath(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// addFile adds a file of the work tree, commits it and records it, as the agent does.
func addFile(t testing.TB, r *Repo, path string, opts AddOptions) Added {
	t.Helper()
	added, err := r.Add(t.Context(), path, opts)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := r.git.WriteBlob(added.Content)
	if err != nil {
		t.Fatal(err)
	}
	commitEntry(t, r, gitrepo.IndexEntry{Path: path, Entry: gitrepo.Entry{Mode: added.Mode, Hash: blob}, Stat: added.Stat})
	record(t, r, Location{Key: added.Key, UUID: r.UUID(), Present: true})
	return added
}

// commitEntry commits one entry and puts it into the index.
func commitEntry(t testing.TB, r *Repo, e gitrepo.IndexEntry) {
	t.Helper()
	ref, head, err := r.git.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := gitrepo.NewCommit{Base: head, Changes: []gitrepo.Change{{Path: e.Path, New: e.Entry}}, Message: "add"}
	if !head.IsZero() {
		c.Parents = []gitrepo.Hash{head}
	}
	commit, err := r.git.NewCommit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.git.Advance(t.Context(), gitrepo.Advance{Ref: ref, Old: head, New: commit, Index: []gitrepo.IndexEntry{e}}); err != nil {
		t.Fatal(err)
	}
}

func record(t testing.TB, r *Repo, locations ...Location) gitrepo.Hash {
	t.Helper()
	h, err := r.Record(t.Context(), locations)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func locations(t testing.TB, r *Repo, k Key) []string {
	t.Helper()
	uuids, err := r.Locations(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	return uuids
}

// keyOf makes a key of content that need not be anywhere.
func keyOf(t testing.TB, n int) Key {
	t.Helper()
	k, err := ParseKey(fmt.Sprintf("SHA256E-s%d--%064x.dat", n, n))
	if err != nil {
		t.Fatal(err)
	}
	return k
}
