package gitrepo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// maxComplaint bounds what is kept of a child's standard error.
const maxComplaint = 4096

// child is one long-lived git process that answers requests on pipes. It belongs to one caller at a time.
type child struct {
	args   []string
	cmd    *exec.Cmd
	in     *os.File
	out    *os.File
	rd     *bufio.Reader
	stderr *os.File // unlinked; a pipe would block a child that hooks make talkative
}

// startChild starts `git args...` with pipes for standard input and output. No goroutine serves it.
func (r *Repo) startChild(args ...string) (_ *child, err error) {
	c := &child{args: args}
	var stdin, stdout *os.File
	defer func() {
		for _, f := range []*os.File{stdin, stdout} {
			if f != nil {
				f.Close()
			}
		}
		if err != nil {
			c.closeFiles()
			err = fmt.Errorf("start git %s: %w", args[0], err)
		}
	}()
	if stdin, c.in, err = os.Pipe(); err != nil {
		return nil, err
	}
	if c.out, stdout, err = os.Pipe(); err != nil {
		return nil, err
	}
	if c.stderr, err = os.CreateTemp("", "arbor-git-"); err != nil {
		return nil, err
	}
	if err = os.Remove(c.stderr.Name()); err != nil {
		return nil, err
	}
	c.cmd = r.command(context.Background(), args...)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = stdin, stdout, c.stderr
	if err = c.cmd.Start(); err != nil {
		return nil, err
	}
	c.rd = bufio.NewReader(c.out)
	return c, nil
}

// bounded makes reads and writes of the child fail when ctx ends. The caller calls the returned function when done.
func (c *child) bounded(ctx context.Context) (done func()) {
	stop := context.AfterFunc(ctx, func() {
		past := time.Unix(1, 0)
		_ = c.in.SetDeadline(past)
		_ = c.out.SetDeadline(past)
	})
	return func() { stop() }
}

// send writes a whole request.
func (c *child) send(request []byte) error {
	if _, err := c.in.Write(request); err != nil {
		return c.failed(err)
	}
	return nil
}

// maxRequest is how long a request about many paths may be, in bytes: the least that a pipe takes (PIPE_BUF), so that git
// never waits for us to read answers while we wait for it to read.
const maxRequest = 4096

// Request makes a request of -z --stdin about the first of paths, each with prefix before it: as many as go in one, at
// least one. Their answers are to be read before the next request is sent.
func Request(prefix string, paths []string) (request []byte, asked int) {
	for _, p := range paths {
		if asked > 0 && len(request)+len(prefix)+len(p)+1 > maxRequest {
			break
		}
		request = append(append(append(request, prefix...), p...), 0)
		asked++
	}
	return request, asked
}

// field reads up to delim, which is cut off.
func (c *child) field(delim byte) (string, error) {
	s, err := c.rd.ReadString(delim)
	if err != nil {
		return "", c.failed(err)
	}
	return s[:len(s)-1], nil
}

// failed adds what the child said on standard error.
func (c *child) failed(err error) error {
	msg := make([]byte, maxComplaint)
	n, _ := c.stderr.ReadAt(msg, 0)
	return gitError(c.args, err, strings.TrimSpace(string(msg[:n])))
}

// quiet forgets what the child said on standard error so far.
func (c *child) quiet() {
	if st, err := c.stderr.Stat(); err != nil || st.Size() == 0 {
		return
	}
	if c.stderr.Truncate(0) == nil {
		_, _ = c.stderr.Seek(0, io.SeekStart)
	}
}

func (c *child) closeFiles() {
	for _, f := range []*os.File{c.in, c.out, c.stderr} {
		if f != nil {
			f.Close()
		}
	}
}

// stop ends the child: it sees the end of its input first, which makes git roll back what is open, and is told to end
// when it has not a second later, as a hook that hangs.
func (c *child) stop() {
	c.in.Close()
	_ = EndProgram(c.cmd, time.Second) // how it ended has been told where it failed
	c.closeFiles()
}
