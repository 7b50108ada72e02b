package xmpptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// chooseHost finds out where an ejabberd can run on this machine.
func chooseHost(ctx context.Context, source, dir string, p ports, logf func(string, ...any)) (host, error) {
	force := os.Getenv("ARBOR_TEST_XMPP")
	var composeErr, systemErr error
	if force == "" || force == "compose" {
		c, err := newCompose(ctx, source, p)
		if err == nil {
			return c, nil
		}
		composeErr = err
	}
	if force == "" || force == "system" {
		s, err := newSystem(source, dir, p)
		if err == nil {
			if composeErr != nil {
				logf("ejabberd runs from the system's package: %v", composeErr)
			}
			return s, nil
		}
		systemErr = err
	}
	return nil, fmt.Errorf("no XMPP server to test against: install docker and docker-compose, or the packages ejabberd and openssl: %w",
		errors.Join(composeErr, systemErr))
}

// system runs the ejabberd of the system's packages as a child.
type system struct {
	script, data string
	env          []string
	cmd          *exec.Cmd
	stdin        io.Closer // its end is the end of the server: see testdata/ejabberd/run
}

func newSystem(source, dir string, p ports) (*system, error) {
	for _, program := range []string{"erl", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, err
		}
	}
	installed := false
	for _, pattern := range []string{"/usr/lib/*/ejabberd-[0-9]*", "/usr/lib/ejabberd-[0-9]*"} {
		found, err := filepath.Glob(pattern)
		installed = installed || err == nil && len(found) > 0
	}
	if !installed {
		return nil, errors.New("ejabberd is not installed")
	}
	s := &system{script: filepath.Join(source, "testdata/ejabberd/run"), data: filepath.Join(dir, "data")}
	s.env = append(os.Environ(), "DATA="+s.data, "DOMAIN="+domain, "WATCH_STDIN=1")
	for name, port := range p {
		s.env = append(s.env, name+"="+strconv.Itoa(port))
	}
	return s, nil
}

func (s *system) start(ctx context.Context) error {
	output, err := os.OpenFile(filepath.Join(filepath.Dir(s.data), "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), s.script) // ctx bounds the start, and the server outlives it
	s.cmd.Env = s.env
	s.cmd.Stdout, s.cmd.Stderr = output, output
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	return s.cmd.Start()
}

func (s *system) stop(ctx context.Context) error { return s.end(ctx, syscall.SIGTERM) }

func (s *system) crash(ctx context.Context) error { return s.end(ctx, syscall.SIGKILL) }

func (s *system) end(ctx context.Context, sig syscall.Signal) error {
	if s.cmd == nil {
		return nil
	}
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	kill := context.AfterFunc(ctx, func() { _ = s.cmd.Process.Kill() }) // it fails when there is nothing left to kill
	defer kill()
	_ = s.cmd.Wait() // the status of a stopped Erlang says nothing
	s.stdin.Close()
	s.cmd = nil
	return ctx.Err()
}

func (s *system) remove(ctx context.Context) error { return s.crash(ctx) }

func (s *system) authority(context.Context) ([]byte, error) {
	return os.ReadFile(filepath.Join(s.data, "tls/ca.pem"))
}

// compose runs the service of docker-compose.yml.
type compose struct {
	command []string // docker compose or docker-compose
	dir     string
	project string
	env     []string
}

var composeCount atomic.Int32

// projectPrefix and the id of the process that owns it name a project.
const projectPrefix = "arbor-test-"

func newCompose(ctx context.Context, source string, p ports) (*compose, error) {
	probe, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := exec.CommandContext(probe, "docker", "version", "--format", "{{.Server.Version}}").Run(); err != nil {
		return nil, fmt.Errorf("no container engine answers: %w", err)
	}
	c := &compose{
		dir:     source,
		project: fmt.Sprintf("%s%d-%d", projectPrefix, os.Getpid(), composeCount.Add(1)),
		env:     append(os.Environ(), "XMPP_DOMAIN="+domain),
	}
	for name, port := range p {
		c.env = append(c.env, "XMPP_"+name+"="+strconv.Itoa(port))
	}
	for _, command := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if exec.CommandContext(probe, command[0], append(command[1:], "version")...).Run() == nil {
			c.command = command
			break
		}
	}
	if c.command == nil {
		return nil, errors.New("neither docker compose nor docker-compose is installed")
	}

	// Tests of several packages run at once; one of them builds the image.
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "arbor-test-image.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	c.sweep(ctx)
	if err := c.image(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// image builds the image, and makes its base where it can neither be found nor
// pulled.
func (c *compose) image(ctx context.Context) error {
	const base = "debian:bookworm-slim"
	if exec.CommandContext(ctx, "docker", "image", "inspect", base).Run() != nil &&
		exec.CommandContext(ctx, "docker", "pull", "-q", base).Run() != nil {
		out, err := exec.CommandContext(ctx, filepath.Join(c.dir, "testdata/ejabberd/base-image")).CombinedOutput()
		if err != nil {
			return fmt.Errorf("make the image %s: %w: %s", base, err, tail(out))
		}
	}
	_, err := c.run(ctx, "build")
	return err
}

// sweep removes the servers of test processes that were killed.
func (c *compose) sweep(ctx context.Context) {
	out, err := exec.CommandContext(ctx, "docker", "ps", "-a", "--filter", "label=com.docker.compose.project",
		"--format", `{{.Label "com.docker.compose.project"}}`).Output()
	if err != nil {
		return
	}
	for project := range strings.FieldsSeq(string(out)) {
		rest, ours := strings.CutPrefix(project, projectPrefix)
		pid, err := strconv.Atoi(strings.SplitN(rest, "-", 2)[0])
		if !ours || err != nil || syscall.Kill(pid, 0) == nil {
			continue
		}
		old := *c
		old.project = project
		_ = old.remove(ctx) // what stays is for the next process to remove
	}
}

func (c *compose) run(ctx context.Context, args ...string) ([]byte, error) {
	args = append(append(append([]string(nil), c.command[1:]...), "-p", c.project), args...)
	cmd := exec.CommandContext(ctx, c.command[0], args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", c.command[0], strings.Join(args, " "), err, tail(append(out.Bytes(), errs.Bytes()...)))
	}
	return out.Bytes(), nil
}

// tail is the end of a program's output, where it says what went wrong.
func tail(out []byte) []byte {
	out = bytes.TrimSpace(out)
	return out[max(0, len(out)-500):]
}

func (c *compose) start(ctx context.Context) error {
	_, err := c.run(ctx, "up", "-d", "--no-build")
	return err
}

func (c *compose) stop(ctx context.Context) error {
	_, err := c.run(ctx, "stop")
	return err
}

func (c *compose) crash(ctx context.Context) error {
	_, err := c.run(ctx, "kill")
	return err
}

func (c *compose) remove(ctx context.Context) error {
	_, err := c.run(ctx, "down", "-v", "-t", "0")
	return err
}

func (c *compose) authority(ctx context.Context) ([]byte, error) {
	return c.run(ctx, "exec", "-T", "ejabberd", "cat", "/data/tls/ca.pem")
}
