package xmppserver

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStateOutlivesTheServer(t *testing.T) {
	dir := t.TempDir()
	h := startIn(t, dir, Options{}, nil)
	a, b := h.online(t, "alice", "a"), h.online(t, "bob", "b")
	befriend(a, b)
	a.send("<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='bob@one.test' name='Bob'><group>Friends</group></item></query></iq>" +
		"<presence type='subscribe' to='carol@one.test'><note xmlns='urn:n'>hi</note></presence>" +
		"<message to='carol@one.test' id='m'><body>for later</body></message>")
	a.sync()
	h.stop()

	h = startIn(t, dir, Options{}, nil)
	a = h.login(t, "alice", "a")
	a.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
	got := string(a.next().bytes())
	for _, want := range []string{
		"<item jid='bob@one.test' name='Bob' subscription='both'><group>Friends</group></item>",
		"<item jid='carol@one.test' subscription='none' ask='subscribe'/>",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("roster %s lacks %s", got, want)
		}
	}
	c := h.login(t, "carol", "c")
	c.send("<presence/>")
	request := c.until("request", presence("subscribe", "alice@one.test"))
	if request.child("urn:n", "note").text() != "hi" {
		t.Errorf("request %s", request.bytes())
	}
	m := c.until("message", message("m", "for later"))
	if m.child(nsDelay, "delay") == nil {
		t.Errorf("message %s", m.bytes())
	}
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	h := start(t, nil)
	a := h.online(t, "alice", "a")
	a.send("<message to='bob@one.test'><body>x</body></message>")
	a.sync()
	n := 0
	for _, root := range []string{h.dir, h.cert} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			n++
			i, err := d.Info()
			if err != nil {
				return err
			}
			if i.Mode().Perm() != 0o600 && d.Name() != "ca.pem" {
				t.Errorf("%s has mode %v", path, i.Mode())
			}
			b, err := os.ReadFile(path)
			if strings.Contains(string(b), "alicepw") {
				t.Errorf("%s has a password in it", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 5 {
		t.Errorf("%d files", n)
	}
}

func TestOneServerADirectory(t *testing.T) {
	h := start(t, nil)
	_, err := New(Options{Domain: testDomain, Dir: h.dir, TLS: h.tls, Listen: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), "lock "+h.dir) {
		t.Errorf("a second server in the directory: %v", err)
	}
}

func TestDamagedStateIsNotOverwritten(t *testing.T) {
	for _, file := range []string{"accounts.json", "users/alice"} {
		dir := t.TempDir()
		h := startIn(t, dir, Options{}, nil)
		h.stop()
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := New(Options{Domain: testDomain, Dir: dir, TLS: h.tls, Listen: "127.0.0.1:0"})
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", file, err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != "{" {
			t.Errorf("%s is %q now: %v", file, b, err)
		}
	}
}

func TestLeftoverTemporaryFilesGo(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "users"), 0o700); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "users", tempPrefix+"1")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	startIn(t, dir, Options{}, nil)
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("temporary file: %v", err)
	}
}

func TestImpossibleOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no certificate": {Domain: testDomain, TLS: &tls.Config{}, Listen: "127.0.0.1:0"},
		"no address":     {Domain: testDomain, TLS: &tls.Config{Certificates: make([]tls.Certificate, 1)}},
		"no domain":      {TLS: &tls.Config{Certificates: make([]tls.Certificate, 1)}, Listen: "127.0.0.1:0"},
		"bad address":    {Domain: testDomain, TLS: &tls.Config{Certificates: make([]tls.Certificate, 1)}, Listen: "nowhere"},
	} {
		o.Dir = t.TempDir()
		if _, err := New(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestAccountNames(t *testing.T) {
	h := start(t, nil)
	for _, name := range []string{"", ".", "..", "-a", "A", "a/b", "a b", "ä", "a\x00", strings.Repeat("a", 65)} {
		if err := h.AddAccount(name, "pw"); !errors.Is(err, ErrBadUser) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := h.AddAccount("alice", "pw"); !errors.Is(err, ErrAccountExists) {
		t.Errorf("alice again: %v", err)
	}
	for _, password := range []string{"", "a\x00b", strings.Repeat("x", maxPassword+1)} {
		if err := h.AddAccount("dave", password); err == nil {
			t.Errorf("password %q was taken", password)
		}
	}
}

func FuzzAccounts(f *testing.F) {
	cred, err := newCredential("pw")
	if err != nil {
		f.Fatal(err)
	}
	good, err := json.Marshal(accountsFile{Version: 1, Decoy: make([]byte, 32), Accounts: map[string]credential{"alice": cred}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"decoy":"AAAAAAAAAAAAAAAAAAAAAA==","accounts":{"../x":{}}}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"decoy":"AAAAAAAAAAAAAAAAAAAAAA==","accounts":null}{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAccounts(b)
		if err != nil {
			return
		}
		for name, cred := range a.Accounts {
			if !validName(name) || cred.valid() != nil {
				t.Errorf("took account %q", name)
			}
		}
		out, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseAccounts(out); err != nil {
			t.Errorf("wrote %s: %v", out, err)
		}
	})
}

func FuzzUser(f *testing.F) {
	f.Add([]byte(`{"roster":{"bob@one.test":{"name":"Bob","groups":["g"],"to":true,"from":true,"ask":true}},"requests":{"c@d":"<presence type='subscribe'/>"},"offline":["<message><body>x</body></message>"]}`))
	f.Add([]byte(`{"roster":{"bob@one.test":null}}`))
	f.Add([]byte(`{"offline":["<message>"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &Server{domain: testDomain}
		u := s.newUser("alice", credential{})
		if u.parse(b) == nil {
			u.rosterQuery().bytes()
		}
	})
}

func TestSelfSigned(t *testing.T) {
	dir := t.TempDir()
	first, ca1, err := SelfSigned(dir, []string{"one.test", "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	again, ca2, err := SelfSigned(dir, []string{"one.test", "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	if string(ca1) != string(ca2) || !first.Leaf.Equal(again.Leaf) {
		t.Error("made anew without a reason")
	}
	other, ca3, err := SelfSigned(dir, []string{"one.test", "two.test"})
	if err != nil {
		t.Fatal(err)
	}
	if string(ca1) != string(ca3) {
		t.Error("the authority changed")
	}
	if other.Leaf.VerifyHostname("two.test") != nil || other.Leaf.VerifyHostname("192.0.2.1") == nil {
		t.Error("the certificate is not for the new hosts")
	}
	b, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil || string(b) != string(ca1) {
		t.Errorf("ca.pem: %v", err)
	}
	if _, _, err := SelfSigned(dir, nil); err == nil {
		t.Error("a certificate for nobody")
	}
}
