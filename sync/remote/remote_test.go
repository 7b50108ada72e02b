package remote_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/remote"
)

// kinds make a remote "r" of each kind for a clone.
var kinds = []struct {
	name string
	kind remote.Kind
	make func(t testing.TB, dir string)
}{
	{"ssh", remote.SSH, func(t testing.TB, dir string) {
		run(t, dir, "git", "remote", "add", "r", "ssh://me@here"+newAnnex(t))
	}},
	{"path with work tree", remote.Path, func(t testing.TB, dir string) {
		run(t, dir, "git", "remote", "add", "r", newAnnex(t))
	}},
	{"path, bare", remote.Path, func(t testing.TB, dir string) {
		run(t, dir, "git", "remote", "add", "r", "file://"+newAnnex(t, "--bare"))
	}},
	{"directory", remote.Directory, func(t testing.TB, dir string) {
		run(t, dir, "git", "annex", "initremote", "-q", "r", "type=directory", "directory="+t.TempDir(), "encryption=none")
	}},
	{"chunked directory", remote.Program, func(t testing.TB, dir string) {
		run(t, dir, "git", "annex", "initremote", "-q", "r", "type=directory", "directory="+annextest.TempDir(t), "encryption=shared", "chunk=1MiB")
	}},
	{"external", remote.Program, func(t testing.TB, dir string) {
		t.(*testing.T).Setenv("SHELF", annextest.TempDir(t))
		run(t, dir, "git", "annex", "initremote", "-q", "r", "type=external", "externaltype=shelf", "encryption=none")
	}},
}

// TestContents has contents of any size go to each kind of remote and come back, by us and by git-annex in turn.
func TestContents(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			dir := newAnnex(t)
			k.make(t, dir)
			c := openClone(t, dir)
			r := c.remote(t, "r")
			if r.Kind != k.kind || !r.Read || !r.Write {
				t.Fatalf("remote is %+v", r)
			}
			s := c.open(t, "r")
			if err := r.Identify(t.Context()); err != nil {
				t.Fatal(err)
			}
			sizes := rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(1, 5000), rapid.IntRange(256<<10, 2<<20+1))
			stored := make(map[annex.Key]bool)
			rapid.Check(t, func(rt *rapid.T) {
				content := random(uint64(len(stored)), sizes.Draw(rt, "size"))
				key := c.hold(t, content)
				there(t, s, key, stored[key])
				stored[key] = true
				c.both(t, s, r, key, content)
			})
			if out := c.annex(t, "fsck", "--all", "--from=r", "--json"); strings.Contains(out, `"success":false`) || !strings.Contains(out, `"success":true`) {
				t.Errorf("fsck --from: %s", out)
			}
		})
	}
}

// both puts content and has git-annex get it, and the other way round.
func (c clone) both(t *testing.T, s remote.Session, r *remote.Remote, key annex.Key, content []byte) {
	t.Helper()
	size := int64(len(content))
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s %d bytes: %v", what, size, err)
		}
	}
	check("put", s.Put(t.Context(), key, "a file.dat", nil))
	check("put again", s.Put(t.Context(), key, "", nil))
	c.record(t, key, r.UUID, true)
	there(t, s, key, true)
	c.forget(t, key)
	c.annex(t, "get", "-q", "--from=r", "--key="+key.String())
	if !bytes.Equal(c.content(t, key), content) {
		t.Fatalf("git-annex got other %d bytes", size)
	}
	c.annex(t, "drop", "-q", "--force", "--from=r", "--key="+key.String())
	there(t, s, key, false)
	c.forget(t, key)
	if err := s.Get(t.Context(), key, "", nil); size > 0 && !errors.Is(err, p2p.ErrAbsent) {
		t.Fatalf("get what is not there: %v", err)
	}
	c.hold(t, content)
	c.annex(t, "copy", "-q", "--to=r", "--key="+key.String())
	there(t, s, key, true)
	c.forget(t, key)
	var last int64
	check("get", s.Get(t.Context(), key, "a file.dat", func(n int64) {
		if n < last {
			t.Errorf("progress goes from %d to %d", last, n)
		}
		last = n
	}))
	if !bytes.Equal(c.content(t, key), content) || last > size || size > 0 && last == 0 && r.Kind != remote.Program {
		t.Fatalf("got other %d bytes, told of %d", size, last)
	}
	check("get again", s.Get(t.Context(), key, "", nil))
}

func there(t *testing.T, s remote.Session, key annex.Key, want bool) {
	t.Helper()
	if got, err := s.Has(t.Context(), key); err != nil || got != want {
		t.Fatalf("%s there: %v, %v; want %v", key, got, err, want)
	}
}

// TestList compares kinds and costs with what git-annex says.
func TestList(t *testing.T) {
	c := openClone(t, newAnnex(t))
	dir := t.TempDir()
	for _, args := range []string{
		"git annex initremote -q directory type=directory encryption=none directory=" + dir,
		"git annex initremote -q priced type=directory encryption=none cost=120 directory=" + dir,
		"git annex initremote -q encrypted type=directory encryption=shared cost=120 directory=" + dir,
		"git annex initremote -q chunked type=directory encryption=none chunk=1MiB directory=" + dir,
		"git annex initremote -q exported type=directory encryption=none exporttree=yes directory=" + dir,
		"git annex initremote -q rsync type=rsync encryption=none rsyncurl=here:x",
		"git annex initremote -q dear type=rsync encryption=shared rsyncurl=here:x",
		"git config remote.dear.annex-cost 133.5",
		"git remote add path " + newAnnex(t),
		"git remote add here ssh://here" + newAnnex(t),
		"git remote add readonly ssh://here" + newAnnex(t),
		"git config remote.readonly.annex-readonly true",
		"git remote add ignored " + newAnnex(t),
		"git config remote.ignored.annex-ignore true",
		"git config remote.ignored.annex-sync false",
		"git remote add apart " + newAnnex(t),
		"git config remote.apart.annex-sync false",
		"git config remote.nothing.annex-cost 3",
		"git remote add short me@host:dir",
		"git config url.me@host:.insteadOf my:",
		"git remote add instead my:dir",
		"git remote add web https://example.invalid/x.git",
		"git remote add served https://example.invalid/y.git",
		"git config remote.served.annex-uuid 77777777-7777-4888-8999-aaaaaaaaaaaa",
	} {
		run(t, c.dir, strings.Fields(args)...)
	}
	if err := c.git.ReloadConfig(t.Context()); err != nil {
		t.Fatal(err)
	}
	remotes, err := remote.List(t.Context(), c.git, c.repo)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for i, r := range remotes {
		if i > 0 && r.Cost < remotes[i-1].Cost {
			t.Errorf("%s is cheaper than %s", r.Name, remotes[i-1].Name)
		}
		text := r.Kind.String()
		for _, f := range []struct {
			on   bool
			name string
		}{{r.Read, "read"}, {r.Prove, "prove"}, {r.Write, "write"}, {r.Fetch, "fetch"}, {r.Push, "push"}} {
			if f.on {
				text += " " + f.name
			}
		}
		got[r.Name] = text
		if r.Name == "instead" && r.URL != "me@host:dir" {
			t.Errorf("the URL of instead is %q", r.URL)
		}
		if r.Name == "ignored" || r.URL != "" && r.Kind != remote.Path && r.Name != "here" {
			continue // git-annex would dial, or says no cost
		}
		var info struct{ Cost string }
		if err := json.Unmarshal([]byte(c.annex(t, "info", "--fast", "--json", r.Name)), &info); err != nil {
			t.Fatal(err)
		}
		if want, err := strconv.ParseFloat(info.Cost, 64); err != nil || r.Cost != want {
			t.Errorf("%s costs %v, and %q for git-annex", r.Name, r.Cost, info.Cost)
		}
	}
	for name, want := range map[string]string{
		"directory": "directory read prove write", "priced": "directory read prove write", "encrypted": "program read prove write", "chunked": "program read prove write",
		"exported": "program read prove", "rsync": "program read prove write", "dear": "program read prove write", "path": "path read prove write fetch push",
		"here": "ssh read prove write fetch push", "readonly": "ssh read prove fetch", "ignored": "path", "apart": "path read prove", "short": "ssh read prove write fetch push",
		"instead": "ssh read prove write fetch push", "web": "plain fetch push",
		"served": "program read fetch push",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("more remotes: %q", got)
	}
}

// TestWithoutProgram asks for what needs git-annex where that is not installed.
func TestWithoutProgram(t *testing.T) {
	dir := newAnnex(t)
	kinds[4].make(t, dir)
	bare := newAnnex(t, "--bare")
	run(t, dir, "git", "remote", "add", "bare", bare)
	c := openClone(t, dir)
	git, bin := run(t, "/", "sh", "-c", "command -v git"), t.TempDir()
	if err := os.Symlink(git, filepath.Join(bin, "git")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	_, err := c.remote(t, "r").Open(t.Context(), p2p.Limits{})
	var hinted interface{ Hint() string }
	if !errors.Is(err, remote.ErrNoProgram) || !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "install git-annex") {
		t.Errorf("open: %v", err)
	}
	key := c.hold(t, random(1, 1000))
	if err := c.open(t, "bare").Put(t.Context(), key, "", nil); err != nil {
		t.Errorf("a repository by path needs no git-annex: %v", err)
	}
}
