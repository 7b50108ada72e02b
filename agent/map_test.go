package agent_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/sync/netmap"
)

// TestMap has three machines draw the same map, and a content reach them all along it.
func TestMap(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop", "nas")
	first, second := noise(3_000_000), noise(3_000_000)
	ms[0].save("first.bin", first)
	for _, m := range ms[1:] {
		m.has("first.bin", first)
	}
	ms[1].save("second.bin", second)
	for _, m := range ms {
		m.has("second.bin", second)
	}
	settled(t, ms...)
	var before string
	for _, m := range ms {
		m.eventually("draw the map of the others", func() error {
			reply, err := m.client().Map(t.Context(), control.MapRequest{Clone: m.dir, File: "first.bin"})
			if err != nil {
				return err
			}
			net, problem, err := netmap.Decode(reply.Problem)
			if err != nil {
				return err
			}
			if len(problem.Holders) != 3 || len(reply.Names) != 3 {
				return fmt.Errorf("the content is with %v of %v", problem.Holders, reply.Names)
			}
			for _, e := range net.Edges {
				if e.Cost != 100 {
					return fmt.Errorf("%s gets from %s over a line that costs %g", reply.Names[e.To], reply.Names[e.From], e.Cost)
				}
			}
			if before != "" && string(reply.Problem) != before {
				return fmt.Errorf("the map is\n%s, that of another is\n%s", reply.Problem, before)
			}
			before = string(reply.Problem)
			return nil
		})
	}
	reply, err := ms[2].client().Map(t.Context(), control.MapRequest{Clone: ms[2].dir})
	if err != nil {
		t.Fatal(err)
	}
	net, problem, err := netmap.Decode(reply.Problem)
	if err != nil {
		t.Fatal(err)
	}
	m, err := netmap.New(net)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := m.Plan(problem)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Hops) != 2 || len(plan.Unreachable) != 0 || plan.Roots()[0] != reply.Self {
		t.Errorf("what is new on the nas travels %+v", plan)
	}
	ms[0].save("small.txt", "in git\n")
	ms[2].has("small.txt", "in git\n")
	for file, code := range map[string]string{"small.txt": "not-annexed", "none": "no-such-file"} {
		_, err := ms[2].client().Map(t.Context(), control.MapRequest{Clone: ms[2].dir, File: file})
		if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != code {
			t.Errorf("map of %s: %v", file, err)
		}
	}
}
