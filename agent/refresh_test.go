package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
)

// TestFilledByOthers: where something else puts the content in the place of a pointer, as git-annex does, and leaves the index as it was, git status is
// clean all the same.
func TestFilledByOthers(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	if err := b.client().Pause(t.Context(), control.PauseRequest{Clone: b.dir}); err != nil {
		t.Fatal(err)
	}
	content := noise(200_000)
	a.save("f.bin", content)
	b.eventually("have the pointer", func() error {
		got, err := os.ReadFile(b.path("f.bin"))
		if err == nil && !strings.HasPrefix(string(got), "/annex/objects/") {
			err = fmt.Errorf("it has %.40q", got)
		}
		return err
	})
	filled := filepath.Join(t.TempDir(), "filled") // of the same file system
	if err := os.WriteFile(filled, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filled, b.path("f.bin")); err != nil {
		t.Fatal(err)
	}
	b.clean()
	b.has("f.bin", content)
	b.eventually("say that it has it", func() error {
		out, err := b.tryGit("annex", "whereis", "f.bin")
		if err == nil && !strings.Contains(out, b.git("config", "annex.uuid")) {
			err = fmt.Errorf("whereis says %s", out)
		}
		return err
	})
	if out := b.git("log", "--format=%s", "--", "f.bin"); strings.Count(out, "\n") > 0 {
		t.Errorf("it was committed again: %s", out)
	}
}
