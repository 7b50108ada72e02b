package config

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPasswordFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "password")
	if err := WritePassword(path, "hunter2 "); err != nil {
		t.Fatal(err)
	}
	a := Account{JID: "a@b", PasswordFile: path}
	got, err := a.Password(t.Context())
	if err != nil || got != "hunter2 " {
		t.Errorf("got %q, %v", got, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = a.Password(t.Context())
	if hint := hintOf(err); !strings.HasPrefix(hint, "chmod 600 ") {
		t.Errorf("a file others may read: got %v with hint %q", err, hint)
	}
	if err := os.WriteFile(path, []byte("\nx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Password(t.Context()); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty first line: got %v", err)
	}
	a.PasswordFile = filepath.Dir(path)
	if err := os.Chmod(a.PasswordFile, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Password(t.Context()); err == nil {
		t.Error("a directory was accepted")
	}
	a.PasswordFile = path + ".gone"
	_, err = a.Password(t.Context())
	if hint := hintOf(err); !strings.Contains(hint, "git arbor account a@b") {
		t.Errorf("a missing file: got %v with hint %q", err, hint)
	}
}

func TestWritePasswordRefuses(t *testing.T) {
	for _, password := range []string{"", "a\nb", strings.Repeat("x", maxPassword)} {
		if err := WritePassword(filepath.Join(t.TempDir(), "p"), password); err == nil {
			t.Errorf("a password of %d bytes was stored", len(password))
		}
	}
}

func TestPasswordCommand(t *testing.T) {
	for _, test := range []struct{ command, want, err string }{
		{"printf 'hunter2\\r\\nsecond\\n'", "hunter2", ""},
		{"true", "", "printed nothing"},
		{"echo locked >&2; exit 3", "", "exit status 3: locked"},
	} {
		a := Account{JID: "a@b", PasswordCommand: test.command}
		got, err := a.Password(t.Context())
		if got != test.want || (err == nil) != (test.err == "") || (err != nil && !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: got %q, %v", test.command, got, err)
		}
	}
}

func TestPasswordCommandEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&Account{PasswordCommand: "sleep 60"}).Password(ctx); err == nil {
		t.Error("no error after the context ended")
	}
}

func TestPasswordNone(t *testing.T) {
	if _, err := (&Account{JID: "a@b"}).Password(t.Context()); hintOf(err) == "" {
		t.Errorf("got %v, want a hint", err)
	}
}

func hintOf(err error) string {
	if h, ok := err.(interface{ Hint() string }); ok {
		return h.Hint()
	}
	return ""
}
