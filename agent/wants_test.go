package agent_test

import (
	"fmt"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/status"
)

// spares waits until the clone is in step and this many contents are neither here nor wanted.
func (m *machine) spares(n int) {
	m.t.Helper()
	m.eventually(fmt.Sprintf("be in step without %d contents that are not wanted", n), func() error {
		row, err := m.clone()
		if err == nil && (row.State != status.StateInStep || row.Keys.Unwanted != n || row.Keys.Missing != 0) {
			err = fmt.Errorf("it is %s (%s), %+v", row.State, row.Detail, row.Keys)
		}
		return err
	})
}

// TestPreferredContent: a machine gets what git-annex's settings say it wants, and gives up what it wants no more when others have it.
func TestPreferredContent(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	iso, bin := noise(300_000), noise(200_000)
	b.try("annex", "wanted", ".", "exclude=*.iso")
	a.save("big.iso", iso)
	a.save("other.bin", bin)
	b.has("other.bin", bin)
	b.spares(1)
	b.pointer("big.iso")
	a.copies("big.iso", a)

	a.try("mv", "big.iso", "big.dat") // another name, and it is wanted
	b.has("big.dat", iso)
	b.spares(0)
	a.try("mv", "big.dat", "big.iso")
	b.spares(1)
	b.pointer("big.iso")
	a.copies("big.iso", a)

	if _, err := b.get(true, "big.iso"); err != nil { // what a person asks for comes, and stays
		t.Fatal(err)
	}
	b.has("big.iso", iso)
	a.copies("big.iso", a, b)
	a.save("more.iso", noise(150_000))
	b.spares(1)
	b.has("big.iso", iso)

	b.try("annex", "wanted", ".", "anything")
	b.spares(0)
	only(t, a.tree(), a, b)
	a.try("annex", "wanted", ".", "not copies=1") // the laptop passes on what it makes
	a.spares(3)
	b.sound()
	for name := range b.tree() {
		a.pointer(name)
	}
	b.stop()
	b.start()
	b.spares(0)
	a.sound()
}
