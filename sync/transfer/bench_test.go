package transfer_test

import (
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
