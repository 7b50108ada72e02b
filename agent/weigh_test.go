package agent_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/annex/annextest"
)

// held gives the sizes of the large files in the clone that are not pointers.
func (m *machine) held() (map[string]int, error) {
	held := make(map[string]int)
	err := filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == ".git":
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		info, err := d.Info()
		if err == nil && info.Size() > annex.MaxPointerSize {
			held[path[len(m.dir)+1:]] = int(info.Size())
		}
		return err
	})
	return held, err
}

// maxSizes gives what git-annex counts that each repository has, in bytes, by UUID.
func (m *machine) maxSizes() (map[string]int, error) {
	out, err := m.tryGit("annex", "maxsize", "--json")
	if err != nil {
		return nil, err
	}
	var reply struct {
		Repositories []struct {
			UUID string
			Size struct{ Size int }
		}
	}
	if err := json.Unmarshal([]byte(out), &reply); err != nil {
		return nil, fmt.Errorf("git annex maxsize says %q: %w", out, err)
	}
	sizes := make(map[string]int)
	for _, r := range reply.Repositories {
		sizes[r.UUID] = r.Size.Size
	}
	return sizes, nil
}

// store puts machines into a group that wants contents by an expression, each with a maxsize, and waits until all know it.
func store(ms []*machine, expression string, most map[*machine]int) {
	first := ms[0]
	first.try("annex", "wanted", ".", "anything") // git-annex would drop, where nothing is set, what others have
	first.try("annex", "groupwanted", "store", expression)
	for m, size := range most {
		uuid := m.git("config", "annex.uuid")
		first.try("annex", "maxsize", uuid, fmt.Sprint(size))
		first.try("annex", "group", uuid, "store")
		first.try("annex", "wanted", uuid, "groupwanted")
	}
	for _, m := range ms {
		m.eventually("know who wants what", func() error {
			ours, err := m.tryGit("rev-parse", "git-annex:group.log", "git-annex:maxsize.log", "git-annex:preferred-content.log")
			if theirs := first.git("rev-parse", "git-annex:group.log", "git-annex:maxsize.log", "git-annex:preferred-content.log"); err == nil && ours != theirs {
				err = fmt.Errorf("it has %s, %s has %s", ours, first.name, theirs)
			}
			return err
		})
	}
}

// stored waits until every file is in one of the stores and nobody wants to get or drop anything, as git-annex judges it, and gives what each has.
func stored(t *testing.T, ms []*machine, most map[*machine]int, files int) map[*machine]map[string]int {
	t.Helper()
	all, sizes := make(map[*machine]map[string]int), make(map[string]int)
	ms[0].eventually("have all files in the stores", func() error {
		once := make(map[string]bool)
		for _, m := range ms {
			held, err := m.held()
			if err != nil {
				return err
			}
			sum := 0
			for file, size := range held {
				once[file] = once[file] || most[m] > 0
				sum += size
			}
			if most[m] > 0 && sum > most[m] {
				t.Errorf("%s has %d bytes, more than %d", m.name, sum, most[m])
			}
			all[m], sizes[m.git("config", "annex.uuid")] = held, sum
		}
		maps.DeleteFunc(once, func(_ string, yes bool) bool { return !yes })
		if len(once) != files {
			return fmt.Errorf("%d of %d are there", len(once), files)
		}
		return nil
	})
	for _, m := range ms {
		m.eventually("want nothing for git-annex, which counts the same", func() error {
			theirs, err := m.maxSizes()
			maps.DeleteFunc(theirs, func(id string, size int) bool { _, ours := sizes[id]; return !ours && size == 0 })
			if err != nil || !maps.Equal(theirs, sizes) {
				return fmt.Errorf("sizes are %v, by git-annex %v (%w)", sizes, theirs, err)
			}
			for _, find := range [][]string{{"annex", "find", "--want-get", "--not", "--in=here"}, {"annex", "find", "--want-drop", "--in=here"}} {
				if out, err := m.tryGit(find...); err != nil || out != "" {
					return fmt.Errorf("git %q: %.200s (%w)", find, out, err)
				}
			}
			return nil
		})
	}
	return all
}

// TestSizeBalanced: a burst of files is spread among the machines of a group by how much room they have, and stays where it is.
func TestSizeBalanced(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.path = annextest.SidPath(t)
	ms := n.grove(t, agent.InitOptions{}, "laptop", "attic", "cellar", "garage")
	laptop, attic, cellar, garage := ms[0], ms[1], ms[2], ms[3]
	most := map[*machine]int{attic: 8_000_000, cellar: 4_000_000, garage: 2_000_000}
	store(ms, "sizebalanced=store", most)
	const files = 60
	for i := range files {
		name := fmt.Sprintf("burst/%d.bin", i)
		laptop.save(name, noise(110_000+i*2000))
		if i%15 == 14 { // commits that come to some one by one, and to others at once
			laptop.eventually("commit", func() error { _, err := laptop.tryGit("cat-file", "-e", "HEAD:"+name); return err })
		}
	}
	first := stored(t, ms, most, files)
	copies := 0
	for m, size := range most {
		sum := 0
		for _, n := range first[m] {
			sum += n
		}
		t.Logf("%s has %d files, %d bytes, %.1f%%", m.name, len(first[m]), sum, float64(sum)/float64(size)*100)
		copies += len(first[m])
	}
	if copies > files+files/4 {
		t.Errorf("%d copies of %d files", copies, files)
	}
	laptop.save("more.bin", noise(150_000))
	second := stored(t, ms, most, files+1)
	for _, m := range ms {
		delete(second[m], "more.bin")
		if !maps.Equal(second[m], first[m]) {
			t.Errorf("%s had %v, and now %v", m.name, first[m], second[m])
		}
	}
	for _, m := range ms[1:] {
		m.why("more.bin", func(r control.WhyReply) bool {
			why := "1 copy known in store, 1 needed"
			if r.State == control.WhyHere {
				why = "it is here"
			}
			return r.Wanted == (r.State == control.WhyHere) && len(r.Reasons) == 1 && r.Reasons[0] == control.Reason{Term: "sizebalanced=store", Match: r.Wanted, Why: why}
		})
	}
}

// TestFullySizeBalanced: what a group has is spread anew when a place without an agent joins it, and each content is in one of its members then.
func TestFullySizeBalanced(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.path = annextest.SidPath(t)
	ms := n.grove(t, agent.InitOptions{}, "laptop", "attic")
	laptop, attic := ms[0], ms[1]
	laptop.try("annex", "initremote", "cloud", "type=directory", "directory="+t.TempDir(), "encryption=none")
	laptop.try("annex", "wanted", "cloud", "nothing")
	most := map[*machine]int{attic: 8_000_000}
	store(ms, "fullysizebalanced=store", most)
	const files = 24
	for i := range files {
		laptop.save(fmt.Sprintf("%d.bin", i), noise(110_000+i*2000))
	}
	if first := stored(t, ms, most, files); len(first[attic]) != files {
		t.Errorf("the only one has %v", first[attic])
	}
	laptop.try("annex", "maxsize", "cloud", "8000000")
	laptop.try("annex", "group", "cloud", "store")
	laptop.try("annex", "wanted", "cloud", "groupwanted")
	in := func(m *machine, matching ...string) []string {
		out, err := m.tryGit(append([]string{"annex", "find"}, matching...)...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(out)
	}
	for _, m := range ms {
		m.eventually("have each file in one of the two", func() error {
			for _, bad := range [][]string{
				{"--in=cloud", "--in=attic"},
				{"--not", "--in=cloud", "--not", "--in=attic"},
				{"--want-get-by=cloud", "--not", "--in=cloud"},
				{"--want-drop-by=cloud", "--in=cloud"},
				{"--want-get-by=attic", "--not", "--in=attic"},
				{"--want-drop-by=attic", "--in=attic"},
			} {
				if found := in(m, bad...); len(found) > 0 {
					return fmt.Errorf("git annex find %q: %q", bad, found)
				}
			}
			return nil
		})
		if moved := len(in(m, "--in=cloud")); moved < files/3 || moved > files-files/3 {
			t.Errorf("%s: the cloud has %d of %d files", m.name, moved, files)
		}
	}
	held, err := attic.held()
	if there := in(attic, "--in=here"); err != nil || len(held) != len(there) {
		t.Errorf("the attic has %v, git-annex says %q, %v", held, there, err)
	}
	if out := laptop.git("annex", "fsck", "--from", "cloud", "--json"); strings.Contains(out, `"success":false`) {
		t.Errorf("git annex fsck --from cloud: %s", out)
	}
}
