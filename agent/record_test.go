package agent_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/agent"
)

// TestLocationsWithoutTheFirst: the clone that is to write down where contents are cannot, for something holds git-annex's lock there; then the
// others do it.
func TestLocationsWithoutTheFirst(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop", "nas")
	ms[0].saveAll(map[string]string{"first.bin": noise(200_000)})
	settled(t, ms...)
	id := func(m *machine) string { return m.git("config", "annex.uuid") }
	first, others := ms[0], []*machine(nil)
	for _, m := range ms[1:] {
		if id(m) < id(first) {
			first = m
		}
	}
	for _, m := range ms {
		if m != first {
			others = append(others, m)
		}
	}
	lock, err := os.OpenFile(filepath.Join(first.dir, ".git/annex/journal.lck"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.FcntlFlock(lock.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	content := noise(150_000)
	others[0].save("second.bin", content)
	others[1].has("second.bin", content)
	known := func(m *machine, by ...*machine) {
		t.Helper()
		m.eventually("know where it is", func() error {
			out, err := m.tryGit("annex", "whereis", "second.bin")
			for _, holder := range by {
				if !strings.Contains(out, id(holder)) {
					err = errors.Join(err, fmt.Errorf("not at %s: %s", holder.name, out))
				}
			}
			return err
		})
	}
	for _, m := range others {
		known(m, others...)
	}
	lock.Close()
	settled(t, ms...)
	for _, m := range ms {
		known(m, ms...)
	}
}
