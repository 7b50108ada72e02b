package gitrepo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// localEnv are the variables that tell git about one repository (git rev-parse --local-env-vars) or change how it
// reads paths. An agent started from a hook or an alias inherits them; they must not reach our children.
var localEnv = []string{
	"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT",
	"GIT_OBJECT_DIRECTORY", "GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE",
	"GIT_INDEX_FILE", "GIT_INDEX_VERSION", "GIT_NO_REPLACE_OBJECTS", "GIT_REPLACE_REF_BASE", "GIT_PREFIX",
	"GIT_SHALLOW_FILE", "GIT_COMMON_DIR", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE", "GIT_QUARANTINE_PATH",
	"GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS",
	"GIT_OPTIONAL_LOCKS", "GIT_TERMINAL_PROMPT", "GIT_PROTOCOL", "GIT_REFLOG_ACTION", "GIT_ATTR_SOURCE", "LC_ALL",
}

// gitEnv is the environment of every git child. Replacement objects are off because objects read in process
// know nothing of them.
func gitEnv() []string {
	env := make([]string, 0, len(os.Environ())+4)
next:
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		for _, local := range localEnv {
			if name == local {
				continue next
			}
		}
		env = append(env, kv)
	}
	return append(env, "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "GIT_NO_REPLACE_OBJECTS=1", "LC_ALL=C")
}

// command prepares a git child that works on this repository. Its paths are relative, so that it stays in the folder it was started in: when that is moved
// away meanwhile, git would else make a new one in its place, for the references it writes.
func (r *Repo) command(ctx context.Context, args ...string) *exec.Cmd {
	full := []string{"--git-dir=.git", "--work-tree=."}
	if r.bare {
		full = []string{"--git-dir=.", "--bare"}
	}
	return r.Program(ctx, "git", append(full, args...)...)
}

// Program prepares another program to run at the top of this repository, with all objects written so far, without what the environment
// may say about other repositories. It gets an own process group, so that a Ctrl-C meant for the agent does not end it half way, and dies with ctx.
func (r *Repo) Program(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = r.dir
	cmd.Env = gitEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// Its own children (index-pack, the helper of a fetch) end with it; git removes its lock files on SIGTERM, but for one that it
	// is about to make.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	if err := r.objects.flush(); err != nil {
		cmd.Err = err // for whoever starts it
	}
	return cmd
}

// killAfter is how long a program that was told to end may take.
const killAfter = 10 * time.Second

// EndProgram waits for a program of Program's whose input has ended. One that has not ended after patience is told to, with those that it has
// started: git takes its lock files with it then, which it cannot do when it is killed, and nobody could go on.
func EndProgram(cmd *exec.Cmd, patience time.Duration) error {
	signal := func(after time.Duration, s syscall.Signal) *time.Timer {
		return time.AfterFunc(after, func() { _ = syscall.Kill(-cmd.Process.Pid, s) })
	}
	defer signal(patience, syscall.SIGTERM).Stop()
	defer signal(patience+killAfter, syscall.SIGKILL).Stop()
	return cmd.Wait()
}

// git runs one git command to its end and returns its standard output.
func (r *Repo) git(ctx context.Context, args ...string) ([]byte, error) {
	return run(ctx, r.command(ctx, args...), nil, args)
}

func run(ctx context.Context, cmd *exec.Cmd, stdin []byte, args []string) ([]byte, error) {
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return out.Bytes(), gitError(args, err, stderr.String())
	}
	return out.Bytes(), nil
}

// gitError words the failure of a git child: its verb and what it complained of, which is its first error, or else its last line.
func gitError(args []string, err error, stderr string) error {
	verb := "git"
	for i := 0; i < len(args); i++ {
		if args[i] == "-c" {
			i++
			continue
		}
		verb = "git " + args[i]
		break
	}
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	complaint := lines[len(lines)-1]
	if i := slices.IndexFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, "fatal: ") || strings.HasPrefix(line, "error: ")
	}); i >= 0 {
		complaint = lines[i]
	}
	if complaint != "" {
		return fmt.Errorf("%s: %w: %s", verb, err, complaint)
	}
	return fmt.Errorf("%s: %w", verb, err)
}
