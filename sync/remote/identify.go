package remote

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// identifyTime bounds a remote's answer to who it is.
const identifyTime = time.Minute

// Identify finds out the UUID of a git remote of which git's configuration does not have it yet, as git-annex does: by git-annex-shell
// configlist, or in the configuration of a repository on this machine. It is ErrNoAnnex when there is none to know, which makes the
// remote Plain; ErrUnreachable leaves it open. It is not written down: git-annex writes it where it has checked more.
func (r *Remote) Identify(ctx context.Context) error {
	if r.UUID != "" || r.repo == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, identifyTime)
	defer cancel()
	var uuid string
	var err error
	switch r.Kind {
	case SSH:
		uuid, err = r.askUUID(ctx)
	case Path:
		uuid, err = r.readUUID(ctx)
	case Plain, Directory, Program:
		err = ErrNoAnnex
	}
	if err == nil && uuid == "" {
		err = ErrNoAnnex
	}
	if errors.Is(err, ErrNoAnnex) {
		r.Kind, r.Read, r.Write = Plain, false, false
	}
	if err != nil {
		return fmt.Errorf("identify remote %s: %w", r.Name, err)
	}
	r.UUID = uuid
	if uuid == r.repo.UUID() {
		r.Read, r.Write = false, false // the clone itself
	}
	return nil
}

// askUUID asks git-annex-shell.
func (r *Remote) askUUID(ctx context.Context) (string, error) {
	cmd := r.shellCommand(ctx, "configlist")
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "", unreachable(ctx.Err())
	}
	if err != nil {
		exit := -1
		if ended, ok := errors.AsType[*exec.ExitError](err); ok {
			exit = ended.ExitCode()
		}
		return "", r.shellError(complaint.String(), exit, err)
	}
	for line := range strings.Lines(string(out)) {
		if uuid, ok := strings.CutPrefix(line, "annex.uuid="); ok {
			return strings.TrimSpace(uuid), nil
		}
	}
	return "", nil
}

// readUUID reads the configuration of a repository on this machine.
func (r *Remote) readUUID(ctx context.Context) (string, error) {
	dir, err := filepath.EvalSymlinks(r.place.dir)
	if err != nil {
		return "", unreachable(err)
	}
	cmd := r.git.Program(ctx, "git", "-C", dir, "config", "--local", "--get", "annex.uuid")
	// The repository is there or nowhere: not one around the directory, in which a drive should be mounted.
	cmd.Env = append(cmd.Env, "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok && ended.ExitCode() == 1 {
		return "", nil
	}
	if err != nil {
		told := gitrepo.NewRemoteError(r.Name, complaint.String(), err)
		return "", fmt.Errorf("%w: %w", gitrepo.ErrUnreachable, told)
	}
	return strings.TrimSpace(string(out)), nil
}
