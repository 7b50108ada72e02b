package annex

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/annex/annextest"
)

// newFiltered makes a repository whose filter is this test's program, on a PATH without git-annex.
func newFiltered(t *testing.T) *Repo {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"git", "sh"} {
		run(t, bin, "ln", "-s", strings.TrimSpace(run(t, bin, "which", name)), name)
	}
	full := os.Getenv("PATH")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := annextest.TempDir(t)
	t.Setenv("PATH", bin)
	run(t, dir, "git", "init", "-q")
	r := initAnnex(t, dir, "laptop")
	if got := strings.TrimSpace(run(t, dir, "git", "config", "filter.annex.process")); got != "git-arbor filter-process" {
		t.Errorf("filter.annex.process without git-annex is %q", got)
	}
	// The race detector would let each filter wait for a second at its end.
	if err := os.WriteFile(filepath.Join(bin, "git-arbor"), fmt.Appendf(nil, "#!/bin/sh\n%s=1 GORACE=atexit_sleep_ms=0 PATH=%q exec %q\n", filterEnv, full, self), 0o755); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFilterProcess(t *testing.T) {
	full := os.Getenv("PATH")
	r := newFiltered(t)
	dir := r.git.Dir()
	big := strings.Repeat("big content\n", 300_000)
	files := map[string]string{
		"small.txt": "small\n", "sub dir/big.dat": big, "medium": strings.Repeat("m", 150_000), "-odd\nname\xff": strings.Repeat("o", 150_000), "empty": "", ".hidden": big,
	}
	for path, content := range files {
		write(t, r, path, content, 0o644)
	}
	run(t, dir, "git", "add", "-A")
	if out := run(t, dir, "git", "status", "--porcelain"); strings.Count(out, "A ") != len(files) || strings.Contains(out, "M") {
		t.Errorf("git status after git add:\n%s", out)
	}
	run(t, dir, "git", "commit", "-qm", "by git")
	for path, content := range files {
		stored := run(t, dir, "git", "cat-file", "blob", "HEAD:"+path)
		k, annexed := ParsePointer([]byte(stored))
		large := len(content) > 100_000 && path != ".hidden"
		if annexed != large || !large && stored != content {
			t.Errorf("%q is %.100q in git", path, stored)
		}
		if large && (!r.Has(k) || !slices.Equal(locations(t, r, k), []string{r.UUID()})) {
			t.Errorf("%q: %s is here: %v, by the log in %q", path, k, r.Has(k), locations(t, r, k))
		}
	}
	// A touched file is the same file, an edited one is not.
	run(t, dir, "git", "commit", "-q", "--allow-empty", "-m", "empty")
	for path, content := range files {
		write(t, r, path, content, 0o644)
	}
	if out := run(t, dir, "git", "status", "--porcelain"); out != "" {
		t.Errorf("git status of touched files:\n%s", out)
	}
	write(t, r, "sub dir/big.dat", big+"more", 0o644)
	if out := run(t, dir, "git", "status", "--porcelain"); out != " M \"sub dir/big.dat\"\n" {
		t.Errorf("git status of an edited file:\n%s", out)
	}
	run(t, dir, "git", "commit", "-qam", "edit")
	t.Setenv("PATH", os.Getenv("PATH")+":"+full)
	fsck(t, dir)
}

// git checkout writes pointers, and notes them for whoever has the content.
func TestFilterCheckout(t *testing.T) { annextest.Each(t, testFilterCheckout) }

func testFilterCheckout(t *testing.T) {
	full := os.Getenv("PATH")
	r := newFiltered(t)
	dir := r.git.Dir()
	old := strings.Repeat("old content\n", 20_000)
	write(t, r, "small", "small\n", 0o644)
	write(t, r, "big", old, 0o755)
	run(t, dir, "git", "add", "-A")
	run(t, dir, "git", "commit", "-qm", "one")
	write(t, r, "big", "new "+old, 0o755)
	run(t, dir, "git", "commit", "-qam", "two")
	run(t, dir, "git", "checkout", "-qb", "before", "HEAD^")
	if out := run(t, dir, "git", "status", "--porcelain"); out != "" {
		t.Errorf("git status after git checkout:\n%s", out)
	}
	if _, ok := ParsePointer([]byte(read(t, r, "big"))); !ok {
		t.Errorf("git checkout wrote %.100q", read(t, r, "big"))
	}
	failure := errors.New("not now")
	if err := r.Smudged(t.Context(), func([]Smudged) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("Smudged: %v", err)
	}
	err := r.Smudged(t.Context(), func(files []Smudged) error {
		for _, f := range files {
			if f.Path != "big" {
				t.Errorf("noted: %v", f)
			}
			if r.Has(f.Key) {
				populate(t, r, f.Key, f.Path)
			}
		}
		return r.noteSmudged(t.Context(), keyOf(t, 1), "later file")
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, r, "big"); got != old {
		t.Errorf("populated file is %.100q", got)
	}
	if out := run(t, dir, "git", "status", "--porcelain"); out != "" {
		t.Errorf("git status after Populate:\n%s", out)
	}
	var left []Smudged
	err = r.Smudged(t.Context(), func(files []Smudged) error {
		left = files
		return nil
	})
	if err != nil || !slices.Equal(left, []Smudged{{keyOf(t, 1), "later file"}}) {
		t.Errorf("noted meanwhile: %v, %v", left, err)
	}
	if err := r.Smudged(t.Context(), func(files []Smudged) error { return fmt.Errorf("called with %v", files) }); err != nil {
		t.Error(err)
	}
	run(t, dir, "git", "checkout", "-q", "main")
	t.Setenv("PATH", os.Getenv("PATH")+":"+full)
	run(t, dir, "git-annex", "smudge", "--update")
	if got := read(t, r, "big"); got != "new "+old {
		t.Errorf("file populated by git-annex is %.100q", got)
	}
	fsck(t, dir)
}

// Where nothing says what is large, what is annexed stays annexed and the rest goes into git, as with git-annex's own filter.
func TestFilterWithoutRule(t *testing.T) {
	r := newFiltered(t)
	dir := r.git.Dir()
	if err := r.SetSetting(t.Context(), "annex.largefiles", ""); err != nil {
		t.Fatal(err)
	}
	content := strings.Repeat("x", 200_000)
	write(t, r, "annexed", content, 0o644)
	addFile(t, r, "annexed", AddOptions{})
	write(t, r, "annexed", "now it is small", 0o644)
	write(t, r, "plain", content, 0o644)
	run(t, dir, "git", "add", "-A")
	if _, ok := ParsePointer([]byte(run(t, dir, "git", "cat-file", "blob", ":annexed"))); !ok {
		t.Error("an annexed file went into git")
	}
	if got := run(t, dir, "git", "cat-file", "blob", ":plain"); got != content {
		t.Errorf("a plain file is %.100q in git", got)
	}
	write(t, r, ".gitattributes", "*.dat annex.largefiles=anything\n", 0o644)
	write(t, r, "a.dat", "tiny", 0o644)
	run(t, dir, "git", "add", "-A")
	if _, ok := ParsePointer([]byte(run(t, dir, "git", "cat-file", "blob", ":a.dat"))); !ok {
		t.Error("annex.largefiles in .gitattributes does not count")
	}
	run(t, dir, "git", "commit", "-qm", "one")
	write(t, r, ".gitattributes", "* annex.largefiles=anything\n", 0o644)
	write(t, r, "plain", content, 0o644)
	if out := run(t, dir, "git", "status", "--porcelain"); out != " M .gitattributes\n" {
		t.Errorf("git status after a change of annex.largefiles:\n%s", out)
	}
	write(t, r, "plain", content+"more", 0o644)
	run(t, dir, "git", "add", "plain")
	if _, ok := ParsePointer([]byte(run(t, dir, "git", "cat-file", "blob", ":plain"))); !ok {
		t.Error("a changed file that is large now went into git")
	}
}

func TestLarge(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	check := func(path string, size int64, want bool) {
		t.Helper()
		if got, err := r.Large(t.Context(), path, size); err != nil || got != want {
			t.Errorf("Large(%q, %d) = %v, %v", path, size, got, err)
		}
	}
	check("a", 100_000, false)
	check("a", 100_001, true)
	check(".a", 100_001, false)
	check("d/.b/a", 100_001, false)
	write(t, r, ".gitattributes", "*.mp3 annex.largefiles=anything\n", 0o644)
	check("a.mp3", 1, true)
	write(t, r, "sub/.gitattributes", "*.mp3 annex.largefiles=nothing\n*.bin annex.largefiles=mimeencoding=binary\n*.txt annex.largefiles=mimetype=text/*\n", 0o644)
	check("sub/a.mp3", 1, false)
	check("sub/b/a.mp3", 1, false)
	write(t, r, "sub/text.bin", "text", 0o644)
	write(t, r, "sub/zero.bin", "\x00", 0o644)
	check("sub/text.bin", 4, false)
	check("sub/zero.bin", 1, true)
	write(t, r, "sub/a.txt", "text\n", 0o644)
	check("sub/a.txt", 5, true)
	write(t, r, "other.txt", "", 0o644)
	write(t, r, ".gitattributes", "*.txt annex.largefiles=mime=text/*\n", 0o644)
	var refused *Refused
	if _, err := r.Large(t.Context(), "other.txt", 1); !errors.As(err, &refused) {
		t.Errorf("Large by what is not understood: %v", err)
	}
	run(t, r.git.Dir(), "git", "config", "annex.largefiles", "smallerthan=10")
	if err := r.git.ReloadConfig(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("sub/a.txt", 1, true)
	if unlocked, err := r.AddUnlocked(t.Context(), "a", 1); err != nil || !unlocked {
		t.Errorf("AddUnlocked = %v, %v", unlocked, err)
	}
	if err := r.SetSetting(t.Context(), "annex.addunlocked", "include=*.txt"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"a": false, "a.txt": true} {
		if unlocked, err := r.AddUnlocked(t.Context(), path, 1); err != nil || unlocked != want {
			t.Errorf("AddUnlocked(%q) = %v, %v", path, unlocked, err)
		}
	}
	if err := r.SetSetting(t.Context(), "annex.dotfiles", "true"); err != nil {
		t.Fatal(err)
	}
	check(".a", 5, true)
}

// pkt makes packets of lines, with a flush packet at the end.
func pkt(lines ...string) string {
	var b bytes.Buffer
	w := &pktWriter{bufio.NewWriter(&b)}
	_ = w.lines(lines...) // a buffer takes all
	return b.String()
}

func TestPktLine(t *testing.T) {
	var b bytes.Buffer
	w := &pktWriter{bufio.NewWriter(&b)}
	long := strings.Repeat("x", 2*maxPktData+5)
	if _, err := io.WriteString(w, long); err != nil {
		t.Fatal(err)
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	p := &pktReader{in: bufio.NewReader(&b)}
	if got, err := io.ReadAll(p.content()); err != nil || string(got) != long {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if _, err := p.list(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	for _, bad := range []string{"0", "0001", "zzzz", "ffff", "0006x", "0005x", "0008abc\n"} {
		p := &pktReader{in: bufio.NewReader(strings.NewReader(bad))}
		if lines, err := p.list(); err == nil || errors.Is(err, io.EOF) && bad != "" {
			t.Errorf("list of %q: %q, %v", bad, lines, err)
		}
	}
}

func FuzzFilterProtocol(f *testing.F) {
	f.Add([]byte(pkt("git-filter-client", "version=2") + pkt("capability=clean", "capability=smudge", "capability=delay") +
		pkt("command=clean", "pathname=a") + pkt("content") + pkt("command=smudge", "pathname=a") + pkt("/annex/objects/SHA256E-s1--x")))
	f.Add([]byte(pkt("git-filter-client", "version=1")))
	f.Fuzz(func(t *testing.T, stream []byte) {
		p := &pktReader{in: bufio.NewReader(bytes.NewReader(stream))}
		for {
			lines, err := p.list()
			if err != nil {
				return
			}
			if len(lines) > 0 {
				if _, err := io.Copy(io.Discard, p.content()); err != nil {
					return
				}
			}
		}
	})
}
