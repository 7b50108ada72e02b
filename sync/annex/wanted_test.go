package annex

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/wanted"
)

// putLogs writes logs into the git-annex branch as they are.
func putLogs(t testing.TB, r *Repo, logs map[string]string) {
	t.Helper()
	_, err := r.commit(t.Context(), func(e *edit) error {
		for path, content := range logs {
			e.write(path, []byte(content))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wantedWords are what generated expressions are made of: what git-annex 10.20230126 knows, and some that it does not.
var wantedWords = []string{
	"include=*", "include=*.mp3", "include=archive/*", "include=*/archive/*", "include=a//b*", "include=*[a-c]*", "include=*.MP3", "include=?*ü*",
	"exclude=archive/*", "exclude=*/archive/*", "exclude=*.txt", "include", "exclude=", "include=*[[:digit:]]*", "exclude=*[!a-z]", "include=music/*/*.mp3",
	"copies=1", "copies=2", "copies=3", "copies=0", "copies=-1", "copies=2x", "copies=g1:1", "copies=g2:2", "copies=client:2", "copies=archive:1", "copies=nobody:1",
	"copies=trusted:1", "copies=trusted+:1", "copies=semitrusted:2", "copies=semitrusted+:2", "copies=untrusted:1", "copies=untrusted+:3", "copies=dead:1", "copies=dead+:2",
	"lackingcopies=1", "lackingcopies=2", "lackingcopies=0", "lackingcopies=-1", "approxlackingcopies=1", "approxlackingcopies=2",
	"inallgroup=g1", "inallgroup=nobody", "inallgroup=g3", "present", "present", "inbackend=SHA256E", "inbackend=WORM", "inbackend=SHA256", "securehash",
	"anything", "nothing", "unused", "largerthan=1kb", "largerthan=100kb", "smallerthan=1.5kib", "smallerthan=1MB", "largerthan=0", "smallerthan=1e3",
	"metadata=tag=done", "metadata=tag=D*", "metadata=Tag=*", "metadata=author=*smith", "metadata=pages>=100", "metadata=pages<100", "metadata=pages>9.5",
	"metadata=pages<=-1", "metadata=tag", "metadata=tag-lastchanged=1970*", "metadata=lastchanged=*@00-00-0[1-3]", "metadata=author=a*", "metadata=gone=*",
	"metadata=pages<100pp", "metadata=author<=Anna", "metadata=author>b", "metadata=pages>=1e2",
	"standard", "standard", "groupwanted", "groupwanted", "inpreferreddir",
}

// notWords are what git-annex does not understand.
var notWords = []string{"bogus", "copies=1.5", "copies=a:b:1", "copies=", "anything=1", "metadata=_x=1", "largerthan=big", "present=1", "in=here", "copies=1e2"}

// randomExpression gives words in any order: most are what people write, many are not. Some of the words are of one kind.
func randomExpression(random *rand.Rand, kind ...string) string {
	var words []string
	for range 1 + random.IntN(7) {
		if len(words) > 0 {
			words = append(words, []string{"and", "or", "and", "or", "", "and not", ") or", "or ("}[random.IntN(8)])
		}
		words = append(words, []string{"", "", "", "not", "(", "not (", "( ("}[random.IntN(7)])
		if random.IntN(60) == 0 {
			words = append(words, notWords[random.IntN(len(notWords))])
		} else if len(kind) > 0 && random.IntN(2) == 0 {
			words = append(words, kind[random.IntN(len(kind))])
		} else {
			words = append(words, wantedWords[random.IntN(len(wantedWords))])
		}
		words = append(words, []string{"", "", ")", "))", "or", "and"}[random.IntN(20)%6])
	}
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}

// wantedWorld is a repository with many files in many places, as git-annex and as package wanted see it.
type wantedWorld struct {
	repo     *Repo
	logs     map[string]string // of the branch
	uuids    []string
	files    []wanted.File
	settings wanted.Logs // what WantedLogs leaves to the caller
}

const (
	worldRepositories = 45
	worldFiles        = 60
)

func newWantedWorld(t *testing.T, random *rand.Rand) *wantedWorld {
	t.Helper()
	w := &wantedWorld{repo: newAnnex(t), logs: make(map[string]string)}
	w.settings = wanted.Logs{Trust: make(map[string]wanted.Trust), NumCopies: 2}
	w.logs["numcopies.log"] = "1s 2\n"
	for i := range worldRepositories {
		uuid := fmt.Sprintf("%08x-0000-4000-8000-000000000000", i*7919)
		w.uuids = append(w.uuids, uuid)
		w.logs[uuidLog] += fmt.Sprintf("%s repository %d timestamp=1s\n", uuid, i)
		groups := []string{"", "client", "transfer", "backup", "incrementalbackup", "smallarchive", "archive", "source", "manual", "public", "unwanted", "g1", "g2", "g1 g2", "client archive", "g3 client", "g1 client"}
		w.logs[groupLog] += fmt.Sprintf("%s %s timestamp=1s\n", uuid, groups[i%len(groups)])
		if trust := []string{"1", "0", "X", "?"}[random.IntN(4)]; random.IntN(2) == 0 {
			w.logs["trust.log"] += fmt.Sprintf("%s %s timestamp=1s\n", uuid, trust)
			w.settings.Trust[uuid] = map[string]wanted.Trust{"1": wanted.Trusted, "0": wanted.Untrusted, "X": wanted.Dead, "?": wanted.Semitrusted}[trust]
		}
		if i%5 == 0 {
			w.logs["remote.log"] += fmt.Sprintf("%s name=d%d preferreddir=music type=directory timestamp=1s\n", uuid, i)
		}
	}
	w.logs[groupPreferredLog] = "1s g1 include=*.mp3 or standard\n2s g2 anything\n1s g2 nothing\n2s g2 copies=1 and (include=a* groupwanted)\n1s g3 bogus\n"
	backends := []string{"SHA256E-s%d--", "SHA256-s%d--", "SHA512E-s%d--", "MD5E-s%d--", "SHA1-s%d--", "WORM-s%d-m1--", "BLAKE2B256E-s%d--", "SKEIN256-s%d--", "SHA3_256E-s%d--"}
	names := []string{"%d.mp3", "archive/%d.txt", "a/archive/%d.mp3", "public/%d", "a/public/%d.txt", "public/a/%d", "music/x/%d.mp3", "a/b%d", "with space %d.txt", "ü%d.MP3", "music/%d"}
	metadata := []string{
		"1s tag +done author +!Sm9obiBTbWl0aA==\n", "1s tag +Draft pages +99\n2s tag -Draft\n3s Tag +DONE\n", "2s pages +100.5 -99\n", "1s gone +x\n2s gone -x\n",
		"2s tag +a\n2s tag -a\n", "1s pages +-3 author +Anna +!!x\n", "odd\n1s tag +!broken\n", "1s pages +100pp author +bob\n", "1s pages +.5 +1e3\n",
	}
	for i := range worldFiles {
		f := wanted.File{Path: fmt.Sprintf(names[i%len(names)], i), Size: []int64{0, 10, 1000, 1001, 1536, 99_999, 100_001, 5_000_000}[random.IntN(8)]}
		text := fmt.Sprintf(backends[random.IntN(len(backends))]+"%064x", f.Size, i)
		if i%10 == 9 {
			f.Size, text = -1, fmt.Sprintf("URL--http&c%%%%example.org%%%d", i)
		}
		k := mustKey(t, text)
		f.Key = k.String()
		for n := range len(w.uuids) {
			if random.IntN(20) < i%6 {
				f.Locations = append(f.Locations, w.uuids[n])
				w.logs[k.logPath()] += "1s 1 " + w.uuids[n] + "\n"
			}
		}
		if i%2 == 0 {
			w.logs[k.logPath()+".met"] = metadata[random.IntN(len(metadata))]
		}
		f.Metadata = func() (map[string][]string, error) { return w.repo.Metadata(context.Background(), k) }
		f.Used = func() (map[string]wanted.Use, error) { return w.repo.use(context.Background()) }
		f.NumCopies = func(path string) (int, error) {
			if strings.HasSuffix(path, ".mp3") {
				return 3, nil
			}
			return 0, nil
		}
		w.files = append(w.files, f)
		link := w.repo.workPath(f.Path)
		if err := os.MkdirAll(filepath.Dir(link), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(LinkTarget(f.Path, k), link); err != nil {
			t.Fatal(err)
		}
	}
	write(t, w.repo, ".gitattributes", "*.mp3 annex.numcopies=3\n", 0o644)
	run(t, w.repo.git.Dir(), "git", "add", ".")
	run(t, w.repo.git.Dir(), "git", "commit", "-qm", "files")
	return w
}

// read gives the settings that the branch has.
func (w *wantedWorld) read(t *testing.T) *wanted.Settings {
	t.Helper()
	putLogs(t, w.repo, w.logs)
	logs, err := w.repo.WantedLogs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	logs.Trust, logs.NumCopies = w.settings.Trust, w.settings.NumCopies
	return wanted.New(logs)
}

// compare has a git-annex find what a repository wants to get or to drop, which must be what the settings say, and counts it.
func (w *wantedWorld) compare(t *testing.T, settings *wanted.Settings, program, option, uuid, expression string) (yes int) {
	t.Helper()
	theirs := make(map[string]bool)
	for path := range strings.SplitSeq(run(t, w.repo.git.Dir(), program, "find", "--print0", option+uuid), "\x00") {
		theirs[path] = true
	}
	for i := range w.files {
		f := &w.files[i]
		verdict := settings.Wants
		if option == "--want-drop-by=" {
			verdict = func(uuid string, f *wanted.File) (bool, error) { return settings.WantsDrop(uuid, f) }
		}
		ours, err := verdict(uuid, f)
		if err != nil {
			t.Fatal(err)
		}
		if ours != theirs[f.Path] {
			_, reasons, _ := settings.Explain(uuid, f, option == "--want-drop-by=")
			t.Errorf("%s%s %q: %s: %v, git-annex: %v %v (problem %v)", option, uuid, expression, f.Path, ours, theirs[f.Path], reasons, settings.Problem(uuid))
		}
		if ours {
			yes++
		}
	}
	return yes
}

// Every verdict of generated expressions, over files in many places, is git-annex's own.
func TestVerdictsByGitAnnex(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(2026, 11))
	w := newWantedWorld(t, random)
	purposeful := []string{
		"standard", "groupwanted", "(nothing (nothing or anything))", "anything or anything and nothing", "not present or", "((include=*.mp3) or copies=2",
		"bogus or anything", "not copies=2", "not (inallgroup=g1)", "present and not copies=g1:1", "include=*.mp3 smallerthan=1MB", "(present (present or copies=1))",
	}
	expressions := make(map[string]string)
	for i, uuid := range w.uuids {
		expr := randomExpression(random)
		switch {
		case i < 17: // every group once
			expr = "standard"
		case i < 17+len(purposeful):
			expr = purposeful[i-17]
		}
		expressions[uuid] = expr
		w.logs[preferredLog] += fmt.Sprintf("%s %s timestamp=2s\n%s nothing timestamp=1s\n", uuid, expr, uuid)
		if i%7 == 6 {
			required := randomExpression(random)
			expressions[uuid] += " required: " + required
			w.logs[requiredLog] += fmt.Sprintf("%s %s timestamp=2s\n", uuid, required)
		}
	}
	verdicts, wants := 0, 0
	for round := range 2 {
		settings := w.read(t)
		for at, uuid := range w.uuids {
			if errors.Is(settings.Problem(uuid), wanted.ErrUnstable) || !settings.Configured(uuid) {
				continue // git-annex 10.20230126 turns round and round, and of what is not configured it says neither
			}
			options := []string{"--want-get-by=", "--want-drop-by="}
			if round > 0 {
				options = options[at%2:][:1]
			}
			for _, option := range options {
				yes := w.compare(t, settings, "git-annex", option, uuid, expressions[uuid])
				verdicts, wants = verdicts+len(w.files), wants+yes
			}
		}
		// Once more with other expressions.
		w.logs[preferredLog], w.logs[requiredLog] = "", ""
		for _, uuid := range w.uuids {
			expressions[uuid] = randomExpression(random)
			w.logs[preferredLog] += fmt.Sprintf("%s %s timestamp=2s\n", uuid, expressions[uuid])
		}
	}
	t.Logf("%d verdicts, %d of them yes", verdicts, wants)
	if verdicts < 6000 || wants < verdicts/5 || wants > verdicts*4/5 {
		t.Errorf("%d verdicts with %d yes are not a test", verdicts, wants)
	}
}

// What we set is what git-annex reads, and it refuses what we refuse.
func TestSetPreferredByGitAnnex(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	words := slices.Clone(notWords)
	for i := 0; i < len(wantedWords); i += 4 {
		words = append(words, wantedWords[i])
	}
	for _, expr := range words {
		_, theirs := try(t, r.git.Dir(), "git-annex", "wanted", ".", expr)
		ours := r.SetPreferred(t.Context(), r.UUID(), expr)
		if (ours == nil) != (theirs == nil) {
			t.Errorf("%q: %v, git-annex: %v", expr, ours, theirs)
		}
		if refused := new(Refused); ours != nil && !errors.As(ours, &refused) {
			t.Errorf("%q: %v is not a refusal", expr, ours)
		}
	}
	if err := r.SetPreferred(t.Context(), r.UUID(), "standard or include=*.mp3"); err != nil {
		t.Fatal(err)
	}
	if err := r.SetGroups(t.Context(), r.UUID(), []string{"g2", "client", "g2"}); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(run(t, r.git.Dir(), "git-annex", "wanted", ".")); got != "standard or include=*.mp3" {
		t.Errorf("git annex wanted: %q", got)
	}
	if got := strings.TrimSpace(run(t, r.git.Dir(), "git-annex", "group", ".")); got != "client g2" {
		t.Errorf("git annex group: %q", got)
	}
	run(t, r.git.Dir(), "git-annex", "group", ".", "backup")
	run(t, r.git.Dir(), "git-annex", "wanted", ".", "")
	run(t, r.git.Dir(), "git-annex", "required", ".", "anything")
	run(t, r.git.Dir(), "git-annex", "groupwanted", "g2", "copies=3")
	logs, err := r.WantedLogs(t.Context())
	if err != nil || logs.Preferred[r.UUID()] != "" || logs.Required[r.UUID()] != "anything" || logs.GroupWanted["g2"] != "copies=3" ||
		!slices.Equal(slices.Sorted(slices.Values(logs.Groups[r.UUID()])), []string{"backup", "client", "g2"}) {
		t.Errorf("after git-annex: %+v, %v", logs, err)
	}
	head, err := r.BranchHead()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SetGroups(t.Context(), r.UUID(), []string{"g2", "client", "backup"}); err != nil {
		t.Fatal(err)
	}
	if now, _ := r.BranchHead(); now != head {
		t.Error("setting what is set already makes a commit")
	}
	for _, name := range []string{"", "a b", " a", "a\n"} {
		if err := r.SetGroups(t.Context(), r.UUID(), []string{name}); err == nil {
			t.Errorf("group %q is taken", name)
		}
	}
	if err := r.SetGroups(t.Context(), r.UUID(), nil); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(run(t, r.git.Dir(), "git-annex", "group", ".")); got != "" {
		t.Errorf("git annex group: %q", got)
	}
}

func TestMetadataByGitAnnex(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	write(t, r, "f", "content", 0o644)
	k := addFile(t, r, "f", AddOptions{}).Key
	run(t, r.git.Dir(), "git-annex", "metadata", "f", "-s", "tag+=a b", "-s", "Author=Ü", "-t", "plain")
	run(t, r.git.Dir(), "git-annex", "metadata", "f", "-u", "plain", "-s", "pages=3")
	ours, err := r.Metadata(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	theirs := gitAnnex(t, r.git.Dir(), "metadata", "f")[0]["fields"].(map[string]any)
	got, want := make(map[string]string), make(map[string]string)
	for field, values := range ours {
		got[field] = fmt.Sprint(values)
	}
	for field, values := range theirs {
		want[strings.ToLower(field)] = fmt.Sprint(values)
	}
	if !maps.Equal(got, want) {
		t.Errorf("metadata %v, by git-annex %v", got, want)
	}
	run(t, r.git.Dir(), "git-annex", "registerurl", k.String(), "http://example.org/a b")
	run(t, r.git.Dir(), "git-annex", "registerurl", k.String(), "http://example.org/gone")
	run(t, r.git.Dir(), "git-annex", "unregisterurl", k.String(), "http://example.org/gone")
	if urls, err := r.URLs(t.Context(), k); err != nil || !slices.Equal(urls, []string{"http://example.org/a b"}) {
		t.Errorf("URLs %q, %v", urls, err)
	}
}

func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte("1795332995.709817618s author +joe tag +foo title +!YSBi\n1795332995.764738713s tag -foo\nodd\n+x\n1s +x -y\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		for field, values := range parseMetadata(content) {
			if field == "" || len(values) == 0 || !slices.IsSorted(values) || field != strings.ToLower(field) {
				t.Errorf("field %q has %q", field, values)
			}
		}
	})
}
