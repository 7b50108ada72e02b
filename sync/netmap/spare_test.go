package netmap_test

import (
	"testing"

	"github.com/git-arbor/arbor/sync/netmap"
)

// TestHolderSendsLittle has the map of a star of which little was measured, and that while machines were busy. A holder serves one
// node where with two the last is done hardly earlier, unless the way by another would be dearer.
func TestHolderSendsLittle(t *testing.T) {
	t.Parallel()
	const unmeasured = 2e6
	measured := map[[2]string]float64{
		{"laptop", "c"}: 4.5e6, {"c", "a"}: 4.1e6, {"a", "nas"}: 2.7e6, {"a", "d"}: 3e6, {"nas", "d"}: 4.3e6, {"d", "b"}: 2.7e6, {"d", "a"}: 570e6,
	}
	wanters := []string{"a", "b", "c", "d", "nas"}
	ids := append([]string{"laptop"}, wanters...)
	for _, c := range []struct {
		between float64 // what edges between the wanters cost
		serves  int
	}{{200, 1}, {201, 2}} {
		up, down := make(map[string]float64), make(map[string]float64)
		var net netmap.Network
		for _, from := range ids {
			for _, to := range ids {
				if from == to {
					continue
				}
				e := netmap.Edge{From: from, To: to, Cost: c.between, Rate: max(unmeasured, measured[[2]string{from, to}]), RTT: 0.05}
				if from == "laptop" {
					e.Cost = 200
				}
				up[from], down[to] = max(up[from], e.Rate), max(down[to], e.Rate)
				net.Edges = append(net.Edges, e)
			}
		}
		for _, id := range ids {
			net.Nodes = append(net.Nodes, netmap.Node{ID: id, Up: up[id], Down: down[id]})
		}
		p := netmap.Problem{Holders: []string{"laptop"}, Wanters: wanters, Objective: netmap.Time, Size: 1 << 24}
		plan := mustPlan(t, mustMap(t, net), p)
		if n := len(plan.Children("laptop")); n != c.serves {
			t.Errorf("others at %g: the laptop serves %d, by %+v", c.between, n, plan.Hops)
		}
	}
}
