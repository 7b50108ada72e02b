package annex

import (
	"crypto/md5"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// version is what one side of a merge has under a name; the zero version is nothing.
type version struct {
	mode, content string
	inside        bool // in a directory of that name
}

// versionOf gives a version of a file by what it is. The digit of an annexed one tells its key.
func versionOf(t *testing.T, path, kind string) version {
	t.Helper()
	k := keyOf(t, int(kind[len(kind)-1]))
	switch strings.TrimRight(kind, "012") {
	case "locked":
		return version{mode: "120000", content: LinkTarget(path, k)}
	case "unlocked":
		return version{mode: "100644", content: string(Pointer(k))}
	case "executable":
		return version{mode: "100755", content: string(Pointer(k))}
	case "plain":
		return version{mode: "100644", content: "plain\n"}
	case "script":
		return version{mode: "100755", content: "#!/bin/sh\n"}
	case "link":
		return version{mode: "120000", content: "elsewhere"}
	case "directory":
		return version{mode: "100644", content: "in a directory\n", inside: true}
	}
	return version{}
}

// conflict is one path that two sides have changed, each in its way.
type conflict struct{ path, base, ours, theirs string }

func (c conflict) String() string {
	return fmt.Sprintf("%s: %s, ours %s, theirs %s", c.path, c.base, c.ours, c.theirs)
}

// conflicts gives every pair of versions, not both of them plain, under one name, and some under names that are taken apart in another way. Left out is
// what git-annex 10.20230126 does not resolve: one key, locked and unlocked, ends it with "openBinaryFile: does not exist".
func conflicts() []conflict {
	var all []conflict
	annexed := []string{"locked1", "unlocked1", "executable1", "locked2", "unlocked2", "executable2"}
	kinds := append(slices.Clone(annexed), "plain", "script", "link", "deleted")
	for i, ours := range kinds {
		for j, theirs := range kinds {
			oneKey := ours[len(ours)-1] == theirs[len(theirs)-1] && (strings.HasPrefix(ours, "locked") || strings.HasPrefix(theirs, "locked"))
			if ours == theirs || oneKey || !slices.Contains(annexed, ours) && !slices.Contains(annexed, theirs) {
				continue
			}
			bases := []string{"locked0", "unlocked0", "plain", "deleted"}
			if ours == "deleted" || theirs == "deleted" { // a merge of its own, so one key is enough
				if min(i, j) >= 3 {
					continue
				}
				bases = bases[(i+j)%2:][:1]
			}
			for _, base := range bases {
				if base != ours && base != theirs {
					all = append(all, conflict{"dir/file.txt", base, ours, theirs})
				}
			}
		}
	}
	for _, name := range []string{
		"noext", "c.tar.gz", ".hidden", ".hidden.txt", "dot.", "d/x.y.z", "in.dir/noext", "v.variant-ab12.txt", "d.variant-1/f.txt", "ünï çode.日本", "a b.c d",
	} {
		all = append(all,
			conflict{name, "locked0", "locked1", "locked2"},
			conflict{name, "deleted", "unlocked1", "locked2"},
			conflict{name, "plain", "link", "executable2"},
		)
	}
	return append(all, conflict{"v.variant-ab12.txt", "locked0", "locked1", "deleted"}, conflict{".hidden", "unlocked0", "deleted", "unlocked1"})
}

// merges groups conflicts into merges: one for all in which nothing was deleted. A file that was deleted comes alone, because git-annex takes it for
// one with the conflict beside it (git-annex.md §1.11).
func merges(all []conflict) [][]conflict {
	groups := make([][]conflict, 1)
	for i, c := range all {
		c.path = fmt.Sprintf("%d/%s", i, c.path)
		if c.ours == "deleted" || c.theirs == "deleted" {
			groups = append(groups, []conflict{c})
		} else {
			groups[0] = append(groups[0], c)
		}
	}
	return groups
}

// importMerge writes the branches base, ours and theirs with the number of a merge, for git fast-import.
func importMerge(t *testing.T, out *strings.Builder, number int, conflicts []conflict) {
	t.Helper()
	for _, side := range []struct {
		branch string
		kind   func(conflict) string
	}{
		{"base", func(c conflict) string { return c.base }},
		{"ours", func(c conflict) string { return c.ours }},
		{"theirs", func(c conflict) string { return c.theirs }},
	} {
		fmt.Fprintf(out, "commit refs/heads/%s%d\ncommitter T <t@example.org> 1700000000 +0000\ndata 0\n\n", side.branch, number)
		if side.branch != "base" {
			fmt.Fprintf(out, "from refs/heads/base%d\n", number)
		}
		out.WriteString("deleteall\nM 100644 inline anchor\ndata 7\nanchor\n\n")
		for _, c := range conflicts {
			path, v := c.path, versionOf(t, c.path, side.kind(c))
			if v.inside {
				path += "/inside"
			}
			if v.mode != "" {
				fmt.Fprintf(out, "M %s inline %s\ndata %d\n%s\n", v.mode, path, len(v.content), v.content)
			}
		}
	}
}

// merged merges as the agent does, and gives the commit.
func merged(t *testing.T, r *Repo, number int) gitrepo.Hash {
	t.Helper()
	var heads []gitrepo.Hash
	for _, branch := range []string{"ours", "theirs"} {
		h, err := r.git.Ref(fmt.Sprintf("refs/heads/%s%d", branch, number))
		if err != nil {
			t.Fatal(err)
		}
		heads = append(heads, h)
	}
	res, err := r.git.MergeHeads(t.Context(), heads, func(e gitrepo.Entry) (gitrepo.Annexed, bool) {
		k, ok := EntryKey(r.git, e)
		return gitrepo.Annexed{Key: k.String(), File: k.File()}, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	return res.Commit
}

// A conflict about an annexed file ends as git-annex ends it: in the same tree.
func TestConflictsByGitAnnex(t *testing.T) {
	annextest.Each(t, testConflictsByGitAnnex)
}

func testConflictsByGitAnnex(t *testing.T) {
	r := newAnnex(t)
	dir := r.git.Dir()
	groups := merges(conflicts())
	var stream strings.Builder
	for i, group := range groups {
		importMerge(t, &stream, i, group)
	}
	input := filepath.Join(t.TempDir(), "stream")
	if err := os.WriteFile(input, []byte(stream.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	const script = `
		git fast-import --quiet <"$1" || exit 1
		for i in $(seq 0 "$2"); do
			git checkout -q -f -B work "ours$i" || exit 1
			if git -c merge.directoryRenames=false merge -q --no-edit "theirs$i" >/dev/null; then echo "merge $i is no conflict"; fi
			git annex resolvemerge -q >/dev/null || exit 1
			git update-ref "refs/heads/resolved$i" HEAD || exit 1
		done`
	if out := run(t, dir, "sh", "-c", script, "-", input, fmt.Sprint(len(groups)-1)); out != "" {
		t.Error(out)
	}
	for i, group := range groups {
		theirs, err := r.git.Ref(fmt.Sprintf("refs/heads/resolved%d", i))
		if err != nil {
			t.Fatal(err)
		}
		changes, err := r.git.Diff(theirs, merged(t, r, i))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range group {
			for _, change := range changes {
				if strings.HasPrefix(change.Path, c.path[:strings.IndexByte(c.path, '/')+1]) {
					t.Errorf("%s: by git-annex %s is %v, by us %v", c, change.Path, change.Old, change.New)
				}
			}
		}
	}
}

// What git-annex cannot resolve, or resolves to another tree on each side, ends in one way: an unlocked form of the same key stays, and a directory keeps its
// name. (git-annex names the file that is in its way after the side it comes from, f.variant-85a2.txt~HEAD.)
func TestConflictsOfOurOwn(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	var group []conflict
	var stream strings.Builder
	wants := make(map[string]version) // by path
	for i, ours := range []string{"locked1", "unlocked1", "executable1"} {
		for j, theirs := range []string{"unlocked1", "locked1", "directory"} {
			c := conflict{fmt.Sprintf("%d%d/f.txt", i, j), "locked0", ours, theirs}
			want := versionOf(t, c.path, ours)
			switch {
			case ours == theirs:
				continue
			case theirs == "directory":
				wants[c.path+"/inside"] = versionOf(t, c.path, theirs)
				sum := md5.Sum([]byte(keyOf(t, '1').String()))
				wants[strings.Replace(c.path, ".txt", fmt.Sprintf(".variant-%x.txt", sum[:2]), 1)] = want
			case ours == "locked1":
				wants[c.path] = versionOf(t, c.path, theirs)
			default:
				wants[c.path] = want
			}
			group = append(group, c)
		}
	}
	importMerge(t, &stream, 0, group)
	input := filepath.Join(t.TempDir(), "stream")
	if err := os.WriteFile(input, []byte(stream.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	run(t, r.git.Dir(), "sh", "-c", `git fast-import --quiet <"$1"`, "-", input)
	commit := merged(t, r, 0)
	for path, want := range wants {
		e, err := r.git.Entry(commit, path)
		if err != nil || e.Mode.String() != want.mode || e.Hash != gitrepo.HashBlob([]byte(want.content)) {
			t.Errorf("%s is %v, %v, want %+v", path, e, err, want)
		}
	}
	if err := r.git.Sync(); err != nil {
		t.Fatal(err)
	}
	if files := strings.Fields(run(t, r.git.Dir(), "git", "ls-tree", "-r", "--name-only", commit.String())); len(files) != len(wants)+1 {
		t.Errorf("the merge has %q, want %d files", files, len(wants)+1)
	}
}
