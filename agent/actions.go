package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
)

// actions are what the control socket can ask for. run is the agent's context: what is begun here outlives the request.
func (a *agent) actions(run context.Context) control.Actions {
	return control.Actions{
		Status: func(ctx context.Context, since uint64) (status.Snapshot, error) {
			if since == 0 {
				return a.store.Snapshot(), nil
			}
			return a.store.Wait(ctx, since)
		},
		Sync: a.sync,
		Notify: func(ctx context.Context, r control.NotifyRequest) error {
			return a.tell(ctx, r.Clone, func(_ context.Context, c *clone) error {
				c.side.audit, c.side.moved = true, true
				return nil
			})
		},
		Pause:      func(ctx context.Context, r control.PauseRequest) error { return a.pauseAll(ctx, r, true) },
		Resume:     func(ctx context.Context, r control.PauseRequest) error { return a.pauseAll(ctx, r, false) },
		Get:        a.get,
		Prioritise: a.prioritise,
		Cancel:     a.cancel,
		PauseFiles: a.pauseFiles, ResumeFiles: a.resumeFiles,
		Drop: a.drop,
		Want: a.want,
		Why:  a.why,
		Map:  a.drawMap,
		Invite: func(ctx context.Context, r control.InviteRequest) (reply control.InviteReply, err error) {
			err = a.tell(ctx, r.Clone, func(_ context.Context, c *clone) (err error) {
				reply, err = c.invite(time.Now())
				return err
			})
			return reply, err
		},
		Forget: func(ctx context.Context, r control.ForgetRequest) error {
			return a.tell(ctx, r.Clone, func(ctx context.Context, c *clone) error { return c.forget(ctx, r.Device) })
		},
		Reload: func(context.Context) error { return a.reload(run) },
	}
}

// find returns the clone with this path or name; the only one when which is empty.
func (a *agent) find(which string) (*clone, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found *clone
	for path, r := range a.clones {
		if which == "" || path == which || r.conf.Name == which {
			if found != nil {
				return nil, &control.Error{Code: "ambiguous", Text: fmt.Sprintf("%q means more than one clone", which), Fix: "give the path"}
			}
			found = r.clone
		}
	}
	if found == nil {
		return nil, &control.Error{Code: "no-clone", Text: fmt.Sprintf("the agent keeps no clone %q", which), Fix: "git arbor init makes one; git arbor status lists them"}
	}
	if found.unusable.Load() {
		return nil, &control.Error{Code: "clone-unusable", Text: fmt.Sprintf("the clone %s cannot be used now", found.conf.Path), Fix: "git arbor status says why"}
	}
	return found, nil
}

// tell has the actor of one clone do something, and waits.
func (a *agent) tell(ctx context.Context, which string, f func(context.Context, *clone) error) error {
	c, err := a.find(which)
	if err != nil {
		return err
	}
	asked := c.ask(ctx, func(ctx context.Context) { err = f(ctx, c) })
	return errors.Join(asked, err)
}

// tellAll is tell for all clones when which is empty.
func (a *agent) tellAll(ctx context.Context, which string, f func(context.Context, *clone) error) error {
	if which != "" {
		return a.tell(ctx, which, f)
	}
	var errs []error
	for _, path := range a.paths() {
		errs = append(errs, a.tell(ctx, path, f))
	}
	return errors.Join(errs...)
}

func (a *agent) paths() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var paths []string
	for path := range a.clones {
		paths = append(paths, path)
	}
	return paths
}

// sync looks at everything now, here and at the peers. With Wait it returns when all have the same.
func (a *agent) sync(ctx context.Context, r control.SyncRequest) (control.SyncReply, error) {
	c, err := a.find(r.Clone)
	if err != nil {
		return control.SyncReply{}, err
	}
	err = c.ask(ctx, func(ctx context.Context) {
		c.syncAll(ctx)
		c.report() // from here on the status is not that of before
	})
	if err != nil {
		return control.SyncReply{}, err
	}
	var since uint64
	for {
		s, err := a.store.Wait(ctx, since)
		if err != nil {
			return control.SyncReply{}, err
		}
		since = s.Version
		for _, row := range s.Clones {
			if row.Path != c.conf.Path {
				continue
			}
			reply := control.SyncReply{InStep: row.State == status.StateInStep, Head: row.Head}
			for _, p := range row.Peers {
				if p.Online {
					reply.Peers++
				}
			}
			switch row.State {
			case status.StateOffline, status.StateHalted, status.StatePaused: // more will not come of it
				return reply, nil
			}
			if !r.Wait || reply.InStep {
				return reply, nil
			}
		}
	}
}

// accept takes what halted the clone for what the person wants.
func (c *clone) accept() {
	if h := c.condition.halt; h != nil {
		c.clear(h.code)
		c.condition.halt, c.condition.problem = nil, nil
		c.side.accept, c.side.audit = true, true
	}
}
