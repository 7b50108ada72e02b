package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/sync/shell"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"git-arbor": main, shell.Name: main})
}

// TestScripts runs the program in homes of its own. Besides the commands of testscript there are:
//
//	exits CODE PROGRAM ARGS...  runs the program and checks its exit status
//	agent FILE...               answers on the control socket with the snapshots, one after the other, and writes to calls
//	mode PATH OCTAL             checks the permissions of a file
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			for key, dir := range map[string]string{
				"HOME": "home", "XDG_CONFIG_HOME": "home/.config", "XDG_STATE_HOME": "home/.local/state", "XDG_RUNTIME_DIR": "run",
			} {
				path := filepath.Join(env.WorkDir, dir)
				env.Setenv(key, path)
				if err := os.MkdirAll(path, 0o700); err != nil {
					return err
				}
			}
			env.Setenv("TZ", "UTC")
			// The race detector otherwise sleeps for a second at the end of each process.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"agent": scriptedAgent,
			"mode":  mode,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func mode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	want, err := strconv.ParseUint(args[1], 8, 32)
	ts.Check(err)
	if got := info.Mode().Perm(); (got == os.FileMode(want)) == neg {
		ts.Fatalf("%s has mode %o", args[0], got)
	}
}

// scriptedAgent serves the control socket as a running agent does. What it is asked it writes to the file calls.
func scriptedAgent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: agent SNAPSHOT...")
	}
	var snapshots []status.Snapshot
	for i, file := range args {
		var s status.Snapshot
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &s))
		s.Schema, s.Version = status.Schema, uint64(i+1)
		for j, clone := range s.Clones {
			s.Clones[j].Path = ts.MkAbs(clone.Path)
		}
		for j, warning := range s.Warnings {
			if warning.Clone != "" {
				s.Warnings[j].Clone = ts.MkAbs(warning.Clone)
			}
		}
		snapshots = append(snapshots, s)
	}
	paths, err := config.DefaultPaths(ts.Getenv)
	ts.Check(err)
	calls, err := os.Create(ts.MkAbs("calls"))
	ts.Check(err)
	var mu sync.Mutex
	called := func(what string, req any) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := fmt.Fprintf(calls, "%s %+v\n", what, req)
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	ready := make(chan struct{})
	served := make(chan error, 1)
	go func() {
		served <- control.Serve(ctx, paths.Socket, control.Actions{
			Status: func(ctx context.Context, since uint64) (status.Snapshot, error) {
				if since < uint64(len(snapshots)) {
					return snapshots[since], nil
				}
				stop() // all was shown: the agent ends
				<-ctx.Done()
				return status.Snapshot{}, ctx.Err()
			},
			Sync: func(ctx context.Context, r control.SyncRequest) (control.SyncReply, error) {
				if filepath.Base(r.Clone) == "never" {
					<-ctx.Done()
					return control.SyncReply{}, ctx.Err()
				}
				return control.SyncReply{InStep: r.Wait, Head: "c0ffee", Peers: 2}, called("sync", r)
			},
			Notify: func(_ context.Context, r control.NotifyRequest) error { return called("notify", r) },
			Map: func(_ context.Context, r control.MapRequest) (control.MapReply, error) {
				reply := control.MapReply{Self: "a", Names: map[string]string{"a": "laptop", "b": "desktop", "c": "nas"}, Problem: []byte(`{"schema":1,
"nodes":[{"id":"a"},{"id":"b"},{"id":"c"},{"id":"d"}],"edges":[{"from":"a","to":"b","cost":100,"rate":1e6},{"from":"b","to":"c","cost":100,"rate":1e6}],
"holders":["a"],"wanters":["b","c","d"],"objective":"time","size":2000000}`)}
				return reply, called("map", r)
			},
			Pause:  func(_ context.Context, r control.PauseRequest) error { return called("pause", r) },
			Resume: func(_ context.Context, r control.PauseRequest) error { return called("resume", r) },
			Get: func(_ context.Context, r control.GetRequest, tell func(control.GetProgress) error) error {
				if err := called("get", r); err != nil {
					return err
				}
				if slices.Contains(r.Files, "notes.txt") {
					return &control.Error{Code: "not-annexed", Text: `"notes.txt" is not annexed: it is in git itself, and here`}
				}
				p := control.GetProgress{Contents: 2, Left: 1, Bytes: 1 << 20, Size: 3 << 20, Rate: 1 << 20, From: []string{"desktop"}}
				if err := tell(p); err != nil {
					return err
				}
				p = control.GetProgress{Contents: 2, Bytes: 3 << 20, Size: 3 << 20, From: []string{}, Done: true}
				if slices.Contains(r.Files, "far.jpg") {
					p.Lacking, p.Unreachable = 3, []control.Unreachable{
						{File: "far.jpg", Holders: []string{"nas (offline)"}}, {File: "lost.jpg", Holders: []string{}},
					}
				}
				if slices.Contains(r.Files, "cancelled.jpg") {
					p.Paused = 1
				}
				return tell(p)
			},
			Drop: func(_ context.Context, r control.DropRequest) (control.DropReply, error) {
				reply := control.DropReply{Contents: len(r.Files), Size: 3 << 20}
				switch r.Files[0] {
				case "far.jpg":
					reply = control.DropReply{KeptContents: 4, Kept: []control.Kept{
						{File: "far.jpg", Needed: 2, Found: []string{"nas"}, Unproven: []string{"laptop (offline)", "usb (not in the grove)"}},
						{File: "only.jpg", Needed: 1},
						{File: "used.jpg", InUse: true},
					}}
				case "coming.jpg":
					reply = control.DropReply{Cancelled: 1}
				case "away.jpg":
					reply = control.DropReply{}
				}
				return reply, called("drop", r)
			},
			Want: func(_ context.Context, r control.WantRequest) (control.WantReply, error) {
				if r.Want == "bogus" {
					return control.WantReply{}, &control.Error{Code: "not-understood", Text: `"bogus" is neither`, Fix: "groups are client"}
				}
				name := cmp.Or(r.Repository, "laptop")
				reply := control.WantReply{Repository: name, UUID: "id of " + name, Groups: []string{}, Wanted: r.Want, Problems: []string{}}
				switch {
				case r.Want == "client":
					reply.Groups, reply.Wanted, reply.Means, reply.Required = []string{"home", "client"}, "standard", "include=*", "include=keep/*"
				case name == "nas":
					reply.Required = "include=keep/*"
				case name == "usb":
					reply.Wanted, reply.Problems = "odd", []string{`"odd" is not understood`}
				}
				return reply, called("want", r)
			},
			Why: func(_ context.Context, r control.WhyRequest) (control.WhyReply, error) {
				var reply control.WhyReply
				err := json.Unmarshal([]byte(ts.ReadFile(r.File+".json")), &reply)
				reply.File = r.File
				return reply, errors.Join(err, called("why", r))
			},
			Prioritise: func(_ context.Context, r control.FilesRequest) (control.FilesReply, error) {
				return control.FilesReply{Contents: len(r.Files)}, called("prioritise", r)
			},
			PauseFiles: func(_ context.Context, r control.FilesRequest) (control.FilesReply, error) {
				return control.FilesReply{Contents: len(r.Files)}, called("pause-files", r)
			},
			ResumeFiles: func(_ context.Context, r control.FilesRequest) (control.FilesReply, error) {
				return control.FilesReply{Contents: len(r.Files) - 1}, called("resume-files", r)
			},
			Cancel: func(_ context.Context, r control.FilesRequest) (control.FilesReply, error) {
				return control.FilesReply{Contents: len(r.Files) - 1}, called("cancel", r)
			},
			Invite: func(_ context.Context, r control.InviteRequest) (control.InviteReply, error) {
				return control.InviteReply{
					URI: "xmpp:alice@example.org?roster", Expires: time.Date(2026, 11, 22, 14, 10, 0, 0, time.UTC),
				}, called("invite", r)
			},
			Forget: func(_ context.Context, r control.ForgetRequest) error {
				if r.Device == "nobody" {
					return &control.Error{Code: "no-such-device", Text: `no device is called "nobody"`, Fix: "git arbor status"}
				}
				return called("forget", r)
			},
			Reload: func(context.Context) error { return called("reload", "") },
		}, slog.New(slog.DiscardHandler), func() { close(ready) })
	}()
	select {
	case <-ready:
	case err := <-served:
		ts.Fatalf("%v", err)
	}
	ts.Defer(func() {
		stop()
		ts.Check(<-served)
		calls.Close()
	})
}
