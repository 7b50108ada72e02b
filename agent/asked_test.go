package agent_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/config"
)

// pointer waits until the file is there without its content.
func (m *machine) pointer(name string) {
	m.t.Helper()
	m.eventually("have the pointer of "+name, func() error {
		got, err := os.ReadFile(m.path(name))
		if err == nil && !strings.HasPrefix(string(got), "/annex/objects/") {
			err = fmt.Errorf("it holds %.40q", got)
		}
		return err
	})
}

// get asks for contents as git arbor get does, and gives all progresses.
func (m *machine) get(wait bool, files ...string) ([]control.GetProgress, error) {
	m.t.Helper()
	var told []control.GetProgress
	err := m.client().Get(m.t.Context(), control.GetRequest{FilesRequest: m.named(files...), Wait: wait}, func(p control.GetProgress) error {
		told = append(told, p)
		return nil
	})
	return told, err
}

func (m *machine) named(files ...string) control.FilesRequest {
	return control.FilesRequest{Clone: m.dir, Files: files}
}

// queued waits until the queue is shown with these files first.
func (m *machine) queued(first ...string) {
	m.t.Helper()
	m.eventually(fmt.Sprintf("show %q first in the queue", first), func() error {
		s, err := m.client().Status(m.t.Context(), 0)
		if err != nil {
			return err
		}
		shown := make([]string, len(s.Transfers)+1)
		for _, row := range s.Transfers {
			if row.State == status.TransferQueued {
				shown[row.Position] = row.File
			}
		}
		if !slices.Equal(shown[1:min(len(shown), 1+len(first))], first) {
			return fmt.Errorf("it is %q", shown[1:])
		}
		return nil
	})
}

// TestGetGoesFirst asks for one file, large and the last, while many others are on their way.
func TestGetGoesFirst(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	if err := b.client().Pause(t.Context(), control.PauseRequest{}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"asked/for.bin": noise(2 << 20), "asked/too.bin": noise(200_000)}
	for i := range 40 {
		want[fmt.Sprintf("backlog/%02d", i)] = noise(150_000 + i)
	}
	for i := range 4 {
		want[fmt.Sprintf("large/%d", i)] = noise(3 << 20)
	}
	a.saveAll(want)
	b.pointer("asked/for.bin")
	for name := range want {
		b.pointer(name)
	}
	if _, err := b.get(true, "asked"); !hasCode(err, "paused") {
		t.Errorf("get while paused: %v", err)
	}
	// Before it runs: what is asked for last comes first.
	for _, name := range []string{"large/3", "large/2", "asked/for.bin"} {
		if reply, err := b.client().Prioritise(t.Context(), b.named(name)); err != nil || reply.Contents != 1 {
			t.Fatalf("prioritise %s: %+v, %v", name, reply, err)
		}
	}
	b.queued("asked/for.bin", "large/2", "large/3", "backlog/00")
	b.limit(func(l *config.Limits) { l.Down, l.LAN = 1<<20, true })
	if err := b.client().Resume(t.Context(), control.PauseRequest{}); err != nil {
		t.Fatal(err)
	}
	b.eventually("be at it", func() error {
		c, err := b.clone()
		if err == nil && c.Keys.Present == 0 {
			err = errors.New("nothing has come yet")
		}
		return err
	})
	told, err := b.get(true, "asked")
	if err != nil || len(told) == 0 {
		t.Fatalf("get: %v, %+v", err, told)
	}
	last := told[len(told)-1]
	if !last.Done || last.Left > 0 || last.Lacking > 0 || last.Bytes != last.Size {
		t.Errorf("the last progress is %+v", last)
	}
	for i := 1; i < len(told); i++ {
		if told[i].Left > told[i-1].Left {
			t.Errorf("after %+v came %+v", told[i-1], told[i])
		}
	}
	c, err := b.clone()
	if err != nil || c.Keys.Missing < 4 {
		t.Errorf("when it was there, %d of %d were missing still (%v)", c.Keys.Missing, c.Keys.Wanted, err)
	}
	for _, name := range []string{"asked/for.bin", "asked/too.bin"} { // not eventually: it was waited for
		if got, err := os.ReadFile(b.path(name)); err != nil || string(got) != want[name] {
			t.Errorf("%s is not there after get (%v)", name, err)
		}
	}
	b.limit(func(l *config.Limits) { *l = config.Limits{} })
	only(t, want, a, b)
	if told, err := b.get(true, "", "asked/for.bin"); err != nil || len(told) != 1 || told[0].Contents != 0 || !told[0].Done {
		t.Errorf("get of what is here: %+v, %v", told, err)
	}
}

func hasCode(err error, code string) bool {
	e, ok := errors.AsType[*control.Error](err)
	return ok && e.Code == code
}

// TestGetSaysWhy has files asked for that cannot be got.
func TestGetSaysWhy(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	if err := b.client().Pause(t.Context(), control.PauseRequest{Peer: "laptop"}); err != nil {
		t.Fatal(err)
	}
	large := noise(300_000)
	a.save("folder/large.bin", large)
	a.save("note", "small\n")
	b.pointer("folder/large.bin")
	b.has("note", "small\n")
	for file, code := range map[string]string{"note": "not-annexed", "missing": "no-such-file", "note/below": "no-such-file"} {
		if _, err := b.get(true, "folder", file); !hasCode(err, code) {
			t.Errorf("get %s: %v, want %s", file, err, code)
		}
		if _, err := b.client().Cancel(t.Context(), b.named(file)); !hasCode(err, code) {
			t.Errorf("cancel %s: %v, want %s", file, err, code)
		}
	}
	lacks := func(holder string) {
		t.Helper()
		b.eventually("say who has it", func() error {
			told, err := b.get(true, "folder")
			if err != nil {
				t.Fatal(err)
			}
			last := told[len(told)-1]
			if !last.Done || last.Contents != 0 || last.Lacking != 1 || len(last.Unreachable) != 1 ||
				last.Unreachable[0].File != "folder/large.bin" || !slices.Equal(last.Unreachable[0].Holders, []string{holder}) {
				return fmt.Errorf("it says %+v", last)
			}
			return nil
		})
	}
	if told, err := b.get(false, "folder/large.bin"); err != nil || len(told) != 1 || told[0].Lacking != 1 {
		t.Errorf("get without waiting: %+v, %v", told, err)
	}
	lacks("laptop (paused)")
	a.stop()
	if err := b.client().Resume(t.Context(), control.PauseRequest{Peer: "laptop"}); err != nil {
		t.Fatal(err)
	}
	lacks("laptop (offline)")
	a.start()
	b.has("folder/large.bin", large) // it was asked for, and comes
	settled(t, a, b)

	plain := newGrove(t, agent.InitOptions{Plain: true}, "phone")[0]
	plain.save("note", "1\n")
	settled(t, plain)
	if _, err := plain.get(true, "note"); !hasCode(err, "not-annexed") {
		t.Errorf("get in a plain repository: %v", err)
	}
}
