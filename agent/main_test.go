package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/sync/shell"
	"github.com/git-arbor/arbor/xmpp/xmpptest"
)

// homeVariable makes the test binary an agent of the machine with this home, so that tests can kill it.
const homeVariable = "ARBOR_TEST_AGENT"

// sizeVariable makes such an agent's clone live on a file system of this many bytes.
const sizeVariable = "ARBOR_TEST_SIZE"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == shell.Name {
		s := shell.Shell{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
		if err := s.Run(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if home := os.Getenv(homeVariable); home != "" {
		if err := shrink(filepath.Join(home, "clone"), os.Getenv(sizeVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		err := agent.Run(ctx, agent.Options{Paths: pathsIn(home), Version: "test", Log: log})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(xmpptest.Main(m))
}

func pathsIn(home string) config.Paths {
	return config.Paths{
		Config: filepath.Join(home, "config", "config.toml"), State: filepath.Join(home, "state"),
		Runtime: filepath.Join(home, "run"), Socket: filepath.Join(home, "run", "agent.sock"),
	}
}

// spawn runs the agent in a process of its own. Then stop ends it in peace, and kill as a crash would: the git that it has started runs on. The test
// does not end before that has.
func (m *machine) spawn(options ...func(*exec.Cmd)) {
	m.t.Helper()
	cmd := exec.Command("/proc/self/exe") // also for a user who may not look where it is
	cmd.Env = append(m.environ(), homeVariable+"="+m.home)
	cmd.Stderr = logWriter{m.t, m.name}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	for _, option := range options {
		option(cmd)
	}
	cmd.WaitDelay = time.Second
	outlived := m.startOf(cmd)
	m.pid = cmd.Process.Pid
	end := sync.OnceValue(cmd.Wait)
	m.stop = func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err == nil {
			if err := end(); err != nil { // it has found a race, for example
				m.t.Errorf("the agent of %s: %v", m.name, err)
			}
		}
		m.pid = 0
	}
	m.kill = func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = end()
		m.pid = 0
	}
	m.t.Cleanup(outlived)
	m.t.Cleanup(m.kill)
	m.eventually("start", func() error {
		_, err := m.client().Status(context.Background(), 0)
		return err
	})
}

// startOf starts cmd, and returns what waits until all that it has started has ended, too.
func (m *machine) startOf(cmd *exec.Cmd) (outlived func()) {
	m.t.Helper()
	ended, held, err := os.Pipe()
	if err != nil {
		m.t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{nil, held} // which they inherit; the first is for an agent to give another to its git
	if err := errors.Join(cmd.Start(), held.Close()); err != nil {
		m.t.Fatal(err)
	}
	return func() {
		defer ended.Close()
		_ = ended.SetReadDeadline(time.Now().Add(patience))
		if _, err := ended.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			m.t.Errorf("%s: what %s has started does not end: %v", m.name, cmd, err)
		}
	}
}

// smallDisk puts the agent's clone on a file system of this many bytes. It needs user namespaces, or root.
func smallDisk(bytes int) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", sizeVariable, bytes))
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
}

// shrink moves what is in dir to a file system of its own, seen by this process and its children only.
func shrink(dir, size string) error {
	if size == "" {
		return nil
	}
	small := dir + ".small"
	if err := os.Mkdir(small, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size="+size); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if out, err := exec.Command("cp", "-a", dir+"/.", small).CombinedOutput(); err != nil {
		return fmt.Errorf("copy: %w: %s", err, out)
	}
	if err := unix.Mount(small, dir, "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move mount: %w", err)
	}
	return nil
}

// asNobody runs the agent as a user whom file permissions stop, also where the tests run as root.
func asNobody(m *machine) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		if os.Geteuid() != 0 {
			return
		}
		const nobody = 65534
		if err := os.Chmod(filepath.Dir(m.home), 0o755); err != nil {
			m.t.Fatal(err)
		}
		if out, err := exec.Command("chown", "-R", fmt.Sprint(nobody), m.home).CombinedOutput(); err != nil {
			m.t.Fatalf("chown: %v: %s", err, out)
		}
		cmd.Env = append(cmd.Env, "HOME="+m.home)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
}
