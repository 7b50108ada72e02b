package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
)

// When a session has ended, git-annex-shell writes git's index and its own logs. On this machine it is given the time: a signal ends it at once, and the
// index stays locked. ssh leaves nothing behind, and its host may be gone.
const (
	shellPatience = time.Minute
	sshPatience   = time.Second
)

// shellSession speaks with git-annex-shell p2pstdio, over ssh or on this machine.
type shellSession struct {
	remote *Remote
	client *p2p.Client
	child  *child
}

func openShell(ctx context.Context, r *Remote, limits p2p.Limits) (Session, error) {
	cmd := r.shellCommand(context.WithoutCancel(ctx), "p2pstdio", r.repo.UUID(), "--uuid", r.UUID)
	patience := shellPatience
	if r.Kind == SSH {
		patience = sshPatience
	}
	c, err := startChild(cmd, patience)
	if err != nil {
		return nil, err
	}
	s := &shellSession{remote: r, child: c}
	s.client, err = p2p.NewClient(ctx, c, p2p.ClientOptions{Self: r.repo.UUID(), Greeted: true, Limits: limits})
	if err == nil && s.client.Peer() != r.UUID {
		err = fmt.Errorf("%w: %s, not %s", ErrOther, s.client.Peer(), r.UUID)
	}
	if err != nil {
		c.Close()
		if ctx.Err() == nil && !errors.Is(err, ErrOther) {
			err = r.shellError(c.complaint, c.exit, err)
		}
		return nil, err
	}
	return s, nil
}

func (s *shellSession) Has(ctx context.Context, key annex.Key) (bool, error) {
	present, err := s.client.CheckPresent(ctx, key)
	return present, s.explain(ctx, err)
}

func (s *shellSession) Get(ctx context.Context, key annex.Key, file string, progress func(int64)) error {
	repo := s.remote.repo
	return s.explain(ctx, arrival{repo, key, s.remote.UUID, progress}.receive(ctx, nil, func(offset int64, dst io.Writer) error {
		request := p2p.GetRequest{Key: key, File: file, Offset: offset}
		if _, ok := key.Size(); !ok {
			request.Room = repo.Room
		}
		_, err := s.client.Get(ctx, request, dst)
		return err
	}))
}

func (s *shellSession) Put(ctx context.Context, key annex.Key, file string, progress func(int64)) error {
	src, err := s.remote.outgoing(key)
	if err != nil {
		return err
	}
	defer src.Close()
	unlock, err := p2p.LockUpload(s.remote.repo, key, s.remote.UUID)
	if err != nil {
		return err
	}
	defer unlock()
	_, err = s.client.Put(ctx, p2p.PutRequest{
		Key: key, File: file, Size: src.info.Size(), Content: meteredReader{src, progress}, Valid: src.unchanged,
	})
	return s.explain(ctx, err)
}

func (s *shellSession) Lock(ctx context.Context, key annex.Key) (unlock func(context.Context) error, err error) {
	unlock, err = s.client.Lock(ctx, key)
	return unlock, s.explain(ctx, err)
}

func (s *shellSession) Close() error {
	err := s.client.Close()
	s.child.Close()
	return err
}

// explain adds what the other side has said to the end of a session.
func (s *shellSession) explain(ctx context.Context, err error) error {
	ended := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE)
	if err == nil || ctx.Err() != nil || !ended || s.client.Err() == nil {
		return err
	}
	s.child.Close()
	return s.remote.shellError(s.child.complaint, s.child.exit, err)
}

// meteredReader tells how far content was read.
type meteredReader struct {
	io.ReaderAt
	progress func(int64)
}

func (m meteredReader) ReadAt(p []byte, offset int64) (int, error) {
	n, err := m.ReaderAt.ReadAt(p, offset)
	if m.progress != nil {
		m.progress(offset + int64(n))
	}
	return n, err
}

// shellCommand runs a command of git-annex-shell for the remote's repository.
func (r *Remote) shellCommand(ctx context.Context, command string, args ...string) *exec.Cmd {
	if r.place.host == "" {
		return r.git.Program(ctx, "git-annex-shell", append([]string{command, r.place.dir}, args...)...)
	}
	there := []string{r.shell} // may be several words
	for _, arg := range append([]string{command, r.place.dir}, args...) {
		there = append(there, "'"+strings.ReplaceAll(arg, "'", `'\''`)+"'")
	}
	options := slices.Clone(r.sshOptions)
	if r.place.port != "" {
		options = append(options, "-p", r.place.port)
	}
	options = append(options, "-T", r.place.host, strings.Join(there, " "))
	return r.git.Program(ctx, "sh", append([]string{"-c", r.git.SSHCommand() + ` "$@"`, "ssh"}, options...)...)
}

// shellError says why git-annex-shell did not do as it was asked, from what it, or ssh on its behalf, has said and how it has ended.
func (r *Remote) shellError(complaint string, exit int, err error) error {
	told := gitrepo.NewRemoteError(r.Name, complaint, err)
	const sshFailed, notFound = 255, 127
	switch {
	case errors.Is(err, p2p.ErrSilent):
		return unreachable(err)
	case strings.Contains(complaint, "expected repository UUID"):
		return fmt.Errorf("%w: %w", ErrOther, told)
	case errors.Is(told, gitrepo.ErrUnreachable):
		return fmt.Errorf("%w: %w", err, told)
	case exit == notFound:
		return fmt.Errorf("%w: %w", ErrNoAnnex, told)
	case exit == sshFailed, exit <= 0:
		return fmt.Errorf("%w: %w", err, told)
	case strings.HasPrefix(complaint, "git-annex-shell:"), strings.Contains(complaint, "\ngit-annex-shell:"):
		// It is there, and its repository is not: a disk that is not mounted.
		return fmt.Errorf("%w: %w", gitrepo.ErrUnreachable, told)
	}
	// A shell that takes git's commands alone, as those of git hosts.
	return fmt.Errorf("%w: %w", ErrNoAnnex, told)
}

// child is a program that is spoken with over its standard input and output. No goroutine serves it.
type child struct {
	cmd      *exec.Cmd
	in, out  *os.File
	errs     *os.File // unlinked; a pipe would block a program that says much
	patience time.Duration
	end      sync.Once

	// After Close:
	complaint string // the end of what it said on its standard error
	exit      int    // its exit code, -1 when a signal has ended it
}

func startChild(cmd *exec.Cmd, patience time.Duration) (_ *child, err error) {
	c := &child{cmd: cmd, patience: patience}
	var stdin, stdout *os.File
	defer func() {
		closeAll(stdin, stdout)
		if err != nil {
			closeAll(c.in, c.out, c.errs)
			err = fmt.Errorf("start %s: %w", cmd.Args[0], err)
		}
	}()
	if stdin, c.in, err = os.Pipe(); err != nil {
		return nil, err
	}
	if c.out, stdout, err = os.Pipe(); err != nil {
		return nil, err
	}
	if c.errs, err = os.CreateTemp("", "arbor-shell-"); err != nil {
		return nil, err
	}
	if err = os.Remove(c.errs.Name()); err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, c.errs
	return c, cmd.Start()
}

func closeAll(files ...*os.File) {
	for _, file := range files {
		if file != nil {
			file.Close()
		}
	}
}

func (c *child) Read(p []byte) (int, error)  { return c.out.Read(p) }
func (c *child) Write(p []byte) (int, error) { return c.in.Write(p) }

// Close ends the program, and waits for it: it sees the end of its input first, and is told to end when it has not after its patience.
func (c *child) Close() error {
	c.end.Do(func() {
		closeAll(c.in, c.out)
		_ = gitrepo.EndProgram(c.cmd, c.patience)
		c.exit, c.complaint = c.cmd.ProcessState.ExitCode(), tail(c.errs)
		c.errs.Close()
	})
	return nil
}

// tail reads the end of a file.
func tail(file *os.File) string {
	const most = 4096
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	end := make([]byte, min(info.Size(), most))
	n, _ := file.ReadAt(end, info.Size()-int64(len(end)))
	return string(end[:n])
}
