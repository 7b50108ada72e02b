package remote

import (
	"strings"
	"testing"
)

func TestParsePlace(t *testing.T) {
	for url, want := range map[string]place{
		"ssh://host/a/b":              {"host", "", "/a/b"},
		"ssh://me@host:22/~/a%20b":    {"me@host", "22", "/~/a b"},
		"git+ssh://me:pw@[::1]:2/a":   {"me@::1", "2", "/a"},
		"host:a/b":                    {"host", "", "/~/a/b"},
		"me@host:/a:b":                {"me@host", "", "/a:b"},
		"host:~you/a":                 {"host", "", "/~you/a"},
		"[::1]:a":                     {"::1", "", "/~/a"},
		"me@[host:22]:/a":             {"me@host", "22", "/a"},
		"/a/b:c":                      {"", "", "/a/b:c"},
		"./a:b":                       {"", "", "./a:b"},
		"../a":                        {"", "", "../a"},
		"file:///a%20b":               {"", "", "/a b"},
		"file://localhost/a":          {"", "", "/a"},
		"/a/x::y":                     {"", "", "/a/x::y"},
		"":                            {},
		"file://host/a":               {},
		"https://host/a":              {},
		"git://host/a":                {},
		"ext::sh -c x":                {},
		"gcrypt::host:a":              {},
		"tor-annex::x.onion:1":        {},
		"ssh://-oProxyCommand=x/a":    {},
		"-oProxyCommand=x:a":          {},
		"ssh://host":                  {},
		"[-oProxyCommand=x:22]:a":     {},
		"[host:-p]:a":                 {},
		"ssh://me@/a":                 {},
		"annex+http://host/git-annex": {},
	} {
		got, ok := parsePlace(url)
		if !ok {
			got = place{}
		}
		if got != want || ok != (want != place{}) {
			t.Errorf("%q is %+v, %v; want %+v", url, got, ok, want)
		}
	}
}

func FuzzParsePlace(f *testing.F) {
	for _, url := range []string{"ssh://me@host:22/~/a", "me@[::1]:a", "host:a", "file:///a", "ext::x", "/a"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		p, ok := parsePlace(url)
		if !ok || p.host == "" {
			return
		}
		if strings.HasPrefix(p.host, "-") || strings.Trim(p.port, "0123456789") != "" || !strings.HasPrefix(p.dir, "/") {
			t.Errorf("%q gives ssh %+v", url, p)
		}
	})
}
