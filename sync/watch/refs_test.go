package watch

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNewRefs(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	gitDir := filepath.Join(root, ".git")
	git := func(args ...string) {
		t.Helper()
		if out, err := gitIn(t, root, args...); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q", "-b", "main")
	w, err := NewRefs(gitDir, nil)
	must(t, err)
	r := recordWatcher(t, w)

	write(t, root, "f", "1\n")
	git("add", "f")
	git("commit", "-qm", "one")
	r.settled("refs/heads/main")
	git("switch", "-qc", "deep/er/branch")
	r.settled("HEAD", "refs/heads/deep/er/branch")
	write(t, root, "f", "2\n")
	git("commit", "-qam", "two")
	r.settled("refs/heads/deep/er/branch")
	git("tag", "v1")
	r.settled("refs/tags/v1")
	git("pack-refs", "--all")
	r.settled("packed-refs")
	git("branch", "-D", "main")
	r.settled("packed-refs")
	git("branch", "main", "HEAD~1")
	r.settled("refs/heads/main")
	git("config", "user.email", "x@y")
	r.settled("config")
	write(t, root, ".git/info/exclude", "*.o\n")
	r.settled("info/exclude")

	// A merge and a rebase that stop at a conflict, and go on.
	git("switch", "-q", "main")
	write(t, root, "f", "3\n")
	git("commit", "-qam", "three")
	r.settled("HEAD", "refs/heads/main")
	if out, err := gitIn(t, root, "merge", "deep/er/branch"); err == nil {
		t.Fatalf("no conflict: %s", out)
	}
	r.settled("MERGE_HEAD")
	git("merge", "--abort")
	r.settled("MERGE_HEAD")
	if out, err := gitIn(t, root, "rebase", "deep/er/branch"); err == nil {
		t.Fatalf("no conflict: %s", out)
	}
	r.settled("HEAD", "rebase-merge/head-name")
	git("rebase", "--abort")
	r.settled("HEAD", "rebase-merge")

	for _, e := range r.got {
		if e.Kind != Refs && e.Reason != "start" {
			t.Errorf("unexpected %+v", e)
		}
		if i := slices.IndexFunc(e.Paths, func(p string) bool {
			return strings.HasSuffix(p, ".lock") || p == "index" || strings.HasPrefix(p, "objects") || strings.HasPrefix(p, "logs")
		}); i >= 0 {
			t.Errorf("reported %q", e.Paths[i])
		}
	}

	must(t, os.Rename(gitDir, gitDir+".away"))
	r.awaitKind(Lost)
}

// gitIn runs git without the configuration of whoever runs the tests.
func gitIn(t *testing.T, dir string, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "GIT_EDITOR=true",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	return cmd.CombinedOutput()
}
