package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// fsckLegacy are complaints of fsck about old histories that harm nobody; without these a repository with one odd
// commit from 2009 could not be shared.
var fsckLegacy = []string{
	"zeroPaddedFilemode", "badTimezone", "zeroPaddedDate", "badDate", "badDateOverflow", "missingSpaceBeforeDate",
	"missingSpaceBeforeEmail", "missingNameBeforeEmail", "missingEmail", "badEmail", "badName", "multipleAuthors",
	"missingTaggerEntry", "badFilemode",
}

// fetchArgs are the arguments of every fetch, after those of git itself.
func fetchArgs(git ...string) []string {
	args := append(git, "-c", "fetch.fsckObjects=true", "-c", "fetch.writeCommitGraph=false", "-c", "core.fsync=committed,loose-object")
	for _, id := range fsckLegacy {
		args = append(args, "-c", "fetch.fsck."+id+"=ignore")
	}
	return append(args, "fetch", "--quiet", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules", "--no-show-forced-updates")
}

// Fetch brings the branches of the peer that speaks git-upload-pack on conn to refs/remotes/<peer>/*, its tags to
// refs/tags where that name is free (and all of them to refs/arbor/<peer>/tags/*, where git gc finds them), and returns the peer's references under their own names ("refs/heads/main").
// What arrives is checked by git. It closes conn. Any goroutine may call it.
func (r *Repo) Fetch(ctx context.Context, peer string, conn io.ReadWriteCloser) (map[string]Hash, error) {
	if strings.Contains(peer, "/") || !validRef("refs/remotes/"+peer+"/x") {
		conn.Close()
		return nil, fmt.Errorf("fetch: bad peer name %q", peer)
	}
	heads, tags := "refs/remotes/"+peer+"/", "refs/arbor/"+peer+"/tags/"
	// The descriptor number is the first of cmd.ExtraFiles.
	args := append(fetchArgs("-c", "protocol.fd.allow=always"), "--prune", "--no-tags", "fd::3",
		"+refs/heads/*:"+heads+"*", "+refs/tags/*:"+tags+"*")
	near, far, err := socketpair()
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("fetch from %s: %w", peer, err)
	}
	cmd := r.command(ctx, args...)
	var complaint limitedBuffer
	cmd.Stderr, cmd.ExtraFiles = &complaint, []*os.File{far}
	// Without the other end git ends by itself. Ended by a signal while it makes the lock of a reference, it leaves that; but it may be at work on what
	// has come for long.
	var late *time.Timer
	terminate := cmd.Cancel
	cmd.Cancel = func() error {
		_ = near.Close()
		late = time.AfterFunc(hangUpTime, func() { _ = terminate() })
		return nil
	}
	cmd.WaitDelay = killAfter
	err = converse(cmd, conn, near, far)
	if late != nil {
		late.Stop()
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		err = gitError(args, err, string(complaint))
		for _, folder := range []string{heads, tags} { // for the next fetch
			err = errors.Join(err, r.releaseRefs(folder))
		}
		return nil, fmt.Errorf("fetch from %s: %w", peer, err)
	}
	return r.fetched(ctx, heads, tags)
}

// fetched reads what a fetch brought, and gives the tags that are new their names.
func (r *Repo) fetched(ctx context.Context, heads, tags string) (map[string]Hash, error) {
	theirs := make(map[string]Hash)
	brought, err := r.Refs(ctx, heads)
	if err != nil {
		return nil, err
	}
	for name, h := range brought {
		theirs["refs/heads/"+strings.TrimPrefix(name, heads)] = h
	}
	if brought, err = r.Refs(ctx, tags); err != nil {
		return nil, err
	}
	for name, h := range brought {
		own := "refs/tags/" + strings.TrimPrefix(name, tags)
		theirs[own] = h
		if _, err := r.Ref(own); !errors.Is(err, ErrNotFound) {
			continue
		}
		// One by one: a tag whose name is taken meanwhile, or is a folder of other tags, must not stop the others.
		if err := r.UpdateRefs(ctx, []RefUpdate{{Name: own, New: h}}, "arbor: fetch"); err != nil && ctx.Err() != nil {
			return nil, err
		}
	}
	return theirs, nil
}

// Serve runs a service, only "git-upload-pack", on conn, showing branches and tags alone, without git-annex's copies of branches. It closes conn. Any
// goroutine may call it.
func (r *Repo) Serve(ctx context.Context, service string, conn io.ReadWriteCloser) error {
	if service != "git-upload-pack" {
		conn.Close()
		return fmt.Errorf("serve: no service %q", service)
	}
	args := []string{
		// What git-annex and others keep under refs is theirs, see git-annex.md §1.6 on refs/annex.
		"-c", "transfer.hideRefs=refs/", "-c", "transfer.hideRefs=!refs/heads/", "-c", "transfer.hideRefs=!refs/tags/",
		"-c", "transfer.hideRefs=refs/heads/synced/",
		"upload-pack", "--strict", "--timeout=120", r.gitDir,
	}
	near, far, err := socketpair()
	if err != nil {
		conn.Close()
		return fmt.Errorf("serve %s: %w", service, err)
	}
	cmd := r.command(ctx, args...)
	var complaint limitedBuffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = far, far, &complaint
	if err := converse(cmd, conn, near, far); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("serve %s: %w", service, gitError(args, err, string(complaint)))
	}
	return nil
}

// socketpair makes two connected sockets; near can be waited for with deadlines, far is for a child.
func socketpair() (near, far *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far"), nil
}

// hangUpTime is how long git may take to end when its connection is closed.
const hangUpTime = 2 * time.Second

// drainTime is how long what a child has written last may take to reach the peer.
const drainTime = 30 * time.Second

// converse runs a child that has the socket far, and copies between its other end and conn until the child has
// ended and all it said is sent. It closes everything.
func converse(cmd *exec.Cmd, conn io.ReadWriteCloser, near, far *os.File) error {
	defer near.Close()
	err := cmd.Start()
	far.Close()
	if err != nil {
		conn.Close()
		return err
	}
	var copying sync.WaitGroup
	copying.Go(func() {
		// The peer's end of input must reach the child, which else waits for ever.
		_, _ = io.Copy(near, conn)
		if raw, err := near.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) })
		}
	})
	sent := make(chan struct{})
	copying.Go(func() {
		defer close(sent)
		_, _ = io.Copy(conn, near)
	})
	err = cmd.Wait()
	timeout := time.NewTimer(drainTime)
	defer timeout.Stop()
	select {
	case <-sent:
	case <-timeout.C:
	}
	conn.Close()
	near.Close()
	copying.Wait()
	return err
}
