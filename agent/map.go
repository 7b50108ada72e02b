package agent

import (
	"context"
	"fmt"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/netmap"
)

// drawMap gives people the map, with the way of one content or of any that is here.
func (a *agent) drawMap(ctx context.Context, r control.MapRequest) (reply control.MapReply, err error) {
	err = a.tell(ctx, r.Clone, func(ctx context.Context, c *clone) (err error) {
		reply, err = c.showMap(ctx, r.File)
		return err
	})
	return reply, err
}

func (c *clone) showMap(ctx context.Context, file string) (control.MapReply, error) {
	if err := c.redraw(); err != nil {
		return control.MapReply{}, err
	}
	reply := control.MapReply{Self: c.id, Names: map[string]string{c.id: c.agent.store.Snapshot().Agent.Name}}
	for _, p := range c.peers.all() {
		reply.Names[p.id.clone] = p.name
	}
	for _, p := range c.remotes() {
		reply.Names[p.id] = p.Name
	}
	have, size := []string{c.id}, int64(netmap.DefaultSize)
	var key annex.Key
	if file != "" {
		var err error
		if have, size, key, err = c.whereIs(ctx, file); err != nil {
			return control.MapReply{}, err
		}
		reply.Key = key.String()
	}
	network, problem := c.want.problem(key, have, size)
	if len(problem.Holders) == 0 {
		return control.MapReply{}, &control.Error{Code: "nobody-has-it", Text: fmt.Sprintf("nobody who can be reached has the content of %q", file), Fix: "git annex whereis tells who had it"}
	}
	data, err := netmap.Encode(network, problem)
	if err != nil {
		return control.MapReply{}, fmt.Errorf("encode map: %w", err)
	}
	reply.Problem = data
	return reply, nil
}

// whereIs gives the clones that have the content of a file, its size and its key.
func (c *clone) whereIs(ctx context.Context, file string) (have []string, size int64, k annex.Key, err error) {
	e, err := c.entry(c.side.head, file)
	if err != nil {
		return nil, 0, annex.Key{}, err
	}
	var annexed bool
	k, annexed = c.keyOf(e)
	if !annexed {
		return nil, 0, annex.Key{}, &control.Error{Code: "not-annexed", Text: fmt.Sprintf("%q is not annexed: it is in git itself, and travels with the commits", file)}
	}
	logged, err := c.annex.Locations(ctx, k)
	if err != nil {
		return nil, 0, annex.Key{}, fmt.Errorf("read location log: %w", err)
	}
	have = c.want.whoHas(k, logged)
	if c.annex.Has(k) {
		have = append(have, c.id)
	}
	size, known := k.Size()
	if !known {
		size = netmap.DefaultSize
	}
	return have, size, k, nil
}
