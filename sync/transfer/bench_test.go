package transfer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
)

// BenchmarkThousandSmall gets 1,000 contents of 4 KiB, each synced to disk.
func BenchmarkThousandSmall(b *testing.B) {
	from := newClone(b)
	var contents [][]byte
	for i := range 1000 {
		content := random(4096, byte(i))
		content[0], content[1] = byte(i), byte(i>>8)
		contents = append(contents, content)
	}
	keys := from.put(b, contents...)
	n := newNetwork(b, map[string]peer{"a": honest(from, p2p.Limits{})})
	for b.Loop() {
		to := newClone(b)
		begun := time.Now()
		q := startQueue(b, optionsFor(to, n))
		q.Add(jobs(keys...)...)
		q.await(b, "all", func() bool { return len(q.told(transfer.Present)) == len(keys) })
		b.ReportMetric(float64(len(keys))/time.Since(begun).Seconds(), "keys/s")
		q.stop()
	}
}

// BenchmarkChain gets 32 MiB over lines of 16 MiB a second: by one, and by five in a row.
func BenchmarkChain(b *testing.B) {
	for _, hops := range []int{1, 5} {
		b.Run(fmt.Sprint(hops), func(b *testing.B) {
			content := random(32*mib, 1)
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				b.StopTimer()
				names := []string{"a", "b", "c", "d", "e", "f"}[:hops+1]
				s, key := chain(b, content, names...)
				for _, n := range s.nodes {
					n.server.Limits.Up = p2p.NewLimiter(16 * mib)
				}
				b.StartTimer()
				for _, name := range names[1:] {
					s.nodes[name].q.Add(jobs(key)...)
				}
				s.nodes[names[hops]].q.awaitPresent(b, 1)
				b.StopTimer()
				s.kill()
				b.StartTimer()
			}
		})
	}
}
