package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
)

// TestAgent: the agent talks to its service manager, is alone, keeps going when a reload fails, and ends in order.
func TestAgent(t *testing.T) {
	h := newHome(t)
	config := filepath.Join(h.dir, ".config", "arbor", "config.toml")
	good := "[account]\njid = \"a@arbor.test\"\npassword_command = \"echo p\"\nserver = \"127.0.0.1:1\"\n"
	if err := os.MkdirAll(filepath.Dir(config), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	write(good + "[limits]\nup = 7\n")
	if out, code := h.run(t, "agent"); code != exitError || !strings.Contains(out, "config.toml:6: limits.up: wrong type") {
		t.Errorf("with a mistake in the configuration: status %d, %s", code, out)
	}

	write(good)
	manager := listenNotify(t, filepath.Join(h.dir, "notify"))
	cmd := h.command(t, "agent", "--verbose")
	cmd.Env = append(slices.Clone(cmd.Env), "NOTIFY_SOCKET="+filepath.Join(h.dir, "notify"), "WATCHDOG_USEC=200000")
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	t.Cleanup(func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if t.Failed() {
			t.Logf("log of the agent:\n%s", log.Bytes())
		}
	})
	awaitNotify(t, manager, "READY=1")
	awaitNotify(t, manager, "WATCHDOG=1")
	if out, code := h.run(t, "status"); code != exitOK || !strings.Contains(out, "as a@arbor.test") {
		t.Errorf("status: %d, %s", code, out)
	}
	if out, code := h.run(t, "agent"); code != exitError || !strings.Contains(out, "another agent") {
		t.Errorf("a second agent: status %d, %s", code, out)
	}

	client := control.NewClient(filepath.Join(h.dir, "run", "arbor", "agent.sock"))
	defer client.Close()
	write(good + "[limits]\nupp = \"1M\"\n")
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	awaitWarning := func(there bool) {
		t.Helper()
		for version := uint64(0); ; {
			s, err := client.Status(t.Context(), version)
			if err != nil {
				t.Fatal(err)
			}
			if there == slices.ContainsFunc(s.Warnings, func(w status.Warning) bool {
				return strings.Contains(w.Text, "config.toml:6: limits.upp: unknown key")
			}) {
				return
			}
			version = s.Version
		}
	}
	awaitWarning(true)
	write(good)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	awaitWarning(false)

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	awaitNotify(t, manager, "STOPPING=1")
	ended = true
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if out, code := h.run(t, "status"); code != exitNotRunning {
		t.Errorf("status afterwards: %d, %s", code, out)
	}
}

func listenNotify(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// awaitNotify reads what the service manager is told until assignment is among it.
func awaitNotify(t *testing.T, l *net.UnixConn, assignment string) {
	t.Helper()
	if err := l.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for {
		n, err := l.Read(buf)
		if err != nil {
			t.Fatalf("waiting for %s: %v", assignment, err)
		}
		if slices.Contains(strings.Split(string(buf[:n]), "\n"), assignment) {
			return
		}
	}
}

func TestServiceManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "n"))
	t.Setenv("WATCHDOG_USEC", "60000000")
	t.Setenv("WATCHDOG_PID", "1")
	l := listenNotify(t, os.Getenv("NOTIFY_SOCKET"))
	m := newServiceManager()
	if m.watchdog != 0 {
		t.Errorf("the watchdog of another process is fed every %v", m.watchdog)
	}
	for _, key := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		if value, set := os.LookupEnv(key); set {
			t.Errorf("children get %s=%s", key, value)
		}
	}
	m.status("two\nlines")
	awaitNotify(t, l, "STATUS=two lines")
	l.Close()
	m.tell("READY=1") // nobody listens: nothing happens
	(&serviceManager{}).tell("READY=1")
}
