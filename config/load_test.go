package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

const whole = `# the whole file
[account]
jid = "alice@example.org" # mine
password_file = "password"
server = "xmpp.example.org:5223"
direct_tls = true
ca_file = "/etc/ca.pem"
shared = true

[[clones]]
path = "~/notes"

[[clones]]
path = "/srv/photos/"
mode = "commits"
name = "pictures"

[link]
listen = [
  "192.0.2.7:4711", # at home
  ":0",
]
advertise = ["home.example.org:4711"]

[limits]
up = "512k"
down = "off"

[hooks]
before = "true"
after = """
echo "[not] a = header"
"""
timeout = "5m"

[sync]
interval = "1h30m"
`

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	t.Setenv("HOME", "/home/alice")
	path := writeConfig(t, whole)
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Account: Account{
			JID: "alice@example.org", PasswordFile: filepath.Join(filepath.Dir(path), "password"),
			Server: "xmpp.example.org:5223", DirectTLS: true, CAFile: "/etc/ca.pem", Shared: true,
		},
		Clones: []Clone{
			{Path: "/home/alice/notes", Mode: ModeAuto, Name: "notes"},
			{Path: "/srv/photos", Mode: ModeCommits, Name: "pictures"},
		},
		Link:   Link{Listen: []string{"192.0.2.7:4711", ":0"}, Advertise: []string{"home.example.org:4711"}},
		Limits: Limits{Up: 512 << 10},
		Hooks:  Hooks{Before: "true", After: "echo \"[not] a = header\"\n", Timeout: Duration(5 * time.Minute)},
		Sync:   Sync{Interval: Duration(90 * time.Minute)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoadDefaults(t *testing.T) {
	got, err := Load(writeConfig(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Link:  Link{Listen: []string{":0"}},
		Hooks: Hooks{Timeout: DefaultHookTimeout},
		Sync:  Sync{Interval: DefaultInterval},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoadMissing(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "config.toml"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v, want fs.ErrNotExist", err)
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || !strings.Contains(e.Hint(), "git arbor account") {
		t.Errorf("got %#v, want a hint at git arbor account", err)
	}
}

// TestLoadMistakes: each mistake is told with its line, its key and what to write instead.
func TestLoadMistakes(t *testing.T) {
	for _, test := range []struct {
		name, text string
		line       int
		key        string
		msg, hint  string
	}{
		{"syntax", "[account]\njid = alice@example.org\n", 2, "account.jid", "", "TOML"},
		{"unclosed string", "[link]\nlisten = [\"a\n", 2, "link.listen", "", "TOML"},
		{"key twice", "[limits]\nup = \"1k\"\nup = \"2k\"\n", 3, "limits.up", "", "TOML"},
		{"unknown table", "\n[acount]\njid = \"a@b\"\n", 2, "acount", "unknown", "account, clones, link"},
		{"unknown top key", "jid = \"a@b\"\n", 1, "jid", "unknown", "account, clones, link"},
		{"unknown key", "[limits]\n# c\nupp = \"1k\"\n", 3, "limits.upp", "unknown key", "up, down"},
		{"unknown key in second clone", "[[clones]]\npath = \"/a\"\n[[clones]]\npath = \"/b\"\nmod = \"auto\"\n", 5, "clones.mod", "unknown key", "path, mode, name"},
		{"unknown dotted key", "limits.upp = \"1k\"\n", 1, "limits.upp", "unknown key", "up, down"},
		{"unknown key in inline table", "\nlimits = { upp = \"1k\" }\n", 2, "limits.upp", "unknown key", "up, down"},
		{"table for value", "[account]\n[account.jid]\nx = 1\n", 2, "account.jid", "wrong type", "alice@example.org"},
		{"value for table", "account = 7\n", 1, "account", "wrong type", "[account]"},
		{"one clone as table", "[clones]\npath = \"/a\"\n", 1, "clones", "wrong type", "[[clones]]"},
		{"number for string", "[account]\njid = 7\n", 2, "account.jid", "wrong type", "alice@example.org"},
		{"string for bool", "[account]\ndirect_tls = \"yes\"\n", 2, "account.direct_tls", "wrong type", "true or false"},
		{"string for list", "[link]\nlisten = \":0\"\n", 2, "link.listen", "wrong type", "a list"},
		{"number in list", "[link]\nlisten = [ \":0\",\n 7 ]\n", 2, "link.listen", "wrong type", "a list"},
		{"wrong type in first clone", "[[clones]]\npath = 1\n[[clones]]\npath = \"/b\"\n", 2, "clones.path", "wrong type", "absolute path"},
		{"wrong type in second clone", "[[clones]]\npath = \"/a\"\n[[clones]]\npath = 1\n", 4, "clones.path", "wrong type", "absolute path"},
		{"first of two", "[[clones]]\npath = 1\n[zoo]\n", 2, "clones.path", "wrong type", "absolute path"},
		{"number for rate", "[limits]\nup = 512\n", 2, "limits.up", "wrong type", "512k"},
		{"no rate", "[limits]\nup = \"fast\"\n", 2, "limits.up", "not a rate", "512k"},
		{"negative rate", "[limits]\nup = \"-1k\"\n", 2, "limits.up", "positive", "512k"},
		{"huge rate", "[limits]\nup = \"9999999999999G\"\n", 2, "limits.up", "large", "512k"},
		{"tiny rate", "[limits]\nup = \"512\"\n", 2, "limits.up", "less than 1k", "512k"},
		{"text for lan", "[limits]\nlan = \"yes\"\n", 2, "limits.lan", "wrong type", "true or false"},
		{"no schedule", "[limits]\nschedule = \"08:00\"\n", 2, "limits.schedule", "no comma", "08:00,512k"},
		{"schedule and rate", "[limits]\nup = \"1M\"\nschedule = \"08:00,1M\"\n", 3, "limits.schedule", "up or down too", "either"},
		{"value for peers", "[limits]\npeers = \"nas\"\n", 2, "limits.peers", "wrong type", "[limits.peers.\"NAME\"]"},
		{"value for peer", "[limits.peers]\nnas = \"1M\"\n", 2, "limits.peers.nas", "wrong type", "[limits.peers.\"NAME\"]"},
		{"unknown key of peer", "[limits.peers.\"the nas\"]\nupp = \"1M\"\n", 2, "limits.peers.\"the nas\".upp", "unknown key", "up, down"},
		{"number for rate of peer", "[limits.peers.nas]\nup = 7\n", 2, "limits.peers.nas.up", "wrong type", "512k"},
		{"no rate of peer", "[limits.peers.nas]\ndown = \"fast\"\n", 2, "limits.peers.nas.down", "not a rate", "512k"},
		{"slash in peer", "[limits.peers.\"a/b\"]\nup = \"1M\"\n", 1, "limits.peers.\"a/b\"", "cannot name", "slash"},
		{"no duration", "[sync]\ninterval = \"15\"\n", 2, "sync.interval", "duration", "15m"},
		{"short interval", "[sync]\ninterval = \"1ms\"\n", 2, "sync.interval", "short", "15m"},
		{"negative timeout", "[hooks]\n\ntimeout = \"-1s\"\n", 3, "hooks.timeout", "", "30s"},
		{"full jid", "[account]\njid = \"alice@example.org/home\"\npassword_file = \"p\"\n", 2, "account.jid", "address", "alice@example.org"},
		{"no local part", "[account]\njid = \"example.org\"\npassword_file = \"p\"\n", 2, "account.jid", "address", "alice@example.org"},
		{"no jid", "[account]\npassword_file = \"p\"\n", 1, "account.jid", "address", "alice@example.org"},
		{"no password", "[account]\njid = \"a@b\"\n", 2, "account.jid", "no password", "git arbor account"},
		{"two passwords", "[account]\njid = \"a@b\"\npassword_file = \"p\"\npassword_command = \"c\"\n", 4, "account.password_command", "password_file", "one of the two"},
		{"no port", "[account]\njid = \"a@b\"\npassword_file = \"p\"\nserver = \"b\"\n", 4, "account.server", "host and port", "5222"},
		{"port too large", "[account]\njid = \"a@b\"\npassword_file = \"p\"\nserver = \"b:70000\"\n", 4, "account.server", "host and port", "5222"},
		{"no path", "[[clones]]\nname = \"a\"\n", 1, "clones.path", "needs one", "absolute path"},
		{"relative path", "[[clones]]\npath = \"notes\"\n", 2, "clones.path", "relative", "absolute path"},
		{"path twice", "[[clones]]\npath = \"/a\"\n[[clones]]\npath = \"/a/\"\n", 4, "clones.path", "twice", "remove"},
		{"name twice", "[[clones]]\npath = \"/a\"\nname = \"n\"\n[[clones]]\npath = \"/b\"\nname = \"n\"\n", 6, "clones.name", "two clones", "another name"},
		{"slash in name", "[[clones]]\npath = \"/a\"\nname = \"a/b\"\n", 3, "clones.name", "cannot name", "slash"},
		{"unknown mode", "[[clones]]\npath = \"/a\"\nmode = \"manual\"\n", 3, "clones.mode", "not a mode", "commits"},
		{"listen without port", "[link]\nlisten = [\"192.0.2.7\"]\n", 2, "link.listen", "192.0.2.7", ":0"},
		{"advertise port 0", "[link]\nadvertise = [\"h:0\"]\n", 2, "link.advertise", "h:0", "4711"},
		{"advertise no host", "[link]\nadvertise = [\":4711\"]\n", 2, "link.advertise", ":4711", "home.example.org"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := writeConfig(t, test.text)
			_, err := Load(path)
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("got %v, want an *Error", err)
			}
			if e.Path != path || e.Line != test.line || e.Key != test.key {
				t.Errorf("got %s line %d key %s, want line %d key %s", e.Path, e.Line, e.Key, test.line, test.key)
			}
			if !strings.Contains(e.Msg, test.msg) {
				t.Errorf("message %q lacks %q", e.Msg, test.msg)
			}
			if !strings.Contains(e.Hint(), test.hint) {
				t.Errorf("hint %q lacks %q", e.Hint(), test.hint)
			}
		})
	}
}

func TestLoadTooLarge(t *testing.T) {
	path := writeConfig(t, strings.Repeat("#\n", maxFile))
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("got %v, want an error about the size", err)
	}
}

func TestErrorText(t *testing.T) {
	e := &Error{Path: "/c.toml", Line: 3, Key: "limits.up", Msg: "wrong type"}
	if got, want := e.Error(), "/c.toml:3: limits.up: wrong type"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := (&Error{Path: "/c.toml", Msg: "gone"}).Error(), "/c.toml: gone"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRate(t *testing.T) {
	for text, want := range map[string]Rate{"off": 0, "1024": 1 << 10, "512k": 512 << 10, "512K": 512 << 10, "10M": 10 << 20, "1G": 1 << 30} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%s: got %d, %v; want %d", text, r, err, want)
		}
		var again Rate
		if err := again.UnmarshalText([]byte(r.String())); err != nil || again != r {
			t.Errorf("%s: printed as %s, which reads as %d, %v", text, r, again, err)
		}
	}
	for _, text := range []string{"", "k", "1kk", "1 k", "1x", "0", "1.5M", "512"} {
		if err := new(Rate).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestDefaultPaths(t *testing.T) {
	env := func(vars map[string]string) func(string) string {
		return func(key string) string { return vars[key] }
	}
	got, err := DefaultPaths(env(map[string]string{"HOME": "/home/alice"}))
	want := Paths{
		Config:  "/home/alice/.config/arbor/config.toml",
		State:   "/home/alice/.local/state/arbor",
		Runtime: "/home/alice/.local/state/arbor",
		Socket:  "/home/alice/.local/state/arbor/agent.sock",
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	got, err = DefaultPaths(env(map[string]string{
		"HOME": "/home/alice", "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "relative", "XDG_RUNTIME_DIR": "/run/user/7",
	}))
	want = Paths{
		Config: "/c/arbor/config.toml", State: "/home/alice/.local/state/arbor",
		Runtime: "/run/user/7/arbor", Socket: "/run/user/7/arbor/agent.sock",
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if _, err := DefaultPaths(env(nil)); err == nil {
		t.Error("no error without any variable")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("account = { jid = \"a@b\", password_file = 'p' }\n\"limits\".'up' = \"1k\"\n"))
	f.Add([]byte("[link]\r\nlisten = [\r\n'''\n:0''', # x\n]\r\n"))
	f.Add([]byte("[account"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse("/etc/config.toml", data)
		if e, ok := errors.AsType[*Error](err); ok {
			if e.Line < 0 || e.Line > strings.Count(string(data), "\n")+1 {
				t.Errorf("line %d of a text with %d", e.Line, strings.Count(string(data), "\n"))
			}
			return
		}
		if err != nil {
			return
		}
		fields, err := (&Account{JID: "new@example.org", PasswordFile: "p"}).lines("/etc/config.toml")
		if err != nil {
			t.Fatal(err)
		}
		text := setTable(data, toml.Key{"account"}, fields)
		if got, err := parse("/etc/config.toml", text); err == nil && len(got.Clones) != len(c.Clones) {
			t.Errorf("setting the account changed the clones")
		}
	})
}
