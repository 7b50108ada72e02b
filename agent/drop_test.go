package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/sync/annex/annextest"
)

// drop drops contents as git arbor drop does.
func (m *machine) drop(files ...string) (control.DropReply, error) {
	m.t.Helper()
	return m.client().Drop(m.t.Context(), control.DropRequest{FilesRequest: m.named(files...)})
}

// holds waits until the clone is in step but for this many contents, which it does not want.
func (m *machine) holds(n int) {
	m.t.Helper()
	m.eventually(fmt.Sprintf("be in step without %d contents", n), func() error {
		c, err := m.clone()
		if err == nil && (c.State != status.StateInStep || c.Keys.Missing != n || c.Keys.Dropped != n) {
			err = fmt.Errorf("it is %s (%s), %+v", c.State, c.Detail, c.Keys)
		}
		return err
	})
}

// copies waits until git-annex says on the machine that just these clones have a file.
func (m *machine) copies(name string, holders ...*machine) {
	m.t.Helper()
	m.eventually("know where "+name+" is", func() error {
		out, err := m.tryGit("annex", "whereis", "--format=${uuid}\\n", name)
		if err != nil && len(holders) > 0 {
			return err
		}
		got := strings.Fields(out)
		for _, h := range holders {
			id := h.git("config", "annex.uuid")
			if !slices.Contains(got, id) {
				return fmt.Errorf("%s is not among %q", h.name, got)
			}
		}
		if len(got) != len(holders) {
			return fmt.Errorf("it is at %q", got)
		}
		return nil
	})
}

func (m *machine) sound() {
	m.t.Helper()
	for _, note := range annexFsck(m.t, m, false) {
		m.t.Errorf("%s: git annex fsck: %s", m.name, note)
	}
}

// TestSaysWhatIsNotHere: when a log says of a content that was dropped that it is here, as after git-annex has lost a line of it, that is put right.
func TestSaysWhatIsNotHere(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	want := map[string]string{"f.bin": noise(300_000)}
	a.saveAll(want)
	only(t, want, a, b)
	a.copies("f.bin", a, b)
	if reply, err := b.drop("f.bin"); err != nil || reply.Contents != 1 {
		t.Fatalf("drop: %+v, %v", reply, err)
	}
	b.holds(1)
	a.copies("f.bin", a)
	for _, m := range []*machine{a, b} {
		m.try("annex", "setpresentkey", a.git("annex", "lookupkey", "f.bin"), b.git("config", "annex.uuid"), "1")
		for _, m := range ms {
			m.copies("f.bin", a)
		}
	}
	b.holds(1)
}

// TestDrop: what is dropped stays away, also after a restart, and everybody knows, until it is asked for.
func TestDrop(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop", "nas")
	a, b, c := ms[0], ms[1], ms[2]
	want := map[string]string{"large.bin": noise(300_000), "folder/a": noise(200_000), "folder/b": noise(250_000), "small": "1\n"}
	want["folder/same"] = want["folder/a"]
	a.saveAll(want)
	only(t, want, ms...)
	a.copies("large.bin", a, b, c)

	for file, code := range map[string]string{"small": "not-annexed", "missing": "no-such-file"} {
		if _, err := b.drop("large.bin", file); !hasCode(err, code) {
			t.Errorf("drop %s: %v, want %s", file, err, code)
		}
	}
	reply, err := b.drop("large.bin", "folder")
	if err != nil || reply.Contents != 3 || reply.Size != 750_000 || reply.KeptContents != 0 {
		t.Fatalf("drop: %+v, %v", reply, err)
	}
	away := func() {
		t.Helper()
		b.holds(3)
		for _, file := range []string{"large.bin", "folder/a", "folder/b", "folder/same"} {
			if got, err := os.ReadFile(b.path(file)); err != nil || !strings.HasPrefix(string(got), "/annex/objects/") {
				t.Errorf("%s holds %.40q, %v", file, got, err)
			}
		}
		for _, m := range ms {
			m.copies("large.bin", a, c)
		}
		settled(t, ms...)
		b.sound()
	}
	away()
	for _, m := range ms {
		r, err := m.client().Map(t.Context(), control.MapRequest{Clone: m.dir, File: "large.bin"})
		if err != nil {
			t.Fatal(err)
		}
		if who := holdersIn(t, r); len(who) != 2 || slices.Contains(who, b.git("config", "annex.uuid")) {
			t.Errorf("%s shows that %q have it", m.name, who)
		}
	}
	if reply, err := b.drop("large.bin"); err != nil || reply.Contents != 0 || reply.KeptContents != 0 {
		t.Errorf("drop once more: %+v, %v", reply, err)
	}
	b.stop()
	b.start()
	b.online(2)
	more := noise(310_000)
	a.save("more.bin", more)
	b.has("more.bin", more)
	away()

	if _, err := b.get(true, "large.bin", "folder"); err != nil {
		t.Fatal(err)
	}
	want["more.bin"] = more
	only(t, want, ms...)
	a.copies("large.bin", a, b, c)
	b.sound()
}

// holdersIn are the clones that have the content of a map.
func holdersIn(t *testing.T, r control.MapReply) []string {
	t.Helper()
	var problem struct{ Holders []string }
	if err := json.Unmarshal(r.Problem, &problem); err != nil {
		t.Fatal(err)
	}
	return problem.Holders
}

// TestDropKeeps has contents dropped of which there are too few copies elsewhere.
func TestDropKeeps(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop", "nas")
	a, b, c := ms[0], ms[1], ms[2]
	want := map[string]string{"two.bin": noise(300_000), ".gitattributes": "three* annex.numcopies=3\n", "three.bin": noise(250_000)}
	a.saveAll(want)
	only(t, want, ms...)
	a.copies("two.bin", a, b, c)
	kept := func(file string, want control.Kept) {
		t.Helper()
		b.eventually("be told why "+file+" is kept", func() error {
			reply, err := b.drop(file)
			if err != nil || reply.Contents > 0 || reply.KeptContents != 1 || len(reply.Kept) != 1 {
				t.Fatalf("drop %s: %+v, %v", file, reply, err)
			}
			if got := reply.Kept[0]; got.File != file || got.Needed != want.Needed || !slices.Equal(got.Found, want.Found) || !slices.Equal(got.Unproven, want.Unproven) {
				return fmt.Errorf("it is %+v", got)
			}
			return nil
		})
	}
	kept("three.bin", control.Kept{Needed: 3, Found: []string{"laptop", "nas"}})
	c.stop()
	kept("three.bin", control.Kept{Needed: 3, Found: []string{"laptop"}, Unproven: []string{"nas (offline)"}})
	a.try("annex", "numcopies", "2")
	b.eventually("know of it", func() error {
		if out, err := b.tryGit("annex", "numcopies"); err != nil || out != "2" {
			return fmt.Errorf("numcopies is %s (%w)", out, err)
		}
		return nil
	})
	kept("two.bin", control.Kept{Needed: 2, Found: []string{"laptop"}, Unproven: []string{"nas (offline)"}})
	if reply, err := b.client().Drop(t.Context(), control.DropRequest{FilesRequest: b.named("two.bin"), NumCopies: 1}); err != nil || reply.Contents != 1 {
		t.Errorf("drop with another number of copies: %+v, %v", reply, err)
	}
	if _, err := b.get(true, "two.bin"); err != nil {
		t.Fatal(err)
	}
	b.try("annex", "untrust", "laptop")
	kept("two.bin", control.Kept{Needed: 2, Found: []string{}, Unproven: []string{"laptop (untrusted)", "nas (offline)"}})
	b.try("annex", "trust", "--force", "laptop")
	b.try("annex", "trust", "--force", "nas")
	if reply, err := b.drop("two.bin"); err != nil || reply.Contents != 1 {
		t.Errorf("drop with trusted copies: %+v, %v", reply, err)
	}
	b.try("annex", "required", ".", "include=*.bin")
	kept("three.bin", control.Kept{Required: true})
	b.has("three.bin", want["three.bin"])
	c.start()
	settled(t, ms...)
}

// TestDropAsksRemotes has contents dropped of which the other copies are in remotes.
func TestDropAsksRemotes(t *testing.T) {
	t.Parallel()
	eachAnnex(t, func(t *testing.T, n *network) {
		ms := n.grove(t, agent.InitOptions{}, "laptop", "desktop")
		a, b := ms[0], ms[1]
		cloud, drive := annextest.TempDir(t), filepath.Join(annextest.TempDir(t), "drive.git")
		b.git("clone", "-q", "--bare", b.dir, drive)
		b.try("-C", drive, "annex", "init", "drive")
		b.try("annex", "initremote", "cloud", "type=directory", "directory="+cloud, "encryption=none")
		b.try("remote", "add", "drive", drive)
		want := map[string]string{"one.bin": noise(300_000), "two.bin": noise(250_000), ".gitattributes": "two* annex.numcopies=2\n"}
		a.saveAll(want)
		only(t, want, ms...)
		isAt := func(file string, places ...string) {
			t.Helper()
			b.eventually("know who has "+file, func() error {
				out, err := b.tryGit("annex", "whereis", file)
				for _, p := range places {
					if err == nil && !strings.Contains(out, "["+p+"]") {
						err = errors.New(out)
					}
				}
				return err
			})
		}
		isAt("one.bin", "cloud", "drive")
		isAt("two.bin", "cloud", "drive")
		a.stop()
		kept := func(file string, found, unproven []string) {
			t.Helper()
			b.eventually("be told why "+file+" is kept", func() error {
				reply, err := b.drop(file)
				if err != nil || reply.Contents > 0 || len(reply.Kept) != 1 {
					t.Fatalf("drop %s: %+v, %v", file, reply, err)
				}
				if got := reply.Kept[0]; !slices.Equal(got.Found, found) || !slices.Equal(got.Unproven, unproven) {
					return fmt.Errorf("it is %+v", got)
				}
				return nil
			})
		}
		dropped := func(file string) {
			t.Helper()
			if reply, err := b.drop(file); err != nil || reply.Contents != 1 {
				t.Fatalf("drop %s: %+v, %v", file, reply, err)
			}
			if _, err := b.get(true, file); err != nil {
				t.Fatal(err)
			}
			b.has(file, want[file])
		}
		dropped("one.bin")
		dropped("two.bin")

		away := cloud + " unplugged"
		if err := os.Rename(cloud, away); err != nil {
			t.Fatal(err)
		}
		kept("two.bin", []string{"drive"}, []string{"cloud (cannot be reached)", "laptop (offline)"})
		if err := os.Rename(away, cloud); err != nil {
			t.Fatal(err)
		}
		b.try("annex", "untrust", "cloud")
		kept("two.bin", []string{"drive"}, []string{"cloud (untrusted)", "laptop (offline)"})
		b.try("annex", "semitrust", "cloud")
		b.git("-C", drive, "annex", "drop", "--force", "--all") // of which nobody else knows
		kept("two.bin", []string{"cloud"}, []string{"drive (it is not there, or is being dropped)", "laptop (offline)"})
		dropped("one.bin")
		isAt("one.bin", "here")
		b.sound()
	})
}

// TestDropSameMoment has two people drop the same contents, over and over. One copy of each stays.
func TestDropSameMoment(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	want := make(map[string]string)
	for i := range 12 {
		want[fmt.Sprintf("d/%02d", i)] = noise(101_000 + i)
	}
	a.saveAll(want)
	only(t, want, ms...)
	a.copies("d/00", a, b)
	for round := range 4 {
		var both sync.WaitGroup
		dropped := make([]int, 2)
		for i, m := range ms {
			both.Go(func() {
				names := []string{"d"}
				if round%2 > 0 {
					names = slices.Collect(maps.Keys(want))
				}
				for _, name := range names {
					reply, err := m.drop(name)
					if err != nil {
						t.Errorf("drop: %v", err)
					}
					dropped[i] += reply.Contents
				}
			})
		}
		both.Wait()
		for name, content := range want {
			x, _ := os.ReadFile(a.path(name))
			y, _ := os.ReadFile(b.path(name))
			if string(x) != content && string(y) != content {
				t.Fatalf("round %d: nobody has %s", round, name)
			}
		}
		t.Logf("round %d: dropped %d", round, dropped)
		for _, m := range ms {
			if _, err := m.get(true, ""); err != nil {
				t.Fatal(err)
			}
		}
		only(t, want, ms...)
	}
	a.sound()
	b.sound()
}

// TestGitAnnexDrops has a person drop, and get, with git-annex itself, beside the agent and while it is off.
func TestGitAnnexDrops(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	want := map[string]string{"one.bin": noise(300_000), "two.bin": noise(250_000), "lost.bin": noise(200_000)}
	a.saveAll(want)
	only(t, want, ms...)
	b.git("remote", "add", "first", a.dir)
	before := b.git("rev-parse", "HEAD")
	b.try("annex", "drop", "one.bin")
	b.holds(1)
	for range 5 {
		b.try("annex", "get", "one.bin")
		b.holds(0)
		b.try("annex", "drop", "one.bin")
		b.holds(1)
	}
	b.stop()
	b.git("annex", "drop", "two.bin")
	b.start()
	b.online(1)
	b.holds(2)
	a.save("later", "1\n")
	b.has("later", "1\n")
	b.holds(2)
	for _, m := range ms {
		m.copies("one.bin", a)
		m.copies("two.bin", a)
	}
	for _, file := range []string{"one.bin", "two.bin"} {
		b.pointer(file)
	}
	if out := b.git("log", "--format=%s", "--stat", before+"..", "--", "*.bin"); out != "" {
		t.Errorf("something was committed: %s", out)
	}
	b.sound()
	b.try("annex", "get", "one.bin")
	b.holds(1)
	b.has("one.bin", want["one.bin"])
	if _, err := b.get(true, "two.bin"); err != nil {
		t.Fatal(err)
	}

	// What git annex fsck takes away because it has rotted is wanted as before.
	key := b.git("annex", "lookupkey", "lost.bin")
	object := b.path(b.git("annex", "contentlocation", key))
	if err := errors.Join(os.Chmod(object, 0o644), os.WriteFile(object, []byte(noise(200_000)), 0o644)); err != nil {
		t.Fatal(err)
	}
	_, _ = b.tryGit("annex", "fsck", "lost.bin")
	b.eventually("get it once more", func() error {
		_, err := os.Stat(object)
		return err
	})
	want["later"] = "1\n"
	only(t, want, ms...)
}

// TestDropSurvivesKills kills the agent while it drops. What has gone stays away after the restart, and all else is whole.
func TestDropSurvivesKills(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	want := make(map[string]string)
	for i := range 20 {
		want[fmt.Sprintf("d/%02d", i)] = noise(101_000 + i)
	}
	a.saveAll(want)
	only(t, want, ms...)
	b.stop()
	for round := range 3 {
		b.spawn()
		b.online(1)
		ended := make(chan error, 1)
		go func() {
			_, err := b.drop("d")
			ended <- err
		}()
		b.eventually("be at it", func() error {
			for i := range round * 7 {
				if st, err := os.Stat(b.path(fmt.Sprintf("d/%02d", i))); err != nil || st.Size() > 100_000 {
					return fmt.Errorf("d/%02d is not dropped (%w)", i, err)
				}
			}
			return nil
		})
		b.kill()
		if err := <-ended; err == nil {
			t.Log("it was done before it was killed")
		}
		gone := 0
		for name, content := range want {
			if got, err := os.ReadFile(b.path(name)); err != nil || string(got) != content && !strings.HasPrefix(string(got), "/annex/objects/") {
				t.Fatalf("%s is %.40q, %v", name, got, err)
			}
			key := b.git("annex", "lookupkey", name)
			if out, err := b.tryGit("annex", "contentlocation", key); err != nil || out == "" {
				gone++
			}
		}
		t.Logf("round %d: %d are gone", round, gone)
		b.spawn()
		b.holds(gone)
		settled(t, ms...)
		b.sound()
		if _, err := b.get(true, ""); err != nil {
			t.Fatal(err)
		}
		only(t, want, ms...)
		b.stop()
	}
}
