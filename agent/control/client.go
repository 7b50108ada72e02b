package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"syscall"

	"github.com/git-arbor/arbor/agent/status"
)

// Client talks to the agent behind one socket. Its methods may be called from any goroutine; each returns
// [ErrNotRunning] when nobody answers there, and an [*Error] when the agent says no.
type Client struct {
	http http.Client
}

// NewClient returns a client for the socket. It does not connect yet.
func NewClient(socketPath string) *Client {
	return &Client{http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			addr, release, err := shortAddr(socketPath)
			if err != nil {
				return nil, err
			}
			defer release()
			return new(net.Dialer).DialContext(ctx, "unix", addr)
		},
	}}}
}

// Close drops idle connections. The client stays usable.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status returns the newest snapshot. With since > 0 it waits until there is one whose version is not since.
func (c *Client) Status(ctx context.Context, since uint64) (status.Snapshot, error) {
	path := "/status"
	if since > 0 {
		path += "?since=" + strconv.FormatUint(since, 10)
	}
	var snapshot status.Snapshot
	err := c.do(ctx, http.MethodGet, path, nil, &snapshot)
	return snapshot, err
}

// Sync starts a sync, and with req.Wait waits until the clone and its peers that are online are in step.
func (c *Client) Sync(ctx context.Context, req SyncRequest) (SyncReply, error) {
	var reply SyncReply
	err := c.do(ctx, http.MethodPost, "/sync", req, &reply)
	return reply, err
}

// Notify makes the agent look at the clone now.
func (c *Client) Notify(ctx context.Context, req NotifyRequest) error {
	return c.do(ctx, http.MethodPost, "/notify", req, nil)
}

// Pause stops syncing until Resume.
func (c *Client) Pause(ctx context.Context, req PauseRequest) error {
	return c.do(ctx, http.MethodPost, "/pause", req, nil)
}

// Resume ends a pause.
func (c *Client) Resume(ctx context.Context, req PauseRequest) error {
	return c.do(ctx, http.MethodPost, "/resume", req, nil)
}

// Get asks for the contents of files, and calls tell with each progress, of which the last is Done.
func (c *Client) Get(ctx context.Context, req GetRequest, tell func(GetProgress) error) error {
	resp, err := c.send(ctx, http.MethodPost, "/get", req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	parts := json.NewDecoder(resp.Body)
	for {
		var p GetProgress
		if err := parts.Decode(&p); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("wait for contents: %w", ErrNotRunning) // it ended before it was done
		}
		if err := tell(p); err != nil || p.Done {
			return err
		}
	}
}

// Prioritise has the contents of files transferred before all others.
func (c *Client) Prioritise(ctx context.Context, req FilesRequest) (FilesReply, error) {
	var reply FilesReply
	err := c.do(ctx, http.MethodPost, "/prioritise", req, &reply)
	return reply, err
}

// PauseFiles ends the transfer of the contents of files until ResumeFiles, Get or Prioritise; what has come is kept.
func (c *Client) PauseFiles(ctx context.Context, req FilesRequest) (FilesReply, error) {
	var reply FilesReply
	err := c.do(ctx, http.MethodPost, "/pause-files", req, &reply)
	return reply, err
}

// ResumeFiles ends PauseFiles and Cancel.
func (c *Client) ResumeFiles(ctx context.Context, req FilesRequest) (FilesReply, error) {
	var reply FilesReply
	err := c.do(ctx, http.MethodPost, "/resume-files", req, &reply)
	return reply, err
}

// Cancel is PauseFiles, and forgets what has come.
func (c *Client) Cancel(ctx context.Context, req FilesRequest) (FilesReply, error) {
	var reply FilesReply
	err := c.do(ctx, http.MethodPost, "/cancel", req, &reply)
	return reply, err
}

// Drop removes the contents of files from here where others have enough copies.
func (c *Client) Drop(ctx context.Context, req DropRequest) (DropReply, error) {
	var reply DropReply
	err := c.do(ctx, http.MethodPost, "/drop", req, &reply)
	return reply, err
}

// Want gives, or sets, what a repository wants.
func (c *Client) Want(ctx context.Context, req WantRequest) (WantReply, error) {
	var reply WantReply
	err := c.do(ctx, http.MethodPost, "/want", req, &reply)
	return reply, err
}

// Why says where the content of a file is and comes from.
func (c *Client) Why(ctx context.Context, req WhyRequest) (WhyReply, error) {
	var reply WhyReply
	err := c.do(ctx, http.MethodPost, "/why", req, &reply)
	return reply, err
}

// Map gives the network as the clone knows it.
func (c *Client) Map(ctx context.Context, req MapRequest) (MapReply, error) {
	var reply MapReply
	err := c.do(ctx, http.MethodPost, "/map", req, &reply)
	return reply, err
}

// Invite makes an invitation for one more device.
func (c *Client) Invite(ctx context.Context, req InviteRequest) (InviteReply, error) {
	var reply InviteReply
	err := c.do(ctx, http.MethodPost, "/invite", req, &reply)
	return reply, err
}

// Forget revokes a device.
func (c *Client) Forget(ctx context.Context, req ForgetRequest) error {
	return c.do(ctx, http.MethodPost, "/forget", req, nil)
}

// Reload makes the agent read its configuration again.
func (c *Client) Reload(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/reload", nil, nil)
}

// do sends one request. reply is filled from the answer unless it is nil.
func (c *Client) do(ctx context.Context, method, path string, body, reply any) error {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if reply == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(reply); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("read answer of agent: %w", err)
	}
	return nil
}

// send sends one request and gives an answer that is not a refusal. The caller closes its body.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("ask agent: %w", err)
		}
		payload = bytes.NewReader(data)
	}
	// The host is never resolved: the transport dials the socket.
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, payload)
	if err != nil {
		return nil, fmt.Errorf("ask agent: %w", err)
	}
	resp, err := c.http.Do(req)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNotRunning
	default:
		return nil, fmt.Errorf("ask agent: %w", errors.Unwrap(err))
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusServiceUnavailable {
		return nil, ErrNotRunning // it is stopping
	}
	return nil, readError(resp)
}

func readError(resp *http.Response) error {
	e := new(Error)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxRequest)).Decode(e); err != nil || e.Text == "" {
		return &Error{
			Code: "unknown",
			Text: "the agent answered " + resp.Status,
			Fix:  "the running agent may be of another version: restart it",
		}
	}
	return e
}
