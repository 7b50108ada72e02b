package annex

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/annex/annextest"
)

func TestKeysByGitAnnex(t *testing.T) { annextest.Each(t, testKeysByGitAnnex) }

func testKeysByGitAnnex(t *testing.T) {
	r := newAnnex(t)
	names := []string{"a.tar.gz", "a.mp3.bak.old1", ".hidden.txt", "a..txt", "a.gz.longext", "a.tar.g_z", "a.日", "a.ééé", "a b.c d", "dash.-x", "UPPER.TXT"}
	for i, name := range names {
		content := fmt.Sprintf("content %d", i)
		write(t, r, name, content, 0o644)
		k := KeyFor(sha256.Sum256([]byte(content)), int64(len(content)), name, DefaultMaxExtensionLength)
		if got := strings.TrimSpace(run(t, r.git.Dir(), "git-annex", "calckey", "./"+name)); got != k.String() {
			t.Errorf("%q has key %s, for git-annex %s", name, k, got)
		}
	}
	write(t, r, "any.ext", "of every backend", 0o644)
	for _, backend := range []string{
		"SHA1", "SHA224", "SHA256", "SHA384", "SHA512", "MD5", "SHA3_224", "SHA3_256", "SHA3_384", "SHA3_512",
		"BLAKE2S256", "BLAKE2B160", "BLAKE2B224", "BLAKE2B256", "BLAKE2B384", "BLAKE2B512",
	} {
		for _, backend := range []string{backend, backend + "E"} {
			k := mustKey(t, strings.TrimSpace(run(t, r.git.Dir(), "git-annex", "calckey", "--backend="+backend, "any.ext")))
			v := k.Verifier()
			if fmt.Fprint(v, "of every backend"); v.hash == nil || v.Check() != nil {
				t.Errorf("the content of %s is found wrong, or not looked at: %v", k, v.Check())
			}
		}
	}
	for _, text := range []string{
		"WORM-s3-m123--foo/bar", "URL--file:///etc/hostname", "SHA256E-s1048576-S1000-C2--abcdef.txt", "XFOOE-s1--a&b%c:d", "MD5-s3--x",
	} {
		k := mustKey(t, text)
		want := k.HashDirLower() + " " + k.HashDirMixed() + " " + k.File()
		got := run(t, r.git.Dir(), "git-annex", "examinekey", text, "--format=${hashdirlower} ${hashdirmixed} ${objectpath}")
		got, object := got[:strings.LastIndexByte(got, ' ')], got[strings.LastIndexByte(got, ' ')+1:]
		if got += " " + filepath.Base(object); got != want {
			t.Errorf("%s: %s, for git-annex %s", text, want, got)
		}
		if link, ok := ParseLink(object); !ok || link != k || LinkTarget("f", k) != object {
			t.Errorf("%s: object of git-annex is %s, link is %s", text, object, LinkTarget("f", k))
		}
	}
	for _, text := range []string{"SHA256E-sx--y", "SHA256E-m1-s4--x", "SHA256E-s4-z3--x", "nodash", "FOOE-s1--x" + strings.Repeat(".", maxKeyExtension+1)} {
		if out, err := try(t, r.git.Dir(), "git-annex", "examinekey", text); err == nil {
			t.Errorf("git-annex takes %s for a key: %s", text, out)
		}
		if _, err := ParseKey(text); err == nil {
			t.Errorf("ParseKey takes %s", text)
		}
	}
}

func TestInitByGitAnnex(t *testing.T) { annextest.Each(t, testInitByGitAnnex) }

func testInitByGitAnnex(t *testing.T) {
	for _, bare := range []bool{false, true} {
		name := "work tree"
		args := []string{"init", "-q"}
		if bare {
			name, args = "bare", append(args, "--bare")
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := annextest.TempDir(t), annextest.TempDir(t)
			run(t, ours, "git", args...)
			run(t, theirs, "git", args...)
			run(t, theirs, "git-annex", "init", "-q", "laptop")
			r := initAnnex(t, ours, "laptop")
			for _, key := range []string{"annex.version", "filter.annex.smudge", "filter.annex.clean", "filter.annex.process"} {
				a, _ := try(t, ours, "git", "config", key)
				b, _ := try(t, theirs, "git", "config", key)
				if a != b {
					t.Errorf("%s is %q, by git-annex %q", key, a, b)
				}
			}
			for _, file := range []string{"info/attributes", "annex/sentinal"} {
				a, _ := os.ReadFile(filepath.Join(r.git.GitDir(), file))
				b, _ := os.ReadFile(filepath.Join(theirs, map[bool]string{true: "", false: ".git"}[bare], file))
				if file == "info/attributes" && !strings.HasSuffix(string(a), string(b)) || file != "info/attributes" && string(a) != string(b) {
					t.Errorf("%s is %q, by git-annex %q", file, a, b)
				}
			}
			info := gitAnnex(t, ours, "info")
			if here := fmt.Sprint(info[0]["semitrusted repositories"]); !strings.Contains(here, r.UUID()) || !strings.Contains(here, "laptop") {
				t.Errorf("git annex info: %s", here)
			}
			before, err := os.ReadFile(filepath.Join(r.dir, "sentinal.cache"))
			if err != nil {
				t.Fatal(err)
			}
			run(t, ours, "git-annex", "init", "-q", "other name")
			after, err := os.ReadFile(filepath.Join(r.dir, "sentinal.cache"))
			if err != nil || string(after) != string(before) {
				t.Errorf("git annex init made the sentinal again: %q, %q, %v", before, after, err)
			}
			descriptions, err := r.Descriptions(t.Context())
			if err != nil || descriptions[r.UUID()] != "other name" || len(descriptions) != 1 {
				t.Errorf("descriptions after git annex init: %v, %v", descriptions, err)
			}
			if value, ok, err := r.Setting(t.Context(), "annex.largefiles"); value != "largerthan=100kb" || !ok || err != nil {
				t.Errorf("annex.largefiles is %q, %v, %v", value, ok, err)
			}
			if got := strings.TrimSpace(run(t, ours, "git-annex", "config", "--get", "annex.addunlocked")); got != "true" {
				t.Errorf("annex.addunlocked is %q for git-annex", got)
			}
			if !bare {
				fsck(t, ours)
			}
			again, err := Init(t.Context(), r.git, "")
			if err != nil || again.UUID() != r.UUID() {
				t.Fatalf("second Init: %v, %v", again, err)
			}
			closeLater(t, again)
		})
	}
}
