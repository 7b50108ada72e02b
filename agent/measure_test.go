package agent_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/sync/netmap"
)

// TestProbe has a machine measure a link that it has got nothing over since it was started.
func TestProbe(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	content := noise(3_000_000)
	ms[0].save("large.bin", content)
	ms[1].has("large.bin", content)
	settled(t, ms...)
	ms[1].stop()
	ms[1].probeAfter = 10 * time.Millisecond
	ms[1].start()
	ms[1].eventually("measure what the laptop sends", func() error {
		reply, err := ms[1].client().Map(t.Context(), control.MapRequest{Clone: ms[1].dir})
		if err != nil {
			return err
		}
		n, _, err := netmap.Decode(reply.Problem)
		if err != nil {
			return err
		}
		for _, e := range n.Edges {
			if e.To == reply.Self && e.Rate != 1e9 { // which is what a link within a host is taken for
				return nil
			}
		}
		return fmt.Errorf("the map is %s", reply.Problem)
	})
}
