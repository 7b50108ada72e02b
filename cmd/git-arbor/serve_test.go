package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// home is the environment of one person on one machine.
type home struct {
	dir string
	env []string
}

func newHome(t *testing.T) *home {
	t.Helper()
	dir := t.TempDir()
	h := &home{dir: dir}
	for _, variable := range os.Environ() {
		if key, _, _ := strings.Cut(variable, "="); key != "HOME" && !strings.HasPrefix(key, "XDG_") && key != "NOTIFY_SOCKET" {
			h.env = append(h.env, variable)
		}
	}
	h.env = append(h.env, "HOME="+dir, "XDG_RUNTIME_DIR="+filepath.Join(dir, "run"), "GORACE=atexit_sleep_ms=0")
	return h
}

// command is this test's program, run as git-arbor.
func (h *home) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The end of the test is for stop, not for the context, to bring about.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), exe, args...)
	cmd.Args[0] = "git-arbor"
	cmd.Env, cmd.Dir = h.env, h.dir
	return cmd
}

// run returns what the command prints to both outputs, and its exit status.
func (h *home) run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := h.command(t, args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// start runs the command until the test ends, and returns what it prints up to a line that matches until.
func (h *home) start(t *testing.T, until string, args ...string) (printed []byte, stop func()) {
	t.Helper()
	cmd := h.command(t, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_, _ = io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", args[0], err, stderr.Bytes())
		}
	}
	t.Cleanup(stop)
	last := regexp.MustCompile(until)
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		printed = append(printed, line...)
		if err != nil {
			t.Fatalf("%s printed %q and then: %v\n%s", args[0], printed, err, stderr.Bytes())
		}
		if last.Match(line) {
			return printed, stop
		}
	}
}

// TestServe follows what git arbor serve prints: the account is made, and logs in.
func TestServe(t *testing.T) {
	server, laptop := newHome(t), newHome(t)
	serve := []string{"serve", "--domain", "arbor.test", "--listen", "", "--listen-tls", "127.0.0.1:0"}
	printed, stop := server.start(t, `^where ca\.pem`, serve...)
	command := regexp.MustCompile(`git arbor (account NAME@arbor\.test .*)\n`).FindSubmatch(printed)
	ca := regexp.MustCompile(`a copy of (.*)\n`).FindSubmatch(printed)
	if command == nil || ca == nil {
		t.Fatalf("serve printed %q", printed)
	}
	line := strings.ReplaceAll(string(command[1]), "NAME", "laptop")
	account := strings.Fields(strings.ReplaceAll(line, "ca.pem", string(ca[1])))
	if out, code := laptop.run(t, account...); code != exitOK {
		t.Fatalf("%q: %s", account, out)
	}
	if out, _ := laptop.run(t, "doctor"); !strings.Contains(out, "logged in as laptop@arbor.test") {
		t.Errorf("doctor: %s", out)
	}
	wrong := append([]string{}, account...)
	wrong[1] = "desktop@arbor.test"
	wrong[4] = "not-the-token"
	if out, code := laptop.run(t, wrong...); code != exitError || !strings.Contains(out, "error: make the account: ") {
		t.Errorf("%q: status %d, %s", wrong, code, out)
	}

	// The accounts are the running server's alone.
	password := filepath.Join(server.dir, "password")
	if err := os.WriteFile(password, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	add := []string{"serve", "add", "nas", "--domain", "arbor.test", "--password-file", password}
	if out, code := server.run(t, add...); code != exitError {
		t.Errorf("serve add beside a running server: status %d, %s", code, out)
	}
	stop()
	if out, code := server.run(t, add...); code != exitOK || !strings.Contains(out, "nas@arbor.test is made") {
		t.Errorf("serve add: status %d, %s", code, out)
	}
	if out, code := server.run(t, add...); code != exitError || !strings.Contains(out, "exists") {
		t.Errorf("serve add again: status %d, %s", code, out)
	}

	// The token and the authority stay the same: the machines go on.
	again, _ := server.start(t, `^where ca\.pem`, serve...)
	port := regexp.MustCompile(`--server \S+`)
	if got, want := port.ReplaceAll(again, nil), port.ReplaceAll(printed, nil); !bytes.Equal(got, want) {
		t.Errorf("after a restart serve prints %q, not %q", got, want)
	}
}
