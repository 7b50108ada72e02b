// Package annextest finds the git-annex programs that tests judge by: the one of the system, and a newer one beside it. Their clocks, locks,
// notes and protocol versions differ.
package annextest

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
)

// Env names the folder that .ci/git-annex-sid has filled; any whose bin has a git-annex and a git-annex-shell will do.
const Env = "ARBOR_TEST_GIT_ANNEX_SID"

// Each runs a test once with every git-annex first in PATH. One that is missing fails the test, and says how to get it.
func Each(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Run("system", test)
	t.Run("sid", func(t *testing.T) {
		t.Setenv("PATH", SidPath(t))
		test(t)
	})
}

// SidPath is the PATH with the newer git-annex first, for the programs of one machine of several.
func SidPath(t *testing.T) string {
	t.Helper()
	return newer(t) + string(filepath.ListSeparator) + os.Getenv("PATH")
}

// newer gives the folder with the programs of the newer git-annex.
func newer(t *testing.T) string {
	t.Helper()
	dir := os.Getenv(Env)
	if dir == "" {
		person, err := user.Current() // whose HOME many tests change
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(person.HomeDir, ".cache", "arbor", "git-annex-sid")
	}
	bin := filepath.Join(dir, "bin")
	if _, err := exec.LookPath(filepath.Join(bin, "git-annex")); err != nil {
		t.Fatalf("this test needs a second, newer git-annex: run .ci/git-annex-sid %q, or set %s: %v", dir, Env, err)
	}
	return bin
}
