package shell_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/shell"
)

// TestMain lets the test program stand in for git-annex-shell, which is what is tested.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != shell.Name {
		os.Exit(m.Run())
	}
	s := shell.Shell{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	if err := s.Run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", shell.Name, err)
		os.Exit(1)
	}
}

// environment is a home, and programs in PATH before those of the system.
type environment struct {
	t    *testing.T
	home string
	bin  string // ssh and git-annex-shell
	vars []string
}

// newEnvironment makes an environment in which ssh is ours, and on the other side git-annex-shell.
func newEnvironment(t *testing.T) *environment {
	t.Helper()
	for _, name := range []string{"git", "git-annex"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%s is missing: apt-get install git git-annex", name)
		}
	}
	home := annextest.TempDir(t)
	e := &environment{t: t, home: home, bin: annextest.SSH(t, shell.Name)}
	// The race detector lets a program sleep for a second when it ends, unless told not to.
	e.vars = append(os.Environ(), "PATH="+e.bin+":"+os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0",
		"HOME="+home, "XDG_CONFIG_HOME="+home, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C.UTF-8", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.org")
	return e
}

// command prepares a program, which may have further variables.
func (e *environment) command(dir string, vars []string, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Path = name
	for _, v := range e.vars {
		if path, ok := strings.CutPrefix(v, "PATH="); ok && !strings.Contains(name, "/") {
			for _, d := range filepath.SplitList(path) {
				if _, err := os.Stat(filepath.Join(d, name)); err == nil {
					cmd.Path, cmd.Err = filepath.Join(d, name), nil
					break
				}
			}
		}
	}
	cmd.Dir, cmd.Env = dir, append(slices.Clone(e.vars), vars...)
	return cmd
}

// try runs a program and gives what it writes, errors apart.
func (e *environment) try(dir string, vars []string, name string, args ...string) (stdout, stderr string, err error) {
	e.t.Helper()
	cmd := e.command(dir, vars, name, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err = cmd.Run()
	return out.String(), complaints.String(), err
}

// git runs git, which must succeed, and gives what it prints, without the last newline.
func (e *environment) git(dir string, args ...string) string {
	e.t.Helper()
	out, complaints, err := e.try(dir, nil, "git", args...)
	if err != nil {
		e.t.Fatalf("git %s: %v\n%s%s", strings.Join(args, " "), err, out, complaints)
	}
	return strings.TrimSuffix(out, "\n")
}

// newAnnex makes a repository with an annex in the home.
func (e *environment) newAnnex(name string) (dir string) {
	e.t.Helper()
	dir = filepath.Join(e.home, name)
	e.git("/", "init", "-q", "-b", "main", dir)
	e.git(dir, "annex", "init", "-q", name)
	return dir
}

// add puts a file into the annex.
func (e *environment) add(dir, name string, content []byte) {
	e.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
		e.t.Fatal(err)
	}
	e.git(dir, "annex", "add", "-q", "--", name)
	e.git(dir, "commit", "-q", "-m", "add")
}

// clone makes a clone that reaches the other over ssh.
func (e *environment) clone(served, name string) (dir string) {
	e.t.Helper()
	dir = filepath.Join(e.home, name)
	e.git("/", "clone", "-q", "ssh://here"+served, dir)
	e.git(dir, "annex", "init", "-q", name)
	return dir
}

// random gives n bytes that are the same in every run.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

func keyOf(content []byte) annex.Key {
	return annex.KeyFor(sha256.Sum256(content), int64(len(content)), "", annex.DefaultMaxExtensionLength)
}

// session gives a session of our client with git-annex-shell, ours.
func (e *environment) session(dir string, vars ...string) *p2p.Client {
	e.t.Helper()
	cmd := e.command(e.home, vars, shell.Name, "p2pstdio", dir, client)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	c, err := p2p.NewClient(e.t.Context(), pipes{out, in}, p2p.ClientOptions{Self: client, Greeted: true})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		_ = c.Close()
		if err := cmd.Wait(); err != nil {
			e.t.Errorf("%s: %v", shell.Name, err)
		}
	})
	return c
}

// pipes are the standard input and output of a child.
type pipes struct {
	io.ReadCloser
	in io.WriteCloser
}

func (p pipes) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p pipes) Close() error                { return errors.Join(p.in.Close(), p.ReadCloser.Close()) }
