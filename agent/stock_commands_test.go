package agent_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/sync/annex/annextest"
)

// TestCommandsOfGitAnnex has a person run git-annex's commands in one clone while agents run there and in another, where git-annex is of
// another version.
func TestCommandsOfGitAnnex(t *testing.T) {
	t.Parallel()
	for i, name := range []string{"system beside sid", "sid beside system"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop", "lost")
			ms[i].stop()
			ms[1-i].stop()
			ms[1].env = []string{"PATH=" + annextest.SidPath(t)}
			ms[0].spawn()
			ms[1].spawn()
			ms[0].online(2)
			ms[1].online(2)
			testCommands(t, ms[i], ms[1-i], ms[2])
		})
	}
}

func testCommands(t *testing.T, here, there, lost *machine) {
	want := map[string]string{"first.bin": noise(200_000), "second.bin": noise(150_000), "text.txt": "1\n"}
	here.saveAll(want)
	only(t, want, here, there, lost)
	here.copies("first.bin", here, there, lost)
	here.git("remote", "add", "there", there.dir)
	there.git("remote", "add", "here", here.dir)
	id, lostID := there.git("config", "annex.uuid"), lost.git("config", "annex.uuid")
	annexed := func(args ...string) { t.Helper(); here.try(append([]string{"annex"}, args...)...) }

	t.Log("dead, forget")
	stale := here.stock(here.dir) // which has what is to be forgotten
	stale.env = there.env
	stale.try("annex", "sync", "--no-content")
	lost.stop()
	root := here.git("rev-list", "--max-parents=0", "git-annex")
	annexed("dead", lostID)
	for m, other := range map[*machine]*machine{here: there, there: here} { // where git-annex finds what is to be forgotten
		m.eventually("see that it is dead", func() error {
			out, err := m.tryGit("grep", lostID, "refs/remotes/"+other.name+"/git-annex", "--", "group.log")
			if err == nil && out == "" {
				err = errors.New("no")
			}
			return err
		})
	}
	annexed("forget", "--force", "--drop-dead")
	forgotten := func(machines ...*machine) {
		t.Helper()
		for _, m := range machines {
			m.eventually("forget", func() error {
				out, _ := m.tryGit("grep", "-l", lostID, "git-annex", "--", ":!trust.log")
				if out != "" {
					return fmt.Errorf("%q tell of the lost machine", out)
				}
				roots, err := m.tryGit("rev-list", "--max-parents=0", "git-annex")
				if err == nil && strings.Contains(roots, root) {
					err = fmt.Errorf("the old history is there: %s", roots)
				}
				return err
			})
		}
	}
	forgotten(here, there)
	annexed("merge")
	there.try("annex", "merge")
	forgotten(here, there)
	stale.git("push", "-q", "--force", "origin", "git-annex:synced/git-annex") // as an assistant does that has not heard of it
	stale.try("annex", "sync", "--no-content")
	there.try("annex", "sync")
	annexed("sync")

	t.Log("add, drop, get, move, copy")
	want["added.bin"] = noise(210_000)
	here.save("added.bin", want["added.bin"])
	annexed("add", "added.bin")
	there.has("added.bin", want["added.bin"])
	settled(t, here, there)
	annexed("drop", "added.bin")
	here.holds(1)
	there.copies("added.bin", there)
	annexed("get", "added.bin")
	here.holds(0)
	there.copies("added.bin", here, there)
	annexed("move", "--to", "there", "added.bin")
	here.holds(1)
	there.copies("added.bin", there)
	annexed("move", "--from", "there", "added.bin")
	here.holds(0)
	there.holds(1)
	for _, m := range []*machine{here, there} {
		m.copies("added.bin", here)
	}
	annexed("copy", "--to", "there", "added.bin")
	there.holds(0)
	there.has("added.bin", want["added.bin"])
	here.copies("added.bin", here, there)

	t.Log("lock, fix, unlock")
	annexed("lock", "first.bin")
	there.locked("first.bin")
	settled(t, here, there)
	if err := errors.Join(os.Mkdir(here.path("sub"), 0o755), os.Rename(here.path("first.bin"), here.path("sub/first.bin"))); err != nil {
		t.Fatal(err)
	}
	annexed("fix")
	there.lacks("first.bin")
	there.has("sub/first.bin", want["first.bin"]) // through the link
	settled(t, here, there)
	annexed("unlock", "sub/first.bin")
	want["sub/first.bin"] = want["first.bin"]
	delete(want, "first.bin")
	only(t, want, here, there)

	t.Log("unused")
	old := here.git("annex", "lookupkey", "second.bin")
	want["second.bin"] = noise(160_000)
	there.save("second.bin", want["second.bin"])
	only(t, want, here, there)
	annexed("sync", "--no-content")                                                                          // moves git-annex's copies of branches, which name the old version
	unused := []string{"annex", "unused", "--used-refspec=+refs/heads/*:+refs/remotes/" + there.name + "/*"} // the lost machine still has it
	here.eventually("have a version that is not used", func() error {
		out, err := here.tryGit(unused...)
		if err == nil && !strings.Contains(out, old) {
			err = fmt.Errorf("git annex unused says %s", out)
		}
		return err
	})
	annexed("dropunused", "--force", "all")
	if out := here.git(unused...); strings.Contains(out, old) {
		t.Errorf("it came back: %s", out)
	}

	t.Log("what is set for a file or a repository")
	says := func(text string, args ...string) {
		t.Helper()
		there.eventually("hear of it", func() error {
			out, err := there.tryGit(args...)
			if err == nil && !strings.Contains(out, text) {
				err = fmt.Errorf("git %s says %q, not %q", strings.Join(args, " "), out, text)
			}
			return err
		})
	}
	annexed("metadata", "-t", "seen", "added.bin")
	says("seen", "annex", "metadata", "--get", "tag", "added.bin")
	annexed("describe", "here", "the one at home")
	annexed("group", "there", "backup")
	says("backup", "annex", "group", ".")
	annexed("ungroup", "there", "backup")
	annexed("numcopies", "2")
	says("2", "annex", "numcopies")
	annexed("untrust", "there")
	says(id+" 0", "show", "git-annex:trust.log")
	annexed("trust", "--force", "there")
	says(id+" 1", "show", "git-annex:trust.log")
	annexed("semitrust", "there")
	annexed("numcopies", "1")
	annexed("wanted", "there", "exclude=not/*")
	says("exclude=not/*", "annex", "wanted", ".")
	want["not/it.bin"] = noise(130_000)
	here.save("not/it.bin", want["not/it.bin"])
	there.pointer("not/it.bin")
	there.copies("not/it.bin", here)
	annexed("wanted", "there", "")
	only(t, want, here, there)

	t.Log("sync")
	want["synced.txt"] = "1\n"
	here.save("synced.txt", "1\n")
	annexed("sync")
	there.has("synced.txt", "1\n")
	want["synced.bin"] = noise(140_000)
	there.save("synced.bin", want["synced.bin"])
	there.try(syncContent...)
	annexed("sync", "--content")
	only(t, want, here, there)
	says("the one at home", "annex", "whereis", "synced.bin")
	alike(t, stale, here, there)
	soundTwice(t, here, there, stale)
	if err := sameFiles(stale.tree(), want); err != nil {
		t.Errorf("the stock clone: %v", err)
	}
	forgotten(here, there, stale)
}
