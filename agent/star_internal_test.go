package agent

import (
	"math/rand/v2"
	"testing"

	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/sync/netmap"
	"github.com/git-arbor/arbor/xmpp/signal"
)

// TestDrawMapOfStar plans for one content after the other, of a machine with a thin uplink, on maps that know only what came, and
// that by half where a machine was busy: the uplink is crossed once.
func TestDrawMapOfStar(t *testing.T) {
	t.Parallel()
	const contents, stars, line = 6, 60, 25e6
	ids := []string{"a", "b", "c", "d", "e", "f"}
	for _, uplink := range []float64{0.6e6, 1.5e6, 2.5e6, 6e6} {
		twice := 0
		for seed := range uint64(stars) {
			rng := rand.New(rand.NewPCG(seed, 1))
			source := ids[rng.IntN(len(ids))]
			seen := make(map[[2]string]float64)
			for range contents {
				told := make(map[string][]signal.Edge)
				for _, to := range ids {
					for _, from := range ids {
						if from != to {
							e := signal.Edge{From: from, Kind: link.KindStatic, Cost: 200, Rate: uint64(round(seen[[2]string{from, to}]))}
							told[to] = append(told[to], e)
						}
					}
				}
				m, err := netmap.New(drawMap(told))
				if err != nil {
					t.Fatal(err)
				}
				planner := netmap.NewPlanner(m, netmap.Time, netmap.DefaultRoom)
				plan := planner.Plan(planner.Group([]string{source}, ids, 8e6))
				if len(plan.Children(source)) > 1 {
					twice++
				}
				var pass func(from string, rate, up float64)
				pass = func(from string, rate, up float64) {
					below := plan.Children(from)
					for _, h := range below {
						comes := min(rate, up/float64(len(below)), line)
						edge := [2]string{from, h.To}
						seen[edge] = max(seen[edge], comes*(1-rng.Float64()/2))
						pass(h.To, comes, line)
					}
				}
				pass(source, line, uplink)
			}
		}
		if twice > 0 {
			t.Errorf("an uplink of %g bytes a second is crossed more than once by %d of %d contents", uplink, twice, stars*contents)
		}
	}
}
