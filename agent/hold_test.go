package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/config"
)

// comes accepts a transfer of the file of which so many bytes at least are here.
func comes(file string, bytes int64) func(status.Transfer) error {
	return func(r status.Transfer) error {
		if r.File != file || r.State != status.TransferRunning || r.Bytes < bytes {
			return fmt.Errorf("it is %+v", r)
		}
		return nil
	}
}

// TestPauseFile: what is paused keeps what has come, also over a restart, and goes on from there when it is its turn.
func TestPauseFile(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	const size = 8 << 20
	b.limit(func(l *config.Limits) { l.Down, l.LAN = 2<<20, true })
	want := map[string]string{"iso/large.bin": noise(size)}
	a.saveAll(want)
	b.row("that it comes", comes("iso/large.bin", 1<<20))
	for i, contents := range []int{1, 0} {
		if reply, err := b.client().PauseFiles(t.Context(), b.named("iso")); err != nil || reply.Contents != contents {
			t.Fatalf("pause, time %d: %+v, %v", i+1, reply, err)
		}
	}
	b.limit(func(l *config.Limits) { *l = config.Limits{} })
	paused := func(kept int64) status.Transfer {
		t.Helper()
		row := b.row("that it is paused", func(r status.Transfer) error {
			if r.File != "iso/large.bin" || r.State != status.TransferPaused || r.Bytes < kept || r.Size != size {
				return fmt.Errorf("it is %+v", r)
			}
			return nil
		})
		b.eventually("be paused", func() error {
			c, err := b.clone()
			if err == nil && (c.State != status.StatePaused || c.Keys.Paused != 1) {
				err = fmt.Errorf("it is %+v", c)
			}
			return err
		})
		return row
	}
	kept := paused(1 << 20).Bytes
	b.stop()
	b.start()
	b.online(1)
	want["small.bin"], want["larger.bin"] = noise(300_000), noise(size+1)
	a.save("small.bin", want["small.bin"])
	b.has("small.bin", want["small.bin"]) // later, and there
	b.pointer("iso/large.bin")
	paused(kept)

	if err := b.client().Pause(t.Context(), control.PauseRequest{}); err != nil {
		t.Fatal(err)
	}
	want["before.bin"] = noise(size - 1)
	a.save("before.bin", want["before.bin"])
	a.save("larger.bin", want["larger.bin"])
	b.pointer("before.bin")
	b.pointer("larger.bin")
	for i, contents := range []int{1, 0} {
		if reply, err := b.client().ResumeFiles(t.Context(), b.named("iso/large.bin")); err != nil || reply.Contents != contents {
			t.Fatalf("resume, time %d: %+v, %v", i+1, reply, err)
		}
	}
	b.queued("before.bin", "iso/large.bin", "larger.bin") // by their sizes: none was asked for
	b.limit(func(l *config.Limits) { l.Down, l.LAN = 4<<20, true })
	if err := b.client().Resume(t.Context(), control.PauseRequest{}); err != nil {
		t.Fatal(err)
	}
	b.row("that it goes on from what was kept", comes("iso/large.bin", kept))
	b.limit(func(l *config.Limits) { *l = config.Limits{} })
	only(t, want, a, b)
}

// TestCancel: what is cancelled stays away, also after a restart, until it is asked for.
func TestCancel(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	b.limit(func(l *config.Limits) { l.Down, l.LAN = 64<<10, true })
	large, other := noise(8<<20), noise(300_000)
	a.save("large.bin", large)
	b.pointer("large.bin")
	b.row("that it comes", comes("large.bin", 1))
	ended := make(chan error, 1)
	got := make(chan control.GetProgress, 1000)
	go func() {
		ended <- b.client().Get(t.Context(), control.GetRequest{FilesRequest: b.named("large.bin"), Wait: true}, func(p control.GetProgress) error {
			got <- p
			return nil
		})
	}()
	<-got // it waits
	if reply, err := b.client().Cancel(t.Context(), b.named("")); err != nil || reply.Contents != 1 {
		t.Fatalf("cancel: %+v, %v", reply, err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	var last control.GetProgress
	for len(got) > 0 {
		last = <-got
	}
	if !last.Done || last.Paused != 1 {
		t.Errorf("whoever waited was told %+v", last)
	}
	b.limit(func(l *config.Limits) { *l = config.Limits{} })
	idle := func(name string) {
		t.Helper()
		b.pointer(name)
		b.eventually("show it as cancelled", func() error {
			s, err := b.client().Status(t.Context(), 0)
			if err == nil && (len(s.Transfers) != 1 || s.Transfers[0].State != status.TransferPaused || s.Transfers[0].Bytes > 0 || s.Clones[0].Keys.Paused != 1 || s.Clones[0].State != status.StatePaused) {
				err = fmt.Errorf("%+v", s)
			}
			return err
		})
	}
	idle("large.bin")
	if left, err := filepath.Glob(b.path(".git/annex/tmp/*")); err != nil || len(left) > 0 {
		t.Errorf("what came is kept: %q, %v", left, err)
	}
	if reply, err := b.client().Cancel(t.Context(), b.named("large.bin")); err != nil || reply.Contents != 0 {
		t.Errorf("cancel once more: %+v, %v", reply, err)
	}
	b.stop()
	b.start()
	b.online(1)
	a.save("other.bin", other)
	b.has("other.bin", other) // later, and there
	idle("large.bin")
	a.rename("large.bin", "moved.bin")
	idle("moved.bin")
	if _, err := b.get(true, "moved.bin"); err != nil {
		t.Fatal(err)
	}
	only(t, map[string]string{"moved.bin": large, "other.bin": other}, a, b)
}

// TestGivesUp: what no file names any more, or is not wanted here any more, does not come to its end, and what has come of it goes. What is
// moved comes.
func TestGivesUp(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	limited := func(l *config.Limits) { l.Down, l.LAN = 1<<20, true }
	given := func() {
		t.Helper()
		b.eventually("give it up", func() error {
			left, err := filepath.Glob(b.path(".git/annex/tmp/*"))
			if err != nil || len(left) > 0 {
				return fmt.Errorf("it has %q (%w)", left, err)
			}
			s, err := b.client().Status(t.Context(), 0)
			if err == nil && len(s.Transfers) > 0 {
				err = fmt.Errorf("it shows %+v", s.Transfers)
			}
			return err
		})
	}
	want := make(map[string]string)
	for _, name := range []string{"deleted.bin", "replaced.bin", "unwanted.iso", "old.bin"} {
		content := noise(8 << 20)
		b.limit(limited)
		a.save(name, content)
		b.row("that it comes", comes(name, 100_000))
		switch name {
		case "deleted.bin":
			a.remove(name)
			given()
		case "replaced.bin":
			want[name] = "new\n"
			a.save(name, want[name])
			given()
		case "unwanted.iso":
			want[name] = content
			b.want("", "exclude=*.iso")
			given()
			b.pointer(name)
			b.want("", "anything")
		case "old.bin":
			want["moved.bin"] = content
			a.rename(name, "moved.bin")
		}
		b.limit(func(l *config.Limits) { *l = config.Limits{} })
		only(t, want, a, b)
	}
}

// TestCancelInFlight cancels many small contents while they come: each, also those that were asked for already, is there
// as a whole afterwards or not at all, and the
// rest comes when it is resumed.
func TestCancelInFlight(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	b.limit(func(l *config.Limits) { l.Down, l.LAN = 400_000, true })
	want := make(map[string]string)
	for i := range 30 {
		want[fmt.Sprintf("small/%02d", i)] = noise(150_000 + i)
	}
	a.saveAll(want)
	b.eventually("be at it", func() error {
		c, err := b.clone()
		if err == nil && (c.Keys.Wanted < len(want) || c.Keys.Present == 0) {
			err = fmt.Errorf("it is %+v", c)
		}
		return err
	})
	if reply, err := b.client().Cancel(t.Context(), b.named("small")); err != nil || reply.Contents == 0 {
		t.Fatalf("cancel: %+v, %v", reply, err)
	}
	b.limit(func(l *config.Limits) { *l = config.Limits{} })
	b.eventually("be whole", func() error {
		c, err := b.clone()
		if err == nil && c.Keys.Missing != c.Keys.Paused {
			err = fmt.Errorf("it is %+v", c)
		}
		pointers := 0
		for name, content := range want {
			got, err := os.ReadFile(b.path(name))
			switch {
			case err != nil:
				return err
			case strings.HasPrefix(string(got), "/annex/objects/"):
				pointers++
			case string(got) != content:
				return fmt.Errorf("%s holds %.40q", name, got)
			}
		}
		objects, globbed := filepath.Glob(b.path(".git/annex/objects/*/*/*/*"))
		if err == nil && (globbed != nil || len(objects)+pointers != len(want) || c.Keys.Paused != pointers) {
			err = fmt.Errorf("%d objects and %d pointers for %d files, and %d paused (%w)", len(objects), pointers, len(want), c.Keys.Paused, globbed)
		}
		return err
	})
	if _, err := b.client().ResumeFiles(t.Context(), b.named("")); err != nil {
		t.Fatal(err)
	}
	only(t, want, a, b)
}
