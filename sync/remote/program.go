package remote

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
)

// ErrNoProgram says that the git-annex program is needed, and not installed.
var ErrNoProgram = errors.New("git-annex is not installed")

// noProgram is ErrNoProgram with what to do about it.
type noProgram struct{}

func (e noProgram) Error() string {
	return "git-annex is not installed, which alone reaches this remote"
}

func (e noProgram) Hint() string         { return "install git-annex, such as with: apt-get install git-annex" }
func (e noProgram) Is(target error) bool { return target == ErrNoProgram }

// programSession runs git-annex once for each call.
type programSession struct {
	remote *Remote
	limits p2p.Limits
}

func openProgram(r *Remote, limits p2p.Limits) (Session, error) {
	if _, err := exec.LookPath("git-annex"); err != nil {
		return nil, noProgram{}
	}
	return programSession{r, limits}, nil
}

func (s programSession) Close() error { return nil }

func (s programSession) Has(ctx context.Context, key annex.Key) (bool, error) {
	err := s.run(ctx, nil, "checkpresentkey", key.String(), s.remote.Name)
	var failed *programError
	if errors.As(err, &failed) && failed.exit == 1 { // 100 is that it could not be checked
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", key, err)
	}
	return true, nil
}

func (s programSession) Get(ctx context.Context, key annex.Key, file string, progress func(int64)) error {
	repo := s.remote.repo
	if repo.Has(key) {
		return nil
	}
	if size, ok := key.Size(); ok {
		if err := repo.Room(size); err != nil {
			return err
		}
	}
	known, err := repo.Locations(ctx, key)
	if err != nil {
		return err
	}
	// `git annex get`, which tells its progress, believes the location log; transferkey tries.
	args := []string{"transferkey", key.String(), "--from=" + s.remote.Name}
	if file != "" {
		args = append(args, "--file="+file)
	}
	if slices.Contains(known, s.remote.UUID) {
		args = jsonArgs("get", key, "--from="+s.remote.Name)
	}
	if err := s.run(ctx, progress, append(args, rateArgs(s.limits.Down)...)...); err != nil {
		if present, hasErr := s.Has(ctx, key); hasErr == nil && !present {
			err = fmt.Errorf("%w: %w", p2p.ErrAbsent, err)
		}
		return fmt.Errorf("get %s: %w", key, err)
	}
	if !repo.Has(key) {
		return fmt.Errorf("get %s: %w", key, p2p.ErrAbsent)
	}
	return nil
}

func (s programSession) Put(ctx context.Context, key annex.Key, _ string, progress func(int64)) error {
	src, err := s.remote.outgoing(key)
	if err != nil {
		return err
	}
	defer src.Close()
	args := append(jsonArgs("copy", key, "--to="+s.remote.Name), rateArgs(s.limits.Up)...)
	if err := s.run(ctx, progress, args...); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

func (s programSession) Lock(ctx context.Context, key annex.Key) (unlock func(context.Context) error, err error) {
	return lockPresent(ctx, s, key)
}

func jsonArgs(command string, key annex.Key, remote string) []string {
	return []string{command, remote, "--key=" + key.String(), "--json", "--json-progress", "--json-error-messages"}
}

// rateArgs tell git-annex the limit as it is at the begin of a transfer.
func rateArgs(l p2p.Limiter) []string {
	if l == nil || l.Limit() == rate.Inf || l.Limit() < 1 {
		return nil
	}
	return []string{"-c", "annex.bwlimit=" + strconv.FormatInt(int64(l.Limit()), 10) + "B"}
}

// programError is the end of git-annex with an exit code.
type programError struct {
	exit int
	*gitrepo.RemoteError
}

func (e *programError) Unwrap() error { return e.RemoteError }

// restaging bounds how long git-annex is given to write the index when it is to be stopped: a signal ends it at once, and the index stays locked.
const restaging = 10 * time.Second

// run runs git-annex.
func (s programSession) run(ctx context.Context, progress func(int64), args ...string) error {
	cmd := s.remote.git.Program(ctx, "git-annex", args...)
	end := cmd.Cancel
	cmd.Cancel = func() error {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for late := time.Now().Add(restaging); s.remote.git.IndexLocked() && time.Now().Before(late); {
			<-tick.C
		}
		return end()
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return noProgram{}
		}
		return err
	}
	told := readProgress(out, progress)
	err = cmd.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ended, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	told += complaint.String()
	e := &programError{ended.ExitCode(), gitrepo.NewRemoteError(s.remote.Name, told, err)}
	if strings.Contains(told, "transfer already in progress") {
		return fmt.Errorf("%w: %w", p2p.ErrBusy, e)
	}
	return e
}

// readProgress reads what git-annex says with --json-progress to its end, and gives why something failed.
func readProgress(out io.Reader, progress func(int64)) string {
	var why strings.Builder
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Bytes   *int64   `json:"byte-progress"`
			Success *bool    `json:"success"`
			Errors  []string `json:"error-messages"`
			Note    string   `json:"note"`
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue
		}
		if line.Bytes != nil && progress != nil {
			progress(*line.Bytes)
		}
		if line.Success != nil && !*line.Success {
			for _, text := range append(line.Errors, line.Note) {
				fmt.Fprintln(&why, text)
			}
		}
	}
	_, _ = io.Copy(io.Discard, out)
	return why.String()
}
