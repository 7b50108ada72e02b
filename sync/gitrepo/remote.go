package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"
	"syscall"
)

// ErrBehind says that a remote has commits that are not in what was to be pushed. Fetch, merge and push again.
var ErrBehind = errors.New("the remote has commits that are not here")

// ErrUnreachable says that a remote cannot be reached now: a host that is down, a drive that is not plugged in. Nothing follows from that
// about what it has.
var ErrUnreachable = errors.New("not reachable")

// A RemoteError says why git could not talk to a remote, and what a person can do about it.
type RemoteError struct {
	Remote      string // its name
	Text        string // in the words of git or ssh
	unreachable bool
	hint        string
}

func (e *RemoteError) Error() string { return fmt.Sprintf("remote %s: %s", e.Remote, e.Text) }

// Hint is the next step of a person.
func (e *RemoteError) Hint() string { return e.hint }

// Is has errors.Is find ErrUnreachable.
func (e *RemoteError) Is(target error) bool { return target == ErrUnreachable && e.unreachable }

// FetchRemote brings the branches of a remote of git's configuration to refs/remotes/<name>/*; those that it has no more stay here.
// Nobody is asked for a password, and a silent remote is given up after about a minute. Any goroutine may call it.
func (r *Repo) FetchRemote(ctx context.Context, name string) error {
	if !validRemote(name) {
		return fmt.Errorf("fetch: bad remote name %q", name)
	}
	args := append(fetchArgs(remoteArgs...), "--no-prune", name, "+refs/heads/*:refs/remotes/"+name+"/*")
	if _, err := r.gitRemote(ctx, name, args); err != nil {
		err = errors.Join(err, r.releaseRefs("refs/remotes/"+name)) // for the next fetch
		return fmt.Errorf("fetch: %w", err)
	}
	return nil
}

// PushRemote pushes branches ("main", "git-annex") to a remote of git's configuration, as `git annex sync` does: each to
// synced/<branch>, which nobody has checked out, and to the branch itself where the remote lets it. Nothing is forced: it is ErrBehind when the
// remote has commits that are not in one of the branches; the others are pushed then. Branches that are not here are left out. Nobody
// is asked for a password, and a silent remote is given up after about a minute. Any goroutine may call it.
func (r *Repo) PushRemote(ctx context.Context, name string, branches []string) error {
	if !validRemote(name) {
		return fmt.Errorf("push: bad remote name %q", name)
	}
	args := append(slices.Clone(remoteArgs), "push", "--porcelain", "--no-follow-tags", "--recurse-submodules=no", "--no-signed", name)
	refs := len(args)
	for _, branch := range branches {
		head := "refs/heads/" + branch
		switch _, err := r.Ref(head); {
		case errors.Is(err, ErrNotFound):
			continue
		case err != nil:
			return fmt.Errorf("push: %w", err)
		}
		args = append(args, head+":refs/heads/synced/"+branch, head+":"+head)
	}
	if len(args) == refs {
		return nil
	}
	out, err := r.gitRemote(ctx, name, args)
	behind, refused, answered := pushed(out)
	switch {
	case refused != "":
		return fmt.Errorf("push: %w", &RemoteError{Remote: name, Text: refused, hint: "see whether you may push there: git push " + name})
	case behind:
		return fmt.Errorf("push: remote %s: %w", name, ErrBehind)
	case err != nil && !answered:
		return fmt.Errorf("push: %w", err)
	}
	return nil
}

// pushed reads what `git push --porcelain` says of each reference (git-push(1), OUTPUT): whether one was refused because the remote is
// ahead, why one of synced/ was refused for another reason, and whether the remote has answered at all. That a branch itself is not taken, because it is
// checked out or protected, is as expected.
func pushed(out []byte) (behind bool, refused string, answered bool) {
	for line := range strings.Lines(string(out)) {
		flag, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		refs, summary, ok := strings.Cut(rest, "\t")
		if len(flag) != 1 || !ok {
			continue
		}
		_, to, _ := strings.Cut(refs, ":")
		switch {
		case flag != "!":
			answered = true
		case strings.HasPrefix(summary, "[rejected]"), // git push has seen it itself
			strings.Contains(summary, "(non-fast-forward)"), strings.Contains(summary, "(fetch first)"),
			strings.Contains(summary, "failed to update ref"), strings.Contains(summary, "incorrect old value provided"),
			strings.Contains(summary, "cannot lock ref"): // another has pushed in between
			behind = true
		case strings.HasPrefix(to, "refs/heads/synced/"):
			refused = summary
		}
	}
	return behind, refused, answered
}

// validRemote says whether a name of a remote can be part of a reference and is no option.
func validRemote(name string) bool {
	return name != "" && name[0] != '-' && validRef("refs/remotes/"+name+"/x")
}

// remoteArgs end a transfer over HTTP in which nothing has come for a minute.
var remoteArgs = []string{"-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60"}

// sshOptions have ssh ask nobody, and notice within about a minute that a host is gone.
const sshOptions = " -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=20 -o ServerAliveCountMax=3"

// SSHCommand gives the command, for a shell, that reaches other hosts: git's GIT_SSH_COMMAND, core.sshCommand or GIT_SSH, else ssh. Where it is
// OpenSSH's it asks nobody for anything, and gives up a host that is silent for a minute.
func (r *Repo) SSHCommand() string {
	env := func(name string) string {
		for _, kv := range slices.Backward(gitEnv()) {
			if value, ok := strings.CutPrefix(kv, name+"="); ok {
				return value
			}
		}
		return ""
	}
	command := env("GIT_SSH_COMMAND")
	if command == "" {
		command = r.Config("core.sshcommand")
	}
	if program := env("GIT_SSH"); command == "" && program != "" {
		command = "'" + strings.ReplaceAll(program, "'", `'\''`) + "'"
	}
	if command == "" {
		command = "ssh"
	}
	first, _, _ := strings.Cut(command, " ")
	if strings.TrimSuffix(path.Base(strings.Trim(first, `'"`)), ".exe") == "ssh" {
		command += sshOptions
	}
	return command
}

// gitRemote runs a git command that talks to a remote.
func (r *Repo) gitRemote(ctx context.Context, name string, args []string) ([]byte, error) {
	cmd := r.command(ctx, args...)
	// Not what it has started: that may move references in a repository of this machine, and ends when it is left alone.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	// An empty GIT_ASKPASS keeps a window from opening; what credential helpers know is used.
	cmd.Env = append(cmd.Env, "GIT_ASKPASS=", "GIT_SSH_COMMAND="+r.SSHCommand())
	var out bytes.Buffer
	var complaint limitedBuffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	if err == nil {
		return out.Bytes(), nil
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return out.Bytes(), fmt.Errorf("remote %s: %w", name, ctx.Err())
	case !errors.As(err, &exit):
		return out.Bytes(), fmt.Errorf("remote %s: %w", name, err)
	}
	return out.Bytes(), NewRemoteError(name, string(complaint), err)
}

// complaints are what git and ssh say, and what a person can do about it.
var complaints = []struct {
	text        string
	unreachable bool
	hint        string
}{
	{"Permission denied", false, "make ssh to that host work without a password: ssh-add or ssh-copy-id"},
	{"Too many authentication failures", false, "make ssh to that host work without a password: ssh-add or ssh-copy-id"},
	{"Host key verification failed", false, "run ssh to that host once by hand, and compare its key"},
	{"REMOTE HOST IDENTIFICATION HAS CHANGED", false, "find out why the host has another key; ssh-keygen -R forgets the old one"},
	{"Authentication failed", false, "give git the password once, with a credential helper: git config credential.helper store"},
	{"could not read Username", false, "give git the password once, with a credential helper: git config credential.helper store"},
	{"could not read Password", false, "give git the password once, with a credential helper: git config credential.helper store"},
	{"dubious ownership", false, "run: git config --global --add safe.directory with that path, if you trust who owns it"},
	{"Could not resolve host", true, ""},
	{"Connection refused", true, ""},
	{"Connection timed out", true, ""},
	{"Connection closed by", true, ""},
	{"Connection reset by", true, ""},
	{"Broken pipe", true, ""},
	{"Operation timed out", true, ""},
	{"No route to host", true, ""},
	{"Network is unreachable", true, ""},
	{"Operation too slow", true, ""},
	{"Failed to connect", true, ""},
	{"not responding", true, ""},
	{"does not appear to be a git repository", true, "see where it should be: git remote -v"},
	{"is not accessible", true, ""},
	{"does not exist", true, "see where it should be: git remote -v"},
	{"not found", false, "see where it should be: git remote -v"},
}

// NewRemoteError words the failure err of a program that was to reach a remote, from what it has said on its standard error.
func NewRemoteError(name, complaint string, err error) *RemoteError {
	e := &RemoteError{Remote: name, Text: err.Error(), hint: "try by hand: git fetch " + name}
	lines := slices.DeleteFunc(strings.Split(complaint, "\n"), func(line string) bool { return strings.TrimSpace(line) == "" })
	if len(lines) > 0 {
		e.Text = strings.TrimSpace(lines[0]) // what follows is git's general advice
	}
	for _, c := range complaints {
		for _, line := range lines {
			if strings.Contains(line, c.text) {
				e.Text, e.unreachable, e.hint = strings.TrimSpace(line), c.unreachable, c.hint
				if c.hint == "" {
					e.hint = "it is tried again; see whether the host can be reached"
				}
				return e
			}
		}
	}
	return e
}
