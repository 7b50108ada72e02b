package wanted

import (
	"reflect"
	"testing"
)

func TestSetting(t *testing.T) {
	s := New(Logs{
		Preferred: map[string]string{"A": "standard", "B": "groupwanted or include=*.x", "C": "standard and groupwanted", "D": "include=*.x", "E": "bogus", "G": ""},
		Required:  map[string]string{"D": "include=keep/*"},
		Groups:    map[string][]string{"A": {"backup", "home"}, "B": {"home"}, "C": {"backup", "archive"}},
		GroupWanted: map[string]string{
			"home": "include=home/*", "unset": "",
		},
	})
	for uuid, want := range map[string]Setting{
		"A": {Groups: []string{"backup", "home"}, Wanted: "standard", Means: "anything"},
		"B": {Groups: []string{"home"}, Wanted: "groupwanted or include=*.x", Means: "include=home/* or include=*.x"},
		"C": {
			Groups: []string{"backup", "archive"}, Wanted: "standard and groupwanted", Means: "present and present",
			Void: []string{"standard", "groupwanted"},
		},
		"D": {Wanted: "include=*.x", Required: "include=keep/*"},
		"F": {},
		"G": {},
	} {
		if got := s.Of(uuid); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", uuid, got, want)
		}
	}
	if got := s.Of("E"); got.Wanted != "bogus" || got.Problem == nil {
		t.Errorf("E: %+v", got)
	}
	for _, c := range []struct {
		uuid, group string
		groups      []string
		word        string
	}{
		{"A", "client", []string{"home", "client"}, "standard"},
		{"A", "backup", []string{"home", "backup"}, "standard"},
		{"C", "home", []string{"backup", "archive", "home"}, "groupwanted"},
		{"F", "home", []string{"home"}, "groupwanted"},
		{"F", "unset", nil, ""},
		{"F", "anything", nil, ""},
	} {
		groups, word, ok := s.Join(c.uuid, c.group)
		if !reflect.DeepEqual(groups, c.groups) || word != c.word || ok != (word != "") {
			t.Errorf("%s into %s: %q, %q, %v", c.uuid, c.group, groups, word, ok)
		}
	}
}

// What a repository is put into by Join is what its word then stands for.
func TestStandardGroups(t *testing.T) {
	for _, group := range StandardGroups() {
		groups, word, _ := New(Logs{Groups: map[string][]string{"A": StandardGroups()}}).Join("A", group)
		set := New(Logs{Preferred: map[string]string{"A": word}, Groups: map[string][]string{"A": groups}}).Of("A")
		if expression, _ := standardGroup(group); set.Means == "" || len(set.Void) > 0 || expression == "" {
			t.Errorf("%s: %+v", group, set)
		}
	}
}
