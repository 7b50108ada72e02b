package wanted

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// The picks are those of git-annex's own test (prop_balanced_stable in Annex/Balanced.hs).
func TestPick(t *testing.T) {
	var members []string
	for i := 1; i <= 500; i++ {
		members = append(members, strconv.Itoa(i))
	}
	slices.Sort(members)
	if got := pick(members, members, "WORM--test", 3); !slices.Equal(got, []string{"332", "333", "334"}) {
		t.Errorf("picked %q", got)
	}
	for _, candidates := range [][]string{nil, members} {
		if got := pick(members, candidates, "WORM--test", -3); len(got) != 0 {
			t.Errorf("picked %q where there are too many copies", got)
		}
	}
	if got := pick([]string{"A", "B"}, []string{"A", "B"}, "WORM--test", 5); len(got) != 2 {
		t.Errorf("picked %q of two", got)
	}
}

// Of all members of a group, as many as asked for take each file, and are content with that.
func TestBalanced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "n")
		logs := Logs{Preferred: make(map[string]string), Groups: make(map[string][]string)}
		members := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-f0-9]{8}`), 1, 6, rapid.ID).Draw(t, "members")
		for _, uuid := range members {
			logs.Preferred[uuid], logs.Groups[uuid] = fmt.Sprintf("balanced=g:%d", n), []string{"g"}
		}
		s := New(logs)
		f := &File{Path: "f", Key: "SHA256E-s3--" + rapid.StringMatching(`[a-f0-9]{4}`).Draw(t, "key"), Size: 3}
		for range 2 { // when all have what they want, nobody wants more
			for _, uuid := range members {
				if ok, _ := s.Wants(uuid, f); ok && !slices.Contains(f.Locations, uuid) {
					f.Locations = append(f.Locations, uuid)
				}
			}
			if len(f.Locations) != min(n, len(members)) {
				t.Fatalf("%q take it", f.Locations)
			}
		}
	})
}

// Files that come one after the other fill the members of a group evenly, by part of their maxsize, and none beyond it.
func TestSizeBalanced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 3).Draw(t, "n")
		fully := rapid.SampledFrom([]string{"", "fully"}).Draw(t, "fully")
		logs := Logs{Preferred: make(map[string]string), Groups: make(map[string][]string), MaxSize: make(map[string]int64)}
		members := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-f0-9]{8}`), 1, 5, rapid.ID).Draw(t, "members")
		for _, uuid := range members {
			logs.Preferred[uuid], logs.Groups[uuid] = fmt.Sprintf("%ssizebalanced=g:%d", fully, n), []string{"g"}
			logs.MaxSize[uuid] = rapid.Int64Range(1, 5000).Draw(t, "maxsize")
		}
		s := New(logs)
		used := make(map[string]Use)
		for i, size := range rapid.SliceOfN(rapid.Int64Range(1, 300), 0, 40).Draw(t, "sizes") {
			f := &File{Path: "f", Key: fmt.Sprint("WORM--", i), Size: size, Used: func() (map[string]Use, error) { return used, nil }}
			var takers []string
			for _, uuid := range members {
				if ok, err := s.Wants(uuid, f); ok && err == nil {
					takers = append(takers, uuid)
				}
			}
			room := func(uuid string) bool { return used[uuid].Now+size <= logs.MaxSize[uuid] }
			free := func(uuid string) float64 { return 1 - float64(used[uuid].Now)/float64(logs.MaxSize[uuid]) }
			fit := slices.DeleteFunc(slices.Clone(members), func(uuid string) bool { return !room(uuid) })
			if len(takers) != min(n, len(fit)) {
				t.Fatalf("%q take it of %q that have room", takers, fit)
			}
			for _, uuid := range takers {
				for _, other := range fit {
					if !room(uuid) || free(other) > free(uuid)+1e-9 && !slices.Contains(takers, other) {
						t.Fatalf("%s takes it with %v free, %s has %v", uuid, free(uuid), other, free(other))
					}
				}
			}
			for _, uuid := range takers {
				used[uuid] = Use{used[uuid].Now + size, used[uuid].Then + size}
			}
		}
	})
}

func TestExplainBalanced(t *testing.T) {
	s := New(Logs{
		Preferred: map[string]string{
			"A": "sizebalanced=g", "B": "sizebalanced=g", "C": "sizebalanced=g", "D": "fullysizebalanced=g:lackingcopies", "E": "fullybalanced=g:2", "F": "balanced=g",
		},
		Groups:  map[string][]string{"A": {"g"}, "B": {"g"}, "C": {"g"}, "F": {"g"}},
		MaxSize: map[string]int64{"A": 1000, "B": 100, "F": 20},
	})
	f := &File{Path: "f", Size: 30, Key: "WORM-s30--x", Locations: []string{"X"}}
	f.Used = func() (map[string]Use, error) { return map[string]Use{"A": {500, 500}, "B": {10, 10}}, nil }
	for uuid, want := range map[string]string{
		"A": "0 copies known in g, 1 needed; 50.0% of its maxsize is free, in 1 of the group more",
		"B": "0 copies known in g, 1 needed; 90.0% of its maxsize is free, in 0 of the group more",
		"C": "0 copies known in g, 1 needed; it has no maxsize",
		"D": "it is not in the group",
		"E": "it is not in the group",
		"F": "0 copies known in g, 1 needed; no room, 0 of its maxsize of 20 bytes are used",
	} {
		match, reasons, err := s.Explain(uuid, f, false)
		if err != nil || len(reasons) != 1 || reasons[0].Why != want || match != (uuid == "B") {
			t.Errorf("%s: %v, %+v, %v", uuid, match, reasons, err)
		}
	}
	f.Locations = []string{"A"}
	for uuid, want := range map[string]string{"A": "it is here", "B": "1 copy known in g, 1 needed"} {
		if _, reasons, err := s.Explain(uuid, f, false); err != nil || reasons[0].Why != want {
			t.Errorf("%s: %+v, %v", uuid, reasons, err)
		}
	}
}
