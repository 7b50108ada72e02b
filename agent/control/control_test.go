package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/git-arbor/arbor/agent/status"
)

// start serves the actions on a socket in a fresh directory until the test ends.
func start(t *testing.T, path string, a Actions) *Client {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan struct{})
	var served sync.WaitGroup
	served.Go(func() {
		if err := Serve(ctx, path, a, slog.New(slog.DiscardHandler), func() { close(ready) }); err != nil {
			t.Error(err)
			close(ready)
		}
	})
	c := NewClient(path)
	t.Cleanup(func() {
		c.Close()
		cancel()
		served.Wait()
	})
	<-ready
	return c
}

func socketPath(t *testing.T) string { return filepath.Join(t.TempDir(), "run", "agent.sock") }

func TestCalls(t *testing.T) {
	var got []any
	note := func(v any) { got = append(got, v) }
	expires := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	c := start(t, socketPath(t), Actions{
		Status: func(_ context.Context, since uint64) (status.Snapshot, error) {
			note(since)
			return status.Snapshot{Schema: status.Schema, Version: since + 1}, nil
		},
		Sync: func(_ context.Context, r SyncRequest) (SyncReply, error) {
			note(r)
			return SyncReply{InStep: true, Head: "h", Peers: 2}, nil
		},
		Notify: func(_ context.Context, r NotifyRequest) error { note(r); return nil },
		Pause:  func(_ context.Context, r PauseRequest) error { note(r); return nil },
		Resume: func(_ context.Context, r PauseRequest) error { note(r); return nil },
		Get: func(_ context.Context, r GetRequest, tell func(GetProgress) error) error {
			note(r)
			for left := 2; left >= 0; left-- {
				if err := tell(GetProgress{Contents: 2, Left: left, Done: left == 0}); err != nil {
					return err
				}
			}
			return nil
		},
		Prioritise:  func(_ context.Context, r FilesRequest) (FilesReply, error) { note(r); return FilesReply{7}, nil },
		PauseFiles:  func(_ context.Context, r FilesRequest) (FilesReply, error) { note(r); return FilesReply{2}, nil },
		ResumeFiles: func(_ context.Context, r FilesRequest) (FilesReply, error) { note(r); return FilesReply{3}, nil },
		Cancel:      func(_ context.Context, r FilesRequest) (FilesReply, error) { note(r); return FilesReply{1}, nil },
		Want: func(_ context.Context, r WantRequest) (WantReply, error) {
			note(r)
			return WantReply{Repository: "nas"}, nil
		},
		Why: func(_ context.Context, r WhyRequest) (WhyReply, error) {
			note(r)
			return WhyReply{State: WhyQueued}, nil
		},
		Invite: func(_ context.Context, r InviteRequest) (InviteReply, error) {
			note(r)
			return InviteReply{URI: "xmpp:a@b", Expires: expires}, nil
		},
		Forget: func(_ context.Context, r ForgetRequest) error { note(r); return nil },
		Reload: func(context.Context) error { note("reload"); return nil },
	})
	ctx := t.Context()
	for i, call := range []func() error{
		func() error {
			s, err := c.Status(ctx, 0)
			return want(err, s.Version, uint64(1))
		},
		func() error {
			s, err := c.Status(ctx, 41)
			return want(err, s.Version, uint64(42))
		},
		func() error {
			r, err := c.Sync(ctx, SyncRequest{Clone: "notes", Wait: true})
			return want(err, r, SyncReply{InStep: true, Head: "h", Peers: 2})
		},
		func() error { return c.Notify(ctx, NotifyRequest{Clone: "/a b\"c"}) },
		func() error { return c.Pause(ctx, PauseRequest{}) },
		func() error { return c.Resume(ctx, PauseRequest{Clone: "notes", Accept: true}) },
		func() error { return c.Pause(ctx, PauseRequest{Clone: "notes", Peer: "nas"}) },
		func() error {
			var told []int
			err := c.Get(ctx, GetRequest{FilesRequest{"photos", []string{"a", "b/c"}}, true}, func(p GetProgress) error {
				told = append(told, p.Left)
				return nil
			})
			return want(err, fmt.Sprint(told), "[2 1 0]")
		},
		func() error {
			r, err := c.Prioritise(ctx, FilesRequest{"photos", []string{""}})
			return want(err, r, FilesReply{Contents: 7})
		},
		func() error {
			r, err := c.PauseFiles(ctx, FilesRequest{"photos", []string{"b"}})
			return want(err, r, FilesReply{Contents: 2})
		},
		func() error {
			r, err := c.ResumeFiles(ctx, FilesRequest{"photos", []string{"c"}})
			return want(err, r, FilesReply{Contents: 3})
		},
		func() error {
			r, err := c.Cancel(ctx, FilesRequest{"photos", []string{"a"}})
			return want(err, r, FilesReply{Contents: 1})
		},
		func() error {
			r, err := c.Want(ctx, WantRequest{Clone: "photos", Repository: "nas", Set: true})
			return want(err, r.Repository, "nas")
		},
		func() error {
			r, err := c.Why(ctx, WhyRequest{Clone: "photos", File: "a"})
			return want(err, r.State, WhyQueued)
		},
		func() error {
			r, err := c.Invite(ctx, InviteRequest{Clone: "notes"})
			return want(err, r, InviteReply{URI: "xmpp:a@b", Expires: expires})
		},
		func() error { return c.Forget(ctx, ForgetRequest{Clone: "notes", Device: "nas"}) },
		func() error { return c.Reload(ctx) },
	} {
		if err := call(); err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	asked := []any{
		uint64(0), uint64(41),
		SyncRequest{"notes", true},
		NotifyRequest{"/a b\"c"},
		PauseRequest{},
		PauseRequest{Clone: "notes", Accept: true},
		PauseRequest{Clone: "notes", Peer: "nas"},
		GetRequest{FilesRequest{"photos", []string{"a", "b/c"}}, true},
		FilesRequest{"photos", []string{""}},
		FilesRequest{"photos", []string{"b"}},
		FilesRequest{"photos", []string{"c"}},
		FilesRequest{"photos", []string{"a"}},
		WantRequest{Clone: "photos", Repository: "nas", Set: true},
		WhyRequest{"photos", "a"},
		InviteRequest{"notes"},
		ForgetRequest{"notes", "nas"},
		"reload",
	}
	if !reflect.DeepEqual(got, asked) {
		t.Errorf("the agent was asked %+v, want %+v", got, asked)
	}
}

func want[T comparable](err error, got, want T) error {
	if err == nil && got != want {
		return fmt.Errorf("got %+v, want %+v", got, want)
	}
	return err
}

type hinted struct{ error }

func (hinted) Hint() string { return "do this" }

func TestErrors(t *testing.T) {
	var answer error
	c := start(t, socketPath(t), Actions{Reload: func(context.Context) error { return answer }})
	for _, test := range []struct {
		err  error
		want Error
	}{
		{errors.New("plain"), Error{"failed", "plain", ""}},
		{fmt.Errorf("reload: %w", hinted{errors.New("hinted")}), Error{"failed", "reload: hinted", "do this"}},
		{fmt.Errorf("hidden: %w", &Error{"no-such-clone", "no clone", "git arbor status"}), Error{"no-such-clone", "no clone", "git arbor status"}},
	} {
		answer = test.err
		e, ok := errors.AsType[*Error](c.Reload(t.Context()))
		if !ok || *e != test.want {
			t.Errorf("%v: got %+v, want %+v", test.err, e, test.want)
		}
	}
}

func TestNotRunning(t *testing.T) {
	path := socketPath(t)
	check := func(when string, path string) {
		t.Helper()
		_, err := NewClient(path).Status(t.Context(), 0)
		if !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: got %v, want ErrNotRunning", when, err)
		}
	}
	check("no directory", path)
	check("no directory, long path", filepath.Join(t.TempDir(), strings.Repeat("d", 120), "agent.sock"))
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	check("no socket", path)
	leaveStale(t, path)
	check("stale socket", path)
	if h, ok := ErrNotRunning.(interface{ Hint() string }); !ok || h.Hint() != "git arbor agent" {
		t.Errorf("the hint of %v is not git arbor agent", ErrNotRunning)
	}
}

// leaveStale leaves a socket at path as a killed agent does.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := socketPath(t)
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	leaveStale(t, path)
	c := start(t, path, Actions{Reload: func(context.Context) error { return nil }})
	if err := c.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's directory has mode %v, %v; want 0700", info.Mode(), err)
	}
}

func TestNotASocketIsLeftAlone(t *testing.T) {
	path := socketPath(t)
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Serve(t.Context(), path, Actions{}, slog.New(slog.DiscardHandler), nil)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != "not-a-socket" || e.Hint() == "" {
		t.Errorf("got %v, want a not-a-socket error with a hint", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
		t.Errorf("the file has %q, %v", data, err)
	}
}

func TestSocketIsGoneAfterwards(t *testing.T) {
	path := socketPath(t)
	t.Run("serve", func(t *testing.T) { start(t, path, Actions{}) })
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want no file", err)
	}
}

func TestLongSocketPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("d", 120), "agent.sock")
	if len(path) <= maxAddr {
		t.Fatalf("%d bytes are not long", len(path))
	}
	t.Run("serve", func(t *testing.T) {
		c := start(t, path, Actions{Reload: func(context.Context) error { return nil }})
		if err := c.Reload(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("afterwards: got %v, want no file", err)
	}
}

func TestLongPoll(t *testing.T) {
	store := status.NewStore()
	waiting := make(chan struct{}, 1)
	c := start(t, socketPath(t), Actions{Status: func(ctx context.Context, since uint64) (status.Snapshot, error) {
		if since > 0 {
			waiting <- struct{}{}
		}
		return store.Wait(ctx, since)
	}})
	first, err := c.Status(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		next, err := c.Status(t.Context(), first.Version)
		if err != nil || next.Agent.Name != "laptop" {
			t.Errorf("got %+v, %v", next.Agent, err)
		}
	})
	<-waiting
	store.UpdateAgent(func(a *status.Agent) { a.Name = "laptop" })
	wg.Wait()
}

// TestEnds: a request that waits ends with its client, and with the agent.
func TestEnds(t *testing.T) {
	for _, ends := range []string{"client", "agent"} {
		t.Run(ends, func(t *testing.T) {
			path := socketPath(t)
			waiting, released := make(chan struct{}), make(chan struct{})
			agent, stop := context.WithCancel(t.Context())
			defer stop()
			ready := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				err := Serve(agent, path, Actions{Sync: func(ctx context.Context, _ SyncRequest) (SyncReply, error) {
					close(waiting)
					<-ctx.Done()
					close(released)
					return SyncReply{}, ctx.Err()
				}}, slog.New(slog.DiscardHandler), func() { close(ready) })
				if err != nil {
					t.Error(err)
				}
			})
			<-ready
			client, hangUp := context.WithCancel(t.Context())
			defer hangUp()
			wg.Go(func() {
				want := context.Canceled
				if ends == "agent" {
					want = ErrNotRunning
				}
				if _, err := NewClient(path).Sync(client, SyncRequest{Wait: true}); !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
			})
			<-waiting
			if ends == "client" {
				hangUp()
			} else {
				stop()
			}
			<-released
			stop()
			wg.Wait()
		})
	}
}

// TestGetFails: a refusal before the first progress is an error like any other; an agent that ends before the last is not
// running.
func TestGetFails(t *testing.T) {
	refusal := &Error{"not-annexed", "it is in git itself", ""}
	progress := 0
	c := start(t, socketPath(t), Actions{Get: func(_ context.Context, _ GetRequest, tell func(GetProgress) error) error {
		if progress == 0 {
			return refusal
		}
		return errors.Join(tell(GetProgress{Left: 1}), context.Canceled)
	}})
	heard := 0
	hear := func(GetProgress) error { heard++; return nil }
	if e, ok := errors.AsType[*Error](c.Get(t.Context(), GetRequest{}, hear)); !ok || *e != *refusal || heard > 0 {
		t.Errorf("got %+v after %d progresses, want %+v", e, heard, refusal)
	}
	progress = 1
	if err := c.Get(t.Context(), GetRequest{}, hear); !errors.Is(err, ErrNotRunning) || heard != 1 {
		t.Errorf("got %v after %d progresses, want ErrNotRunning", err, heard)
	}
	enough := errors.New("enough")
	if err := c.Get(t.Context(), GetRequest{}, func(GetProgress) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v, want what the listener said", err)
	}
}

func TestBadRequests(t *testing.T) {
	c := start(t, socketPath(t), Actions{
		Pause: func(context.Context, PauseRequest) error { return errors.New("was called") },
	})
	for _, test := range []struct {
		method, path, body string
		code               int
	}{
		{"GET", "/status?since=x", "", http.StatusBadRequest},
		{"POST", "/pause", "{", http.StatusBadRequest},
		{"POST", "/pause", `{"clone":7}`, http.StatusBadRequest},
		{"POST", "/pause", `{"clone":"` + strings.Repeat("x", maxRequest) + `"}`, http.StatusBadRequest},
		{"GET", "/pause", "", http.StatusMethodNotAllowed},
		{"POST", "/nothing", "", http.StatusNotFound},
	} {
		req, err := http.NewRequestWithContext(t.Context(), test.method, "http://agent"+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != test.code {
			t.Errorf("%s %s: got %s, want %d", test.method, test.path, resp.Status, test.code)
		}
		if e := readError(resp); e == nil {
			t.Errorf("%s %s: no error", test.method, test.path)
		}
		resp.Body.Close()
	}
}
