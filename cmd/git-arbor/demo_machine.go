package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/config"
)

// patience is how long a machine of the demo may take for anything.
const patience = time.Minute

// machine stands for one computer: a home, an account, an agent, a clone.
type machine struct {
	name   string
	dir    string
	clone  string
	exe    string
	env    []string
	client *control.Client

	agent *exec.Cmd  // nil while it is off
	ended chan error // gets the agent's end
}

// newMachine makes the home of a machine in dir. bin has git-arbor.
func newMachine(ctx context.Context, dir, bin string) (*machine, error) {
	home := filepath.Join(dir, "home")
	m := &machine{
		name: filepath.Base(dir), dir: dir, clone: filepath.Join(dir, "notes"),
		exe: filepath.Join(bin, "git-arbor"),
	}
	own := map[string]string{
		"PATH":            bin + string(os.PathListSeparator) + os.Getenv("PATH"),
		"HOME":            home,
		"XDG_CONFIG_HOME": filepath.Join(home, ".config"),
		"XDG_STATE_HOME":  filepath.Join(home, ".local", "state"),
		"XDG_RUNTIME_DIR": filepath.Join(dir, "run"),
		"LC_ALL":          "C",
	}
	for _, variable := range os.Environ() {
		key, _, _ := strings.Cut(variable, "=")
		if _, ours := own[key]; !ours && !strings.HasPrefix(key, "GIT_") {
			m.env = append(m.env, variable)
		}
	}
	for key, value := range own {
		m.env = append(m.env, key+"="+value)
	}
	for _, d := range []string{home, own["XDG_RUNTIME_DIR"]} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("make a home for %s: %w", m.name, err)
		}
	}
	for _, setting := range [][2]string{
		{"user.name", m.name}, {"user.email", m.name + "@localhost"}, {"init.defaultBranch", "main"},
	} {
		if _, err := m.git(ctx, "config", "--global", setting[0], setting[1]); err != nil {
			return nil, err
		}
	}
	paths, err := config.DefaultPaths(func(key string) string { return own[key] })
	if err != nil {
		return nil, err
	}
	m.client = control.NewClient(paths.Socket)
	return m, nil
}

// settings is what the environment of the machine has of its own, in the form of env(1).
func (m *machine) settings() string {
	var own []string
	for _, variable := range m.env {
		if key, _, _ := strings.Cut(variable, "="); key == "HOME" || strings.HasPrefix(key, "XDG_") && strings.Contains(variable, m.dir) {
			own = append(own, variable)
		}
	}
	slices.Sort(own)
	return strings.Join(own, " ")
}

// arbor runs one verb on the machine and returns what it printed.
func (m *machine) arbor(ctx context.Context, args ...string) (string, error) {
	return m.output(ctx, m.exe, args)
}

// git runs git in the machine's clone, or in its home while there is no clone.
func (m *machine) git(ctx context.Context, args ...string) (string, error) {
	return m.output(ctx, "git", args)
}

func (m *machine) output(ctx context.Context, program string, args []string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it took longer than %v", patience))
	defer cancel()
	cmd := m.command(ctx, program, args)
	cmd.Dir = m.dir
	if _, err := os.Stat(m.clone); err == nil {
		cmd.Dir = m.clone
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		return strings.TrimSpace(string(out)), nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	what := filepath.Base(program)
	if len(args) > 0 {
		what += " " + args[0]
	}
	return "", fmt.Errorf("%s on %s: %w\n%s", what, m.name, err, strings.TrimSpace(stderr.String()))
}

// command ends its process in order when ctx ends.
func (m *machine) command(ctx context.Context, program string, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = m.env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	// A Ctrl-C in the terminal is for the demo, which then stops the machines in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// start switches the machine on: its agent runs when start returns.
func (m *machine) start(ctx context.Context) error {
	ready := filepath.Join(m.dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: ready, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("start %s: %w", m.name, err)
	}
	defer os.Remove(ready) // closing does not
	defer l.Close()
	log, err := os.OpenFile(filepath.Join(m.dir, "agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", m.name, err)
	}
	defer log.Close()
	// It outlives ctx, for stop ends it in order.
	cmd := m.command(context.WithoutCancel(ctx), m.exe, []string{"agent", "--verbose"})
	cmd.Env = append(slices.Clone(cmd.Env), "NOTIFY_SOCKET="+ready)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", m.name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	m.agent, m.ended = cmd, ended

	said := make(chan error, 1)
	go func() { said <- awaitReady(l) }()
	select {
	case err = <-said:
	case end := <-ended:
		ended <- end
		err = fmt.Errorf("its agent ended: %w", errors.Join(end, lastLine(log.Name())))
	case <-time.After(patience):
		err = fmt.Errorf("its agent was not ready after %v", patience)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", m.name, err)
	}
	return nil
}

// awaitReady reads what an agent tells its service manager until it is ready, or the socket is closed.
func awaitReady(l *net.UnixConn) error {
	buf := make([]byte, 4096)
	for {
		n, err := l.Read(buf)
		if err != nil {
			return err
		}
		if slices.Contains(strings.Split(string(buf[:n]), "\n"), "READY=1") {
			return nil
		}
	}
}

// lastLine is the last line of a log, as an error.
func lastLine(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(data))
	return errors.New(text[strings.LastIndexByte(text, '\n')+1:])
}

// stop switches the machine off. One that is off already stays so.
func (m *machine) stop() error {
	if m.agent == nil {
		return nil
	}
	process := m.agent.Process
	m.agent = nil
	m.client.Close()
	if err := process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", m.name, err)
	}
	select {
	case err := <-m.ended:
		if err != nil {
			return fmt.Errorf("the agent of %s: %w", m.name, err)
		}
		return nil
	case <-time.After(patience / 2):
		return errors.Join(fmt.Errorf("the agent of %s did not stop", m.name), process.Kill(), <-m.ended)
	}
}

// await waits until the agent's state satisfies done.
func (m *machine) await(ctx context.Context, what string, done func(status.Snapshot) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not %s after %v", what, patience))
	defer cancel()
	var last status.Snapshot
	for {
		snapshot, err := m.client.Status(ctx, last.Version)
		if err != nil {
			return fmt.Errorf("%s: %w; its status is:\n%s", m.name, err, strings.Join(statusLines(last, time.Now()), ""))
		}
		if done(snapshot) {
			return nil
		}
		last = snapshot
	}
}
