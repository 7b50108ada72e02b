package agent_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/config"
)

// row waits until a transfer of a machine is shown that is as wanted.
func (m *machine) row(what string, wanted func(status.Transfer) error) (found status.Transfer) {
	m.t.Helper()
	m.eventually("show "+what, func() error {
		s, err := m.client().Status(m.t.Context(), 0)
		if err != nil {
			return err
		}
		err = errors.New("there is none")
		for _, found = range s.Transfers {
			if err = wanted(found); err == nil {
				return nil
			}
		}
		return err
	})
	return found
}

// TestBothSidesShowATransfer: who sends a content shows the same of it as who gets it, as long as it is on its way.
func TestBothSidesShowATransfer(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	const size = 3 << 20
	for _, m := range ms {
		m.limit(func(l *config.Limits) { l.Up, l.LAN = size/6, true })
	}
	content := map[string]string{"folder/from the laptop.bin": noise(size), "folder/from the desktop.bin": noise(size)}
	a.save("folder/from the laptop.bin", content["folder/from the laptop.bin"])
	b.save("folder/from the desktop.bin", content["folder/from the desktop.bin"])
	running := func(d status.Direction, file string, from int64) func(status.Transfer) error {
		return func(r status.Transfer) error {
			if r.Direction != d || r.State != status.TransferRunning || r.File != file || r.Size != size || r.Bytes < from || r.Bytes >= size ||
				r.Rate <= 0 || r.Left() < 0 || (r.Why == "") != (d == status.Up) {
				return fmt.Errorf("it is %+v", r)
			}
			return nil
		}
	}
	for _, side := range []struct {
		from, to *machine
		file     string
	}{{a, b, "folder/from the laptop.bin"}, {b, a, "folder/from the desktop.bin"}} {
		down := side.to.row("what comes", running(status.Down, side.file, 1))
		up := side.from.row("what goes", running(status.Up, side.file, 1))
		if down.Peer != side.from.name || up.Peer != side.to.name || up.Key != down.Key {
			t.Errorf("%s shows %+v, %s shows %+v", side.from.name, up, side.to.name, down)
		}
		info, err := side.to.tryGit("annex", "info", "--fast", "--json")
		if want := fmt.Sprintf(`"file":%q,"key":%q,"remote":"%s","transfer":"download"`, side.file, down.Key, side.from.git("config", "annex.uuid")); err != nil ||
			!strings.Contains(info, want) {
			t.Errorf("git annex info says %s, %v; want %s", info, err, want)
		}
		side.from.row("more", running(status.Up, side.file, up.Bytes+1))
	}
	for _, m := range ms {
		m.limit(func(l *config.Limits) { *l = config.Limits{} })
	}
	only(t, content, a, b)
	for _, m := range ms {
		m.eventually("show nothing any more", func() error {
			s, err := m.client().Status(t.Context(), 0)
			if err == nil && len(s.Transfers) > 0 {
				err = fmt.Errorf("%+v", s.Transfers)
			}
			return err
		})
	}
	if info := a.git("annex", "info", "--fast"); !strings.Contains(info, "transfers in progress: none") {
		t.Errorf("git annex info says %s", info)
	}
	// What is cut short is over too.
	a.limit(func(l *config.Limits) { l.Up, l.LAN = size/6, true })
	a.save("more.bin", noise(size))
	a.row("what goes", running(status.Up, "more.bin", 1))
	b.stop()
	a.eventually("show that it has ended", func() error {
		s, err := a.client().Status(t.Context(), 0)
		if err == nil && slices.ContainsFunc(s.Transfers, func(r status.Transfer) bool { return r.Direction == status.Up }) {
			err = fmt.Errorf("%+v", s.Transfers)
		}
		return err
	})
}
