package wanted

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func verdict(t *testing.T, ask func() (bool, error)) bool {
	t.Helper()
	ok, err := ask()
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestWants(t *testing.T) {
	logs := Logs{
		Preferred: map[string]string{
			"empty": " ", "unread": "bogus", "client": "standard", "store": "standard", "source": "standard", "two": "standard", "flaps": "not (not (not present))",
			"required": "nothing", "own": "groupwanted", "full": "balanced=full", "a": "balanced=full", "only": "onlyingroup=g", "web": "url=http:*.org/*",
		},
		Required:    map[string]string{"required": "include=keep/*", "just": "include=keep/*", "own": "groupwanted", "flaps": ""},
		Groups:      map[string][]string{"full": {"full"}, "client": {"client"}, "store": {"archive"}, "source": {"source", "other"}, "two": {"client", "backup"}, "own": {"own"}, "a": {"g", "full"}, "b": {"g"}},
		GroupWanted: map[string]string{"own": "include=*.x", "other": ""},
		MaxSize:     map[string]int64{"a": 10},
	}
	s := New(logs)
	for _, c := range []struct {
		uuid, path, locations string
		wants, drops          bool
	}{
		{"nobody", "f", "", true, false},
		{"empty", "f", "empty", true, false},
		{"unread", "f", "", false, true},
		{"unread", "f", "unread", true, false}, // keeps what it has
		{"client", "f", "client a", true, false},
		{"client", "archive/f", "client a", true, false}, // not archived yet
		{"client", "archive/f", "client store", false, true},
		{"store", "f", "client", true, false},
		{"store", "f", "store", false, false}, // is there, and would be wanted were it dropped
		{"source", "f", "source", false, false},
		{"source", "f", "source a", false, true},
		{"source", "f", "", true, false}, // asked before it is anywhere
		{"two", "f", "two", true, false}, // in two standard groups: what is there
		{"two", "f", "a", false, true},
		{"flaps", "f", "", false, true},
		{"flaps", "f", "flaps", false, true},
		{"required", "keep/f", "", true, false},
		{"required", "f", "", false, true},
		{"just", "keep/f", "", true, false},
		{"just", "f", "", false, true},
		{"own", "f.x", "", true, false},
		{"own", "f", "", false, true},
		{"a", "f", "a", true, false}, // keeps it, full or not
		{"a", "f", "", false, true},
		{"full", "f", "", true, false}, // whatever the key, for a has no room
		{"full", "f", "a", false, true},
		{"only", "f", "a", true, false},
		{"only", "f", "a only", false, false}, // were it dropped, a alone would have it
		{"only", "f", "client", false, true},
		{"web", "f", "", true, false},
	} {
		f := &File{Path: c.path, Size: 3, Key: "SHA256E-s3--x", Locations: strings.Fields(c.locations)}
		f.Used = func() (map[string]Use, error) { return map[string]Use{"a": {8, 8}}, nil }
		f.URLs = func() ([]string, error) { return []string{"ftp://example.org/", "http://example.org/x"}, nil }
		wants := verdict(t, func() (bool, error) { return s.Wants(c.uuid, f) })
		drops := verdict(t, func() (bool, error) { return s.WantsDrop(c.uuid, f) })
		if wants != c.wants || drops != c.drops {
			t.Errorf("%s, %s in %q: wants %v, drops %v", c.uuid, c.path, c.locations, wants, drops)
		}
		explained, reasons, err := s.Explain(c.uuid, f, true)
		if explained == drops || len(reasons) == 0 || err != nil {
			t.Errorf("%s, %s in %q: drops %v, explained %v by %v, %v", c.uuid, c.path, c.locations, drops, !explained, reasons, err)
		}
	}
	for _, uuid := range []string{"unread", "flaps"} {
		if s.Problem(uuid) == nil || errors.Is(s.Problem(uuid), ErrUnstable) != (uuid == "flaps") {
			t.Errorf("problem of %s: %v", uuid, s.Problem(uuid))
		}
	}
}

// A key under several paths is wanted when it is under one.
func TestOtherPaths(t *testing.T) {
	s := New(Logs{Preferred: map[string]string{"A": "include=keep/*"}, Required: map[string]string{"B": "include=keep/*"}})
	f := &File{Path: "f", Key: "SHA256E-s3--x", Size: 3}
	for _, c := range []struct {
		others []string
		kept   bool
	}{{nil, false}, {[]string{"g"}, false}, {[]string{"g", "keep/f"}, true}} {
		drops := verdict(t, func() (bool, error) { return s.WantsDrop("A", f, c.others...) })
		requires := verdict(t, func() (bool, error) { return s.Requires("B", f, c.others...) })
		if drops == c.kept || requires != c.kept {
			t.Errorf("with %q: drops %v, requires %v", c.others, drops, requires)
		}
	}
	if verdict(t, func() (bool, error) { return s.Requires("A", f) }) || f.Path != "f" {
		t.Error("what is not set is required, or the file was changed")
	}
}

// A key that no file has.
func TestNoPath(t *testing.T) {
	for expr, want := range map[string]bool{"include=*": false, "exclude=x": true, "unused": true, "inpreferreddir": false, "lackingcopies=1": true} {
		s := New(Logs{Preferred: map[string]string{"A": expr}})
		f := &File{Key: "SHA256E-s3--x", Size: 3, Unused: func() (bool, error) { return true, nil }}
		if got := verdict(t, func() (bool, error) { return s.Wants("A", f) }); got != want {
			t.Errorf("%q: %v", expr, got)
		}
	}
}

func TestExplain(t *testing.T) {
	s := New(Logs{
		Preferred: map[string]string{"A": "standard", "B": "include=x/* and copies=g:2 or lackingcopies=2 and largerthan=1kb", "C": "bogus"},
		Groups:    map[string][]string{"A": {"client"}, "D": {"archive", "g"}},
		NumCopies: 2,
	})
	f := &File{Path: "archive/f", Size: 30, Key: "SHA256E-s30--x", Locations: []string{"D", "E"}}
	for uuid, want := range map[string]string{
		"A": "exclude=archive/* false, copies=archive:1 true 1 copy known in archive, 1 needed, approxlackingcopies=1 false 2 copies counted, numcopies is 2",
		"B": "include=x/* false, lackingcopies=2 false 2 copies counted, numcopies is 2",
		"C": `present false,  false "bogus" is not understood`,
		"F": " true nothing is set, so everything is wanted",
	} {
		_, reasons, err := s.Explain(uuid, f, false)
		var lines []string
		for _, r := range reasons {
			lines = append(lines, strings.TrimRight(fmt.Sprintf("%s %v %s", r.Term, r.Match, r.Why), " "))
		}
		if got := strings.Join(lines, ", "); got != want || err != nil {
			t.Errorf("%s: %s, %v", uuid, got, err)
		}
	}
}

func TestCheck(t *testing.T) {
	for expr, good := range map[string]bool{
		"": true, "standard": true, "not (copies=1": true, "balanced=g:2": true, "metadata=tag=x y": false, "fullysizebalanced=g:2": true, "balanced=g:lackingcopies=a-b": true, "balanced=g:lackingcopies:1": false,
		"sizebalanced=g:some": false, "not sizebalanced=g": false, "copies=a+b-c=2": true, "copies=a=b=2": false,
		"not present": false, "anything or not (present and copies=1)": false, "not not present": true, "mimetype=x": false, "include=[a": false, "not balanced=g": false,
		"not fullybalanced=g": true,
	} {
		if err := Check(expr); (err == nil) != good {
			t.Errorf("%q: %v", expr, err)
		}
	}
}

// What Depends does not name may change, and the verdict stays.
func TestDepends(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := preferredText.Draw(t, "text")
		logs := Logs{Preferred: map[string]string{"A": text}, Groups: map[string][]string{"A": {"client", "g"}, "B": {"g", "h"}, "C": {"h"}}}
		if rapid.Bool().Draw(t, "limited") {
			logs.MaxSize = map[string]int64{"A": 10, "B": 70}
		}
		s := New(logs)
		needs := s.Depends("A")
		file := func(name string, depends Facts) *File {
			f := &File{Key: "SHA256E-s3--x", Size: 3}
			changed := func(fact Facts) bool { return depends&fact == 0 && rapid.Bool().Draw(t, name) }
			if changed(Path) {
				f.Path = rapid.SampledFrom([]string{"", "ab", "archive/b"}).Draw(t, "path")
			}
			if changed(Locations) {
				f.Locations = rapid.SliceOfDistinct(rapid.SampledFrom([]string{"A", "B", "C"}), rapid.ID).Draw(t, "locations")
			}
			tag := "1"
			if changed(Metadata) {
				tag = "5"
			}
			f.Metadata = func() (map[string][]string, error) { return map[string][]string{"tag": {tag}}, nil }
			numCopies, urls, unused := 0, changed(URLs), changed(Unused)
			if changed(NumCopies) {
				numCopies = 3
			}
			f.NumCopies = func(string) (int, error) { return numCopies, nil }
			f.URLs = func() ([]string, error) { return slices.Repeat([]string{"http:"}, map[bool]int{true: 1}[urls]), nil }
			f.Unused = func() (bool, error) { return unused, nil }
			used := map[string]Use{}
			if changed(Sizes) {
				used["B"] = Use{70, 60}
			}
			f.Used = func() (map[string]Use, error) { return used, nil }
			return f
		}
		a, b := file("a", needs), file("b", needs)
		wantsA, errA := s.Wants("A", a)
		wantsB, errB := s.Wants("A", b)
		if wantsA != wantsB || errA != nil || errB != nil {
			t.Fatalf("%q depends on %b, but says %v of %+v and %v of %+v", text, needs, wantsA, a, wantsB, b)
		}
		if !s.Same("A", New(logs)) {
			t.Fatalf("%q is not the same as itself", text)
		}
	})
}

func TestSame(t *testing.T) {
	logs := func(change func(*Logs)) *Settings {
		l := Logs{
			Preferred: map[string]string{"A": "standard", "B": "include=*.x", "C": "inpreferreddir", "D": "sizebalanced=archive"}, Groups: map[string][]string{"A": {"client"}, "D": {"archive"}},
			Trust: map[string]Trust{"D": Untrusted}, PreferredDir: map[string]string{"C": "x"}, NumCopies: 1,
		}
		change(&l)
		return New(l)
	}
	base := logs(func(*Logs) {})
	for name, c := range map[string]struct {
		change  func(*Logs)
		differs []string
	}{
		"nothing":      {func(*Logs) {}, nil},
		"spelling":     {func(l *Logs) { l.Preferred["B"] = "( include=*.x )" }, nil},
		"preferred":    {func(l *Logs) { l.Preferred["B"] = "include=*.y" }, []string{"B"}},
		"required":     {func(l *Logs) { l.Required = map[string]string{"B": "anything"} }, []string{"B"}},
		"groups":       {func(l *Logs) { l.Groups["D"] = nil }, []string{"A", "D"}},
		"own group":    {func(l *Logs) { l.Groups["A"] = []string{"backup"} }, []string{"A", "D"}},
		"trust":        {func(l *Logs) { l.Trust["D"] = Dead }, []string{"A", "D"}},
		"numcopies":    {func(l *Logs) { l.NumCopies = 2 }, []string{"A", "D"}},
		"maxsize":      {func(l *Logs) { l.MaxSize = map[string]int64{"E": 1} }, []string{"D"}},
		"preferreddir": {func(l *Logs) { l.PreferredDir["C"] = "y" }, []string{"C"}},
	} {
		other := logs(c.change)
		for _, uuid := range []string{"A", "B", "C", "D"} {
			if same := base.Same(uuid, other); same == slices.Contains(c.differs, uuid) {
				t.Errorf("after a change of %s, %s is the same: %v", name, uuid, same)
			}
		}
	}
}

// Errors of the facts are not verdicts.
func TestFactFails(t *testing.T) {
	broken := errors.New("broken")
	s := New(Logs{Preferred: map[string]string{"A": "not metadata=x=y", "B": "lackingcopies=1 or anything", "C": "not url=*", "D": "unused", "E": "sizebalanced=g"}, Groups: map[string][]string{"E": {"g"}}})
	f := &File{
		Metadata:  func() (map[string][]string, error) { return nil, broken },
		NumCopies: func(string) (int, error) { return 0, broken },
		URLs:      func() ([]string, error) { return nil, broken },
		Unused:    func() (bool, error) { return false, broken },
		Used:      func() (map[string]Use, error) { return nil, broken },
	}
	for _, uuid := range []string{"A", "B", "C", "D", "E"} {
		f.Path = map[bool]string{true: "f"}[uuid == "B"]
		wants, err := s.Wants(uuid, f)
		drops, errDrop := s.WantsDrop(uuid, f)
		if _, _, errWhy := s.Explain(uuid, f, false); wants || drops || !errors.Is(err, broken) || !errors.Is(errDrop, broken) || !errors.Is(errWhy, broken) {
			t.Errorf("%s: wants %v, %v, drops %v, %v", uuid, wants, err, drops, errDrop)
		}
	}
}

// BenchmarkClient asks about 100,000 files what a repository of the standard group client wants.
func BenchmarkClient(b *testing.B) {
	s := New(Logs{Preferred: map[string]string{"A": "standard"}, Groups: map[string][]string{"A": {"client"}, "B": {"client"}, "C": {"archive"}}})
	files := make([]File, 100_000)
	for i := range files {
		dir := []string{"photos/2026/11", "archive/old", "music", "work/archive/x"}[i%4]
		files[i] = File{Path: fmt.Sprintf("%s/file %d.dat", dir, i), Size: int64(i), Key: fmt.Sprintf("SHA256E-s%d--%064x.dat", i, i), Locations: []string{"A", "B", "C"}[:1+i%3]}
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range files {
			if _, err := s.Wants("A", &files[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(files)), "ns/file")
}
