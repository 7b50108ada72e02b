package annex

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// where a content of TestDropsByGitAnnex may be: a bit of a set for each repository.
var places = []struct {
	name  string
	trust string
	has   bool // really
	level string
}{
	{name: "semi", has: true},
	{name: "other", has: true},
	{name: "trusted", trust: "1"},
	{name: "byconfig", trust: "0", level: "trusted"},
	{name: "untrusted", trust: "0", has: true},
	{name: "dead", trust: "X", has: true},
	{name: "stale"},
}

// attributeSets are lines of .gitattributes, of a folder each.
var attributeSets = []string{
	"", "annex.numcopies=2", "annex.numcopies=0 annex.mincopies=-3", "annex.mincopies=3 annex.numcopies=x", "annex.numcopies=3abc",
	"annex.numcopies=3 annex.mincopies=2",
}

// TestDropsByGitAnnex has git-annex decide about drops of a generated set of numbers of copies, levels of trust and places.
func TestDropsByGitAnnex(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	remotes := make([]*Repo, len(places))
	var locations []Location
	for i, p := range places {
		dir := filepath.Join(annextest.TempDir(t), p.name)
		run(t, "/", "git", "init", "-q", dir)
		remotes[i] = initAnnex(t, dir, p.name)
		run(t, r.git.Dir(), "git", "remote", "add", p.name, dir)
		setConfig(t, r, "remote."+p.name+".annex-uuid", remotes[i].UUID())
		if p.level != "" {
			setConfig(t, r, "remote."+p.name+".annex-trustlevel", p.level)
		}
		if p.trust != "" {
			if err := r.setValue(t.Context(), trustLog, uuidLogFormat, remotes[i].UUID(), p.trust); err != nil {
				t.Fatal(err)
			}
		}
	}

	// Each content, in files of one folder or of two, is in another set of places.
	rounds := []struct{ num, min, config string }{{}, {num: "2", config: "3"}, {num: "1", min: "2"}, {config: "2"}}
	type content struct {
		key   Key
		paths []string
	}
	contents := make([][]content, len(rounds))
	var files []gitrepo.Change
	var index []gitrepo.IndexEntry
	put := func(path string, e gitrepo.Entry) {
		if err := os.MkdirAll(filepath.Dir(r.workPath(path)), 0o777); err != nil {
			t.Fatal(err)
		}
		files = append(files, gitrepo.Change{Path: path, New: e})
	}
	n := 0
	for round := range rounds {
		for a, attrs := range attributeSets {
			blob, err := r.git.WriteBlob([]byte("* " + attrs + "\n"))
			if err != nil {
				t.Fatal(err)
			}
			path := fmt.Sprintf("r%d/a%d/.gitattributes", round, a)
			put(path, gitrepo.Entry{Mode: gitrepo.ModeFile, Hash: blob})
			write(t, r, path, "* "+attrs+"\n", 0o644)
			for range 13 {
				n++
				set := n * 0x9e37 >> 3 & (1<<len(places) - 1)
				k := place(t, r, fmt.Sprint("content ", n))
				locations = append(locations, Location{Key: k, UUID: r.UUID(), Present: true})
				for i, p := range places {
					if set>>i&1 == 0 {
						continue
					}
					locations = append(locations, Location{Key: k, UUID: remotes[i].UUID(), Present: true})
					if p.has {
						place(t, remotes[i], fmt.Sprint("content ", n))
					}
				}
				c := content{key: k}
				for _, dir := range []int{a, (a + n) % len(attributeSets)} {
					path := fmt.Sprintf("r%d/a%d/%d-%03b", round, dir, n, set)
					if len(c.paths) > 0 && (c.paths[0] == path || n%3 > 0) {
						continue
					}
					target, err := r.git.WriteBlob([]byte(LinkTarget(path, k)))
					if err != nil {
						t.Fatal(err)
					}
					put(path, gitrepo.Entry{Mode: gitrepo.ModeSymlink, Hash: target})
					if err := os.Symlink(LinkTarget(path, k), r.workPath(path)); err != nil {
						t.Fatal(err)
					}
					c.paths = append(c.paths, path)
				}
				contents[round] = append(contents[round], c)
			}
		}
	}
	ref, _, err := r.git.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	commit, err := r.git.NewCommit(t.Context(), gitrepo.NewCommit{Changes: files, Message: "add"})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		st, err := r.git.Stat(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		index = append(index, gitrepo.IndexEntry{Path: f.Path, Entry: f.New, Stat: st})
	}
	if err := r.git.Advance(t.Context(), gitrepo.Advance{Ref: ref, New: commit, Index: index}); err != nil {
		t.Fatal(err)
	}
	record(t, r, locations...)

	begun, dropped, kept := time.Now(), 0, 0
	for round, settings := range rounds {
		for log, value := range map[string]string{numCopiesLog: settings.num, minCopiesLog: settings.min} {
			_, err := r.commit(t.Context(), func(e *edit) error {
				content := "100s 7\n" // older
				if value == "" {
					content = "not a line\n"
				} else {
					content += fmt.Sprintf("%ds %s\n", 200+round, value)
				}
				e.write(log, []byte(content))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		_, _ = try(t, r.git.Dir(), "git", "config", "--unset", "annex.numcopies")
		if settings.config != "" {
			run(t, r.git.Dir(), "git", "config", "annex.numcopies", settings.config)
		}
		if err := r.git.ReloadConfig(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := make(map[string]bool)
		needs := make(map[string]Copies)
		ask := []string{"drop", "--json"}
		for _, c := range contents[round] {
			copies, err := r.Copies(t.Context(), c.paths, 0)
			if err != nil {
				t.Fatal(err)
			}
			holders, err := r.Holders(t.Context(), c.key)
			if err != nil {
				t.Fatal(err)
			}
			have := len(holders.Trusted)
			for _, uuid := range holders.Provable {
				for i, p := range places {
					if remotes[i].UUID() == uuid && remotes[i].Has(c.key) && p.has {
						have++
					}
				}
			}
			want[c.paths[0]] = have >= copies.Elsewhere()
			needs[c.paths[0]] = copies
			ask = append(ask, c.paths[0])
		}
		out, _ := try(t, r.git.Dir(), "git-annex", ask...)
		for line := range strings.Lines(out) {
			var verdict struct {
				File    string
				Success bool
			}
			if err := json.Unmarshal([]byte(line), &verdict); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			expected, asked := want[verdict.File]
			if !asked || verdict.Success != expected {
				t.Errorf("with %+v, %s (%+v): git-annex drops it: %v\n%s", settings, verdict.File, needs[verdict.File], verdict.Success, line)
			}
			delete(want, verdict.File)
			if verdict.Success {
				dropped++
			} else {
				kept++
			}
		}
		if len(want) > 0 {
			t.Errorf("git-annex says nothing of %v", want)
		}
	}
	t.Logf("git-annex dropped %d and kept %d, in %v", dropped, kept, time.Since(begun))
	if dropped < 100 || kept < 100 {
		t.Error("the set is one-sided")
	}
}

// place makes content an object, without a care for power cuts, and gives its key.
func place(t testing.TB, r *Repo, content string) Key {
	t.Helper()
	k := KeyFor(sha256.Sum256([]byte(content)), int64(len(content)), "", DefaultMaxExtensionLength)
	object, _ := r.ObjectPath(k)
	if err := os.MkdirAll(filepath.Dir(object), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(object, []byte(content), 0o444); err != nil {
		t.Fatal(err)
	}
	return k
}

func TestForcedCopies(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	write(t, r, ".gitattributes", "* annex.numcopies=4 annex.mincopies=2\n", 0o644)
	for forced, want := range map[int]Copies{0: {4, 2}, 1: {1, 2}, 7: {7, 2}, -1: {4, 2}} {
		if got, err := r.Copies(t.Context(), []string{"f"}, forced); got != want || err != nil {
			t.Errorf("forced %d: %v, %v", forced, got, err)
		}
	}
}

func TestParseCopies(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"2": 2, " 3": 3, "0": 0, "-1": -1, "2abc": 2, "07": 7, "2 3": 2} {
		if got := parseCopies(text); got == nil || *got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	for _, text := range []string{"", "x", "-", "2.5", "1e3", "0x10", "unspecified", "99999999999999999999"} {
		if got := parseCopies(text); got != nil {
			t.Errorf("%q is %d", text, *got)
		}
	}
}
