package xmppserver

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Clients that others made, as Debian packages them.

func (h *harness) caFile() string { return filepath.Join(h.cert, "ca.pem") }

func TestGoSendxmpp(t *testing.T) {
	program, err := exec.LookPath("go-sendxmpp")
	if err != nil {
		t.Fatal("go-sendxmpp is needed for this test: apt-get install go-sendxmpp")
	}
	h := start(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	home := t.TempDir()
	run := func(user, password, server string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, program, append([]string{"-u", user + "@" + testDomain, "-p", password, "-j", server}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+home, "SSL_CERT_FILE="+h.caFile())
		return cmd
	}
	a := h.online(t, "alice", "a")
	for server, flag := range map[string][]string{h.TLSAddr(): {"-t"}, h.Addr(): nil} {
		cmd := run("bob", "bobpw", server, append(flag, "alice@"+testDomain)...)
		cmd.Stdin = strings.NewReader("grüße <&>\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go-sendxmpp: %v\n%s", err, out)
		}
		m := a.until("message", message("", ""))
		if got := strings.TrimSpace(m.child(nsClient, "body").text()); got != "grüße <&>" || !strings.HasPrefix(m.get("from"), "bob@one.test/") {
			t.Errorf("got %s", m.bytes())
		}
	}
	cmd := run("bob", "wrong", h.TLSAddr(), "-t", "alice@"+testDomain)
	cmd.Stdin = strings.NewReader("x")
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("logged in with a wrong password:\n%s", out)
	}

	// And the other way: it listens, and gets what waited for it as well as what comes.
	a.send("<message to='bob@one.test' type='chat'><body>waited</body></message>")
	a.sync()
	listen := run("bob", "bobpw", h.TLSAddr(), "-t", "-l")
	out, err := listen.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := listen.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = listen.Wait() // it was killed
	}()
	lines := bufio.NewScanner(out)
	for _, want := range []string{"waited", "comes"} {
		if want == "comes" {
			a.send("<message to='bob@one.test' type='chat'><body>comes</body></message>")
		}
		for lines.Scan() && !strings.Contains(lines.Text(), want) {
		}
		if !strings.Contains(lines.Text(), want) {
			t.Fatalf("no %q: %v", want, lines.Err())
		}
	}
}

func TestSlixmpp(t *testing.T) {
	python := ""
	for _, p := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(p, "-c", "import slixmpp").Run() == nil {
			python = p
			break
		}
	}
	if python == "" {
		t.Fatal("python3-slixmpp is needed for this test: apt-get install python3-slixmpp")
	}
	h := start(t, nil)
	for how, addr := range map[string]string{"direct": h.TLSAddr(), "starttls": h.Addr()} {
		t.Run(how, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
			defer cancel()
			host, port, err := net.SplitHostPort(addr)
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			cmd := exec.CommandContext(ctx, python, "testdata/echo.py", "bob@one.test/echo", "bobpw", host, port, h.caFile(), how)
			cmd.Stdout, cmd.Stderr = &log, &log
			a := h.online(t, "alice", "a")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			hear := func(body string) {
				t.Helper()
				for {
					e, err := a.read()
					if err != nil {
						cancel()
						t.Fatalf("no %q: %v, %v\n%s", body, err, <-done, &log)
					}
					if message("", body)(e) {
						return
					}
				}
			}
			say := func(body string) {
				a.send("<message to='bob@one.test/echo' type='chat'><body>" + body + "</body></message>")
			}
			hear("here as bob@one.test/echo")
			say("one")
			hear("echo: one")
			var before *conn
			h.eventually(t, "a session", func() bool { before = h.users["bob"].sessions["echo"].conn; return true })
			say("cut")
			h.eventually(t, "loss of the connection", func() bool { return h.users["bob"].sessions["echo"].conn != before })
			say("while away")
			hear("echo: while away")
			say("quit")
			if err := <-done; err != nil {
				t.Errorf("client: %v\n%s", err, &log)
			}
			a.cut()
			h.eventually(t, "subscription", func() bool { return h.users["bob"].roster["alice@one.test"] != nil })
			h.eventually(t, "end of sessions", func() bool { return len(h.users["alice"].sessions) == 0 })
		})
	}
}
