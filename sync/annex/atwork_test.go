package annex

import (
	"bufio"
	"os/exec"
	"testing"

	"github.com/git-arbor/arbor/sync/annex/annextest"
)

// TestKeysOpen asks while a git-annex waits for the next file that it is to drop, and when it has ended.
func TestKeysOpen(t *testing.T) { annextest.Each(t, testKeysOpen) }

func testKeysOpen(t *testing.T) {
	for name, databases := range map[string]string{"beside the contents": "", "elsewhere": annextest.TempDir(t)} {
		t.Run(name, func(t *testing.T) {
			dir := annextest.TempDir(t)
			run(t, dir, "git", "init", "-q")
			if databases != "" {
				run(t, dir, "git", "config", "annex.dbdir", databases)
			}
			r := initAnnex(t, dir, "laptop")
			write(t, r, "file", "content", 0o644)
			run(t, dir, "git", "annex", "add", "--force-large", "file")
			if r.KeysOpen() {
				t.Error("nobody has the database open")
			}
			cmd := exec.CommandContext(t.Context(), "git-annex", "drop", "--batch", "--json")
			cmd.Dir = dir
			in, out := annextest.Start(t, cmd)
			if _, err := in.Write([]byte("file\n")); err != nil {
				t.Error(err)
			}
			if said, err := bufio.NewReader(out).ReadString('\n'); err != nil || !r.KeysOpen() {
				t.Errorf("git-annex has the database open (%v), and said %q", err, said)
			}
			if err := in.Close(); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait() // it could not drop the only copy
			if r.KeysOpen() {
				t.Error("git-annex has ended")
			}
		})
	}
}
