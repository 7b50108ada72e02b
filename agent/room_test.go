package agent_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/sync/annex"
)

// TestNoRoomForContent: a content that does not fit waits, what fits comes, and when there is room the rest goes on by itself. The
// disk is full before the content begins to come, or fills up while it does.
func TestNoRoomForContent(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]bool{"before": false, "meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it is mostly the pause after which the disk is tried again
			n := newNetwork(t)
			a, b := n.machine(t, "laptop"), n.machine(t, "desktop")
			a.init(agent.InitOptions{})
			a.start()
			a.online(0)
			b.join(a, agent.JoinOptions{})
			b.git("config", "annex.diskreserve", "1 mb")
			b.spawn(smallDisk(48 << 20))
			b.online(1)
			large, small := noise(16<<20), noise(200_000) // twice, in the annex and in the file
			if meanwhile {
				b.limit(func(l *config.Limits) { l.Down, l.LAN = 2<<20, true })
				a.save("large.bin", large)
				b.row("that it comes", comes("large.bin", 1<<20))
				occupy(t, b.path(".git/filler"), 48<<20)
				b.limit(func(l *config.Limits) { *l = config.Limits{} })
			} else {
				occupy(t, b.path(".git/filler"), 36<<20)
				a.save("large.bin", large)
			}
			if w := b.warned("no-room"); w.Hint == "" {
				t.Errorf("the warning is %+v", w)
			}
			b.pointer("large.bin")
			if !meanwhile {
				a.save("small.bin", small)
				b.has("small.bin", small)
			}
			if err := os.Remove(b.path(".git/filler")); err != nil {
				t.Fatal(err)
			}
			b.has("large.bin", large)
			settled(t, a, b)
			s, err := b.client().Status(t.Context(), 0)
			if err != nil || len(s.Warnings) > 0 {
				t.Errorf("warnings are left: %+v, %v", s.Warnings, err)
			}
		})
	}
}

// TestNoRoomToAdd: a file for whose content there is no room in the annex is said, whatever its size, and committed when there is.
func TestNoRoomToAdd(t *testing.T) {
	t.Parallel()
	for _, size := range []int{200_000, annex.HugeSize + 1} {
		m := newNetwork(t).machine(t, "laptop")
		m.init(agent.InitOptions{})
		m.start()
		m.online(0)
		m.save("first.txt", "1\n")
		m.eventually("commit", func() error { _, err := m.tryGit("cat-file", "-e", "HEAD:first.txt"); return err })
		content := noise(size)
		m.git("config", "annex.diskreserve", "1000 tb")
		m.save("large.bin", content)
		if w := m.warned("cycle"); w.Hint == "" || !strings.Contains(w.Text, "large.bin") || !strings.Contains(w.Text, "free disk space") {
			t.Errorf("%d bytes: the warning is %+v", size, w)
		}
		m.has("large.bin", content)
		m.git("config", "--unset", "annex.diskreserve")
		m.eventually("add it", func() error {
			if out, err := m.tryGit("annex", "lookupkey", "large.bin"); err != nil || !strings.HasPrefix(out, fmt.Sprintf("SHA256E-s%d-", size)) {
				return fmt.Errorf("its key is %s (%w)", out, err)
			}
			s, err := m.client().Status(t.Context(), 0)
			if err == nil && len(s.Warnings) > 0 {
				err = fmt.Errorf("warnings are left: %+v", s.Warnings)
			}
			return err
		})
		m.has("large.bin", content)
	}
}

// occupy writes a file of so many bytes, or as many as the disk has room for.
func occupy(t *testing.T, path string, bytes int) {
	t.Helper()
	err := os.WriteFile(path, make([]byte, bytes), 0o644)
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// TestFolderVanishesMeanwhile: the clone's folder is gone while a content comes, as when a disk is unplugged. Nothing is made in
// its place, and the content goes on when the folder is back.
func TestFolderVanishesMeanwhile(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	first := noise(200_000)
	a.save("first.bin", first)
	b.has("first.bin", first)
	settled(t, a, b)
	b.limit(func(l *config.Limits) { l.Down, l.LAN = 1<<20, true })
	large := noise(8 << 20)
	a.save("large.bin", large)
	b.row("that it comes", comes("large.bin", 1<<20))
	away := b.dir + ".away"
	if err := os.Rename(b.dir, away); err != nil {
		t.Fatal(err)
	}
	b.eventually("notice", func() error {
		s, err := b.client().Status(t.Context(), 0)
		if err == nil && (len(s.Clones) != 1 || s.Clones[0].State != status.StateHalted || len(s.Transfers) > 0) {
			err = fmt.Errorf("it is %+v, and there are %+v", s.Clones, s.Transfers)
		}
		return err
	})
	if _, err := os.Stat(b.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was made where the clone was: %v", err)
	}
	b.limit(func(l *config.Limits) { *l = config.Limits{} })
	if err := os.Rename(away, b.dir); err != nil {
		t.Fatal(err)
	}
	only(t, map[string]string{"first.bin": first, "large.bin": large}, a, b)
}
