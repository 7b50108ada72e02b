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

// BenchmarkSwarm gets 64 MiB from one to four holders that have it, each of which brings 16 MiB a second. In "uneven" the second brings
// an eighth of that. The ratio is the time to that of one holder.
func BenchmarkSwarm(b *testing.B) {
	content := random(64*mib, 2)
	names := []string{"a", "b", "c", "d"}
	get := func(b *testing.B, rates ...float64) time.Duration {
		s, to, key := swarm(b, content, names[:len(rates)]...)
		for i, rate := range rates {
			s.nodes[names[i]].server.Limits.Up = p2p.NewLimiter(rate)
		}
		begun := time.Now()
		to.q.Add(jobs(key)...)
		to.q.awaitPresent(b, 1)
		took := time.Since(begun)
		s.kill()
		return took
	}
	const rate = 16 * mib
	one := get(b, rate)
	for name, rates := range map[string][]float64{
		"two": {rate, rate}, "three": {rate, rate, rate}, "four": {rate, rate, rate, rate}, "uneven": {rate, rate / 8}, "uneven first": {rate / 8, rate},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(get(b, rates...).Seconds()/one.Seconds(), "ratio")
			}
		})
	}
}
