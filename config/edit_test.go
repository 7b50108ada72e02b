package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func readConfig(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestEditMakesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "config.toml")
	if err := SetAccount(path, Account{JID: "a@b", PasswordFile: "password"}); err != nil {
		t.Fatal(err)
	}
	if err := AddClone(path, Clone{Path: "/srv/it's \"x\" \t\\", Mode: ModeCommits}); err != nil {
		t.Fatal(err)
	}
	want := newFile + `
[account]
jid = "a@b"
password_file = "password"

[[clones]]
path = "/srv/it's \"x\" \u0009\\"
mode = "commits"
`
	if diff := cmp.Diff(want, readConfig(t, path)); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v; want 0600", info.Mode(), err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestAddCloneKeepsTheRest(t *testing.T) {
	path := writeConfig(t, strings.TrimSuffix(whole, "\n"))
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is listed already
		if err := AddClone(path, Clone{Path: "/srv/music", Name: "music"}); err != nil {
			t.Fatal(err)
		}
	}
	want := whole + "\n[[clones]]\npath = \"/srv/music\"\nname = \"music\"\n"
	if diff := cmp.Diff(want, readConfig(t, path)); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("got mode %v, %v; want 0640", info.Mode(), err)
	}
}

func TestSetAccountKeepsTheRest(t *testing.T) {
	const before = `# head
[account]
# the address
jid = "old@example.org" # mine
password_command = "pass arbor"
server = "x:1" # at work
shared = true
# end of account

[sync] # slow
interval = "1h"
`
	const after = `# head
[account]
# the address
jid = "new@example.org" # mine
# at work
direct_tls = true
# end of account

[sync] # slow
interval = "1h"
`
	path := writeConfig(t, before)
	if err := SetAccount(path, Account{JID: "new@example.org", PasswordFile: "/p", DirectTLS: true}); err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(after, "direct_tls", "password_file = \"/p\"\ndirect_tls", 1)
	if diff := cmp.Diff(want, readConfig(t, path)); diff != "" {
		t.Error(diff)
	}
}

func TestSetAccountWithoutFinalNewline(t *testing.T) {
	path := writeConfig(t, "[account]\njid = \"a@b\"\npassword_file = \"p\"")
	if err := SetAccount(path, Account{JID: "a@b", PasswordFile: "p", Shared: true}); err != nil {
		t.Fatal(err)
	}
	if got, want := readConfig(t, path), "[account]\njid = \"a@b\"\npassword_file = \"p\"\nshared = true\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEditRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"a mistake":       "[limits]\nupp = \"1k\"\n",
		"inline account":  "account = { jid = \"a@b\", password_file = \"p\" }\n",
		"dotted account":  "account.jid = \"a@b\"\naccount.password_file = \"p\"\n",
		"an inline clone": "clones = [{ path = \"/a\" }]\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := writeConfig(t, text)
			err := SetAccount(path, Account{JID: "c@d", PasswordFile: "q"})
			if err == nil {
				err = AddClone(path, Clone{Path: "/b"})
			}
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("got %v, want an *Error", err)
			}
			if !strings.HasPrefix(readConfig(t, path), text) {
				t.Errorf("what stood in the file changed to %q", readConfig(t, path))
			}
		})
	}
}

func TestAddCloneNotUTF8(t *testing.T) {
	path := writeConfig(t, "")
	if err := AddClone(path, Clone{Path: "/caf\xe9"}); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("got %v, want an error about UTF-8", err)
	}
}

func TestEditFollowsALink(t *testing.T) {
	target := writeConfig(t, "# dotfiles\n")
	link := filepath.Join(t.TempDir(), "config.toml")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := AddClone(link, Clone{Path: "/a"}); err != nil {
		t.Fatal(err)
	}
	if got := readConfig(t, target); !strings.Contains(got, `"/a"`) {
		t.Errorf("the file behind the link has %q", got)
	}
}

func TestEditConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := AddClone(path, Clone{Path: fmt.Sprintf("/c%d", i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	c, err := Load(path)
	if err != nil || len(c.Clones) != 20 {
		t.Errorf("got %d clones, %v; want 20", len(c.Clones), err)
	}
}

// TestDocumented: docs/configuration.md and [Config] have exactly the known keys.
func TestDocumented(t *testing.T) {
	doc := readConfig(t, filepath.Join("..", "docs", "configuration.md"))
	for _, k := range knownKeys() {
		_, key, _ := strings.Cut(k.name, ".")
		if !strings.Contains(doc, "`"+key+"`") {
			t.Errorf("docs/configuration.md does not describe %s", k.name)
		}
	}
}
