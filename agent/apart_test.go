package agent_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/git-arbor/arbor/agent"
)

// TestKindsChange has files become folders and links, and the reverse, while the other side sees it live.
func TestKindsChange(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	files := map[string]string{"file": "1\n", "folder/in": "2\n", "folder/too": "3\n", "linked": "4\n"}
	a.saveAll(files)
	only(t, files, a, b)
	a.remove("file")
	a.save("file/now/deep", "5\n")
	a.remove("folder")
	a.save("folder", "6\n")
	a.remove("linked")
	a.symlink("folder", "linked")
	only(t, map[string]string{"file/now/deep": "5\n", "folder": "6\n", "linked": "-> folder"}, a, b)
	b.remove("linked")
	b.save("linked", "7\n")
	b.remove("file")
	b.save("file", "8\n")
	b.remove("folder")
	b.save("folder/again", "9\n")
	only(t, map[string]string{"file": "8\n", "folder/again": "9\n", "linked": "7\n"}, a, b)

	t.Log("a file on one side, a folder on the other")
	apart(b, func() {
		a.remove("file")
		a.save("file/in", "of the laptop\n")
		b.save("file", "of the desktop\n")
		b.save("new", "a file\n")
		a.save("new/in", "a folder\n")
		a.symlink("elsewhere", "clash")
		b.save("clash", "no link\n")
	})
	settled(t, a, b)
	got := a.tree()
	if err := sameFiles(b.tree(), got); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"of the laptop\n", "of the desktop\n", "a file\n", "a folder\n", "-> elsewhere", "no link\n"} {
		found := false
		for _, content := range got {
			found = found || content == want
		}
		if !found {
			t.Errorf("%q is nowhere: %q", want, got)
		}
	}
}

// TestApart has two people do what clashes while one is away.
func TestApart(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	files := many(120, "album", "photo")
	files["edited"], files["deleted"], files["run"], files["stop"] = "1\n", "1\n", "#!\n", "#!\n"
	files["both deleted"], files["twin"] = "1\n", "1\n"
	a.saveAll(files)
	if err := os.Chmod(a.path("stop"), 0o755); err != nil {
		t.Fatal(err)
	}
	only(t, files, a, b)
	apart(b, func() {
		a.rename("album", "holidays") // and the other side edits one of them
		b.save("album/007", "photo 7, edited\n")
		a.remove("deleted") // edited by the other
		b.save("deleted", "kept\n")
		b.remove("edited")
		a.save("edited", "kept too\n")
		a.remove("both deleted")
		b.remove("both deleted")
		a.save("twin", "the same\n")
		b.save("twin", "the same\n")
		a.save("new twin", "the same\n")
		b.save("new twin", "the same\n")
		for _, m := range ms {
			if err := os.Chmod(m.path("run"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(a.path("stop"), 0o644); err != nil {
			t.Fatal(err)
		}
		b.save("stop", "#!changed\n")
	})
	for _, m := range ms {
		m.has("deleted", "kept\n")
		m.has("edited", "kept too\n")
		m.has("twin", "the same\n")
		m.has("new twin", "the same\n")
		m.has("stop", "#!changed\n")
	}
	settled(t, a, b)
	for _, m := range ms {
		got := m.files()
		edited := 0
		for name, content := range got {
			if content == "photo 7, edited\n" {
				edited++
			}
			if strings.Contains(name, "variant") {
				t.Logf("%s: %s", m.name, name)
			}
			if strings.Contains(name, "twin.variant") || name == "both deleted" {
				t.Errorf("%s has %q", m.name, name)
			}
		}
		if edited == 0 {
			t.Errorf("%s lost the edit of a renamed file", m.name)
		}
		if len(got) > 120+7 {
			t.Errorf("%s has %d files", m.name, len(got))
		}
		for name, exec := range map[string]bool{"run": true, "stop": false} {
			st, err := os.Stat(m.path(name))
			if err != nil || st.Mode()&0o100 != 0 != exec {
				t.Errorf("%s: %s is %v (%v)", m.name, name, st.Mode(), err)
			}
		}
	}
}

// TestMuchApart has 300 files changed on both sides, a third of them by both.
func TestMuchApart(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	base := many(300, "d", "base")
	a.saveAll(base)
	only(t, base, a, b)
	apart(b, func() {
		for i := range 200 {
			a.save(fmt.Sprintf("d/%03d", i), fmt.Sprintf("laptop %d\n", i))
			b.save(fmt.Sprintf("d/%03d", i+100), fmt.Sprintf("desktop %d\n", i+100))
		}
	})
	settled(t, a, b)
	got := a.files()
	if err := sameFiles(b.files(), got); err != nil {
		t.Error(err)
	}
	have := make(map[string]bool)
	for _, content := range got {
		have[content] = true
	}
	for i := range 200 {
		for _, want := range []string{fmt.Sprintf("laptop %d\n", i), fmt.Sprintf("desktop %d\n", i+100)} {
			if !have[want] {
				t.Errorf("%q is nowhere", want)
			}
		}
	}
	if len(got) != 400 {
		t.Errorf("%d files, want 400: 100 of them twice", len(got))
	}
}

// TestSameMoment has three machines save different files at the same moment, over and over. How many merges that takes
// depends on who hears of whom first: mostly three or four a round. Machines that merged each other's merges without end
// would make hundreds.
func TestSameMoment(t *testing.T) {
	t.Parallel()
	const rounds = 10
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop", "nas")
	want := make(map[string]string)
	for round := range rounds {
		var people sync.WaitGroup
		for _, m := range ms {
			name := fmt.Sprintf("%s/%d", m.name, round)
			want[name] = name + "\n"
			people.Go(func() { m.save(name, name+"\n") })
		}
		people.Wait()
		for _, m := range ms {
			for _, from := range ms {
				m.has(fmt.Sprintf("%s/%d", from.name, round), fmt.Sprintf("%s/%d\n", from.name, round))
			}
		}
	}
	only(t, want, ms...)
	merges := ms[0].git("rev-list", "--count", "--merges", "HEAD")
	t.Logf("%s merges in %d rounds", merges, rounds)
	if n, err := strconv.Atoi(merges); err != nil || n > 10*rounds {
		t.Errorf("%s merges in %d rounds", merges, rounds)
	}
}

// TestAnnexedAndPlainClash has a large file and a small one, and two large ones, of the same name on two sides, and
// contents dropped by hand.
func TestAnnexedAndPlainClash(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.save("kept.bin", noise(150_000))
	settled(t, a, b)
	large, small, one, two, twin := noise(200_000), "small\n", noise(200_000), noise(200_000), noise(200_000)
	apart(b, func() {
		a.save("clash.bin", large)
		b.save("clash.bin", small)
		a.save("both.bin", one)
		b.save("both.bin", two)
		a.save("twin.bin", twin)
		b.save("twin.bin", twin)
	})
	b.has("twin.bin", twin)
	for _, m := range ms {
		m.eventually("have all four", func() error {
			have := make(map[string]int)
			for _, content := range m.tree() {
				have[content]++
			}
			for i, want := range []string{large, small, one, two, twin} {
				if have[want] != 1 {
					return fmt.Errorf("content %d is there %d times", i, have[want])
				}
			}
			return nil
		})
	}
	settled(t, a, b)

	b.try("annex", "drop", "--force", "twin.bin")
	a.save("after", "1\n")
	b.has("after", "1\n")
	a.has("twin.bin", twin)
	a.save("twin.bin", one+"changed")
	b.has("twin.bin", one+"changed")
	settled(t, a, b)
	for _, m := range ms {
		for _, note := range annexFsck(t, m, false) {
			t.Errorf("%s: git annex fsck: %s", m.name, note)
		}
	}
}
