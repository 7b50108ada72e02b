package shell

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// Name is what the program is called when it shall be this one.
const Name = "git-annex-shell"

// Shell is one run of the program. All fields are required.
type Shell struct {
	Stdin  *os.File
	Stdout *os.File
	Stderr io.Writer // for git's services
	Getenv func(string) string
	Log    *slog.Logger
}

// The commands that are served here.
const (
	configList    = "configlist"
	notifyChanges = "notifychanges"
	p2pStdio      = "p2pstdio"
)

// usage is the text of the real one, without the commands that only very old clients send.
const usage = `bad parameters

git-annex-shell [-c] command [parameters ...] [option ...]

Commands:

configlist DIRECTORY
notifychanges DIRECTORY
p2pstdio DIRECTORY UUID`

// Run does what a command line says. As a login shell it gets that in one word after -c.
func (s *Shell) Run(ctx context.Context, args []string) error {
	for len(args) > 0 && args[0] == "-c" {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New(usage)
	}
	if strings.HasPrefix(args[0], Name+" ") {
		return s.Run(ctx, words(args[0])[1:])
	}
	switch args[0] {
	case configList, notifyChanges, p2pStdio:
		if len(args) == 1 {
			return errors.New(usage)
		}
		return s.builtin(ctx, args[0], args[1], args[2:])
	}
	return s.gitShell(ctx, args)
}

// builtin does a command in the repository at dir.
func (s *Shell) builtin(ctx context.Context, name, dir string, args []string) error {
	if err := s.checkDirectory(dir); err != nil {
		return err
	}
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	path, err := s.absolute(dir)
	if err != nil {
		return err
	}
	git, err := gitrepo.Open(ctx, path)
	if err != nil {
		return s.unusable(dir, err)
	}
	defer git.Close()
	found := git.Config("annex.uuid")
	switch {
	case o.uuid == "" || o.uuid == found:
	case found == "":
		return fmt.Errorf("expected repository UUID %s but found uninitialized repository", o.uuid)
	default:
		return fmt.Errorf("expected repository UUID %s but found UUID %s", o.uuid, found)
	}
	if name == configList {
		return s.configList(ctx, git, o.autoInit)
	}
	repo, err := annex.OpenToServe(ctx, git)
	if errors.Is(err, annex.ErrNotAnnex) {
		return errors.New("Not a git-annex or gcrypt repository.") //nolint:staticcheck // git-annex's words
	}
	if err != nil {
		return err
	}
	defer repo.Close()
	switch {
	case name == notifyChanges:
		return s.notifyChanges(ctx, git)
	case len(o.params) != 1:
		return errors.New("missing UUID parameter")
	}
	return s.p2pStdio(ctx, git, repo, o.params[0])
}

// unusable says, first in the words that git-annex has for all such cases, why a repository cannot be opened.
func (s *Shell) unusable(dir string, err error) error {
	host, _ := os.Hostname()
	return fmt.Errorf("failed to read git config of git repository in %s on %s; perhaps this repository is not set up correctly or has moved: %w",
		host, dir, err)
}

// configList says which repository it is. One that others have used with git-annex, or that the client asks it for, becomes an annex by being
// asked.
func (s *Shell) configList(ctx context.Context, git *gitrepo.Repo, autoInit bool) error {
	uuid := git.Config("annex.uuid")
	if uuid == "" && (autoInit || sibling(ctx, git)) && !s.set(envReadOnly) {
		repo, err := annex.Init(ctx, git, "")
		if err != nil {
			return err
		}
		uuid = repo.UUID()
		if err := repo.Close(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(s.Stdout, "annex.uuid=%s\ncore.gcrypt-id=%s\n", uuid, git.Config("core.gcrypt-id"))
	return err
}

// sibling says whether a git-annex branch has come here.
func sibling(ctx context.Context, git *gitrepo.Repo) bool {
	refs, err := git.Refs(ctx, "refs/")
	if err != nil {
		return false
	}
	for name := range refs {
		if strings.HasSuffix(name, "/git-annex") {
			return true
		}
	}
	return false
}

// gitShell hands all else to git's own restricted shell.
func (s *Shell) gitShell(ctx context.Context, args []string) error {
	dir := "" // that of a command is its last word
	if last := words(args[len(args)-1]); len(last) > 0 {
		dir = last[len(last)-1]
	}
	if err := cmp.Or(s.checkDirectory(dir), s.refuseIf(envLimited)); err != nil {
		return err
	}
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	cmd := exec.CommandContext(ctx, "git-shell", append([]string{"-c"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.Stdin, s.Stdout, s.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("git-shell failed: %w", err)
	}
	return nil
}
