package netmap_test

import (
	"fmt"

	"github.com/git-arbor/arbor/sync/netmap"
)

// A file of 200 MB goes from an office to two machines at home. The line between is crossed once.
func ExampleMap_Plan() {
	m, err := netmap.New(netmap.Network{
		Nodes: []netmap.Node{{ID: "laptop", Site: "office"}, {ID: "nas", Site: "home"}, {ID: "desktop", Site: "home"}},
		Sites: []netmap.Site{{ID: "office", Up: 2.5e6}, {ID: "home"}},
		Edges: []netmap.Edge{
			{From: "laptop", To: "nas", Cost: 200, RTT: 0.03},
			{From: "laptop", To: "desktop", Cost: 200, RTT: 0.03},
			{From: "nas", To: "desktop", Cost: 100, Rate: 1e8},
			{From: "desktop", To: "nas", Cost: 100, Rate: 1e8},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := m.Plan(netmap.Problem{
		Holders: []string{"laptop"}, Wanters: []string{"nas", "desktop"}, Objective: netmap.Time, Size: 200e6,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(plan.Text(netmap.Labels{
		Node: func(id string) string { return id },
		Hop:  func(h netmap.Hop) string { return fmt.Sprintf("%.2f MB/s, in %.2f s", h.Rate/1e6, h.Seconds) },
	}))
	// Output:
	// laptop
	// `-- desktop  2.50 MB/s, in 80.03 s
	//     `-- nas  2.50 MB/s, in 80.04 s
}
