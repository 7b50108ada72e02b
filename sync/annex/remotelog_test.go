package annex

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/git-arbor/arbor/sync/annex/annextest"
)

func TestParseRemoteConfig(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":                       {},
		"type=directory  name=d": {"type": "directory", "name": "d"},
		"a=b&32;c&38;d=e bare":   {"a": "b c&d=e", "bare": ""},
		"a=&;&x;&12&32 b=&amp;":  {"a": "&;&x;&12&32", "b": "&amp;"},
		"a=&1114112;&-1;&+1;":    {"a": "&1114112;&-1;&+1;"},
		"a=é\u0085&160;\u3000b=": {"a": "é\u0085\u00a0", "b": ""},
	} {
		if got := parseRemoteConfig(text); !maps.Equal(got, want) {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// TestRemoteConfigs reads what git-annex has written.
func TestRemoteConfigs(t *testing.T) {
	r := newAnnex(t)
	dir := filepath.Join(annextest.TempDir(t), "a & b")
	run(t, "/", "mkdir", dir)
	run(t, r.git.Dir(), "git-annex", "initremote", "-q", "drive", "type=directory", "directory="+dir, "encryption=shared", "chunk=1MiB", "cost=120")
	run(t, r.git.Dir(), "git-annex", "initremote", "-q", "sync", "type=rsync", "rsyncurl=host:/a b&c=d&é", "encryption=none")
	run(t, r.git.Dir(), "git", "config", "annex.x", "y") // leaves the annex alone
	configs, err := r.RemoteConfigs(t.Context())
	if err != nil || len(configs) != 2 {
		t.Fatalf("%q, %v", configs, err)
	}
	for _, config := range configs {
		want := map[string]string{"type": "directory", "name": "drive", "encryption": "shared", "chunk": "1MiB", "cost": "120"}
		if config["name"] == "sync" {
			want = map[string]string{"type": "rsync", "rsyncurl": "host:/a b&c=d&é", "encryption": "none"}
		}
		for name, value := range want {
			if config[name] != value {
				t.Errorf("%s is %q, want %q", name, config[name], value)
			}
		}
	}
}

func FuzzParseRemoteConfig(f *testing.F) {
	f.Add("type=directory name=a&32;b&38;c cipher=bm== =x")
	f.Add("a=&55296;&1114111;&99999999999999999999;")
	f.Fuzz(func(t *testing.T, text string) {
		config := parseRemoteConfig(text)
		var words []string
		for _, name := range slices.Sorted(maps.Keys(config)) {
			words = append(words, name+"="+escapeRemoteValue(config[name]))
		}
		if again := parseRemoteConfig(strings.Join(words, " ")); !maps.Equal(config, again) {
			t.Errorf("%q written is read as %q", config, again)
		}
	})
}

// escapeRemoteValue writes a value as git-annex does.
func escapeRemoteValue(s string) string {
	var b strings.Builder
	for i, c := range s {
		if c == '&' || isHaskellSpace(c) {
			fmt.Fprintf(&b, "&%d;", c)
			continue
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		b.WriteString(s[i : i+n])
	}
	return b.String()
}
