package p2p

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// TestChain has two connections pass a bucket that they share, and one of them a bucket of its own before: over ten seconds
// the limits hold within a twentieth, and nothing is left unused.
func TestChain(t *testing.T) {
	for _, test := range []struct {
		name        string
		shared, own float64 // bytes a second; 0: no limit
		exempt      bool    // the first is not asked to pass the shared one
		both, most  float64 // what passes together, and at most with the bucket of its own
	}{
		{name: "shared", shared: 100_000, both: 100_000, most: 100_000},
		{name: "own below shared", shared: 100_000, own: 20_000, both: 100_000, most: 20_000},
		{name: "own above shared", shared: 10_000, own: 20_000, both: 10_000, most: 10_000},
		{name: "exempt", shared: 100_000, own: 20_000, exempt: true, both: 120_000, most: 20_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared, own := bucket(test.shared), bucket(test.own)
				first := Chain(func() []*rate.Limiter {
					if test.exempt {
						return []*rate.Limiter{own}
					}
					return []*rate.Limiter{own, shared}
				})
				const seconds = 10
				ctx, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
				defer cancel()
				second := make(chan float64, 1)
				go func() { second <- pass(ctx, shared) }()
				passed := pass(ctx, first)
				near(t, "both", passed+<-second, seconds*test.both)
				if passed > 1.05*seconds*test.most || passed == 0 {
					t.Errorf("the first passed %.0f bytes, at most %.0f are allowed", passed, seconds*test.most)
				}
			})
		})
	}
}

// TestLimitIsFair has sessions of one clone and of another, each with several peers, pass one bucket: all get the same.
func TestLimitIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sessions, seconds, limit = 5, 10, 1_000_000
		shared := bucket(limit)
		ctx, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
		defer cancel()
		passed := make(chan float64, sessions)
		for range sessions {
			own := bucket(0) // of the peer
			go func() { passed <- pass(ctx, Chain(func() []*rate.Limiter { return []*rate.Limiter{own, shared} })) }()
		}
		for range sessions {
			near(t, "a session", <-passed, seconds*limit/sessions)
		}
	})
}

// TestChainChanges has a limit of a running session fall, rise, and begin to count.
func TestChainChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared, own := bucket(3000), bucket(0)
		counts := false
		chain := Chain(func() []*rate.Limiter {
			if counts {
				return []*rate.Limiter{own, shared}
			}
			return []*rate.Limiter{own}
		})
		for _, step := range []struct {
			own, want float64
			counts    bool
		}{{2_000, 2_000, false}, {1_000_000, 1_000_000, false}, {5_000, 5_000, false}, {5_000, 3000, true}, {1_024, 1_024, true}, {5_000, 5_000, false}} {
			own.SetBurst(LimiterBurst(step.own))
			own.SetLimit(rate.Limit(step.own))
			counts = step.counts
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			near(t, "after the change", pass(ctx, chain), 10*step.want)
			cancel()
		}
	})
}

func bucket(bytesPerSecond float64) *rate.Limiter {
	if bytesPerSecond == 0 {
		return rate.NewLimiter(rate.Inf, 256)
	}
	return NewLimiter(bytesPerSecond)
}

// pass takes bytes as fast as it may until ctx ends, and gives how many passed.
func pass(ctx context.Context, l Limiter) (bytes float64) {
	for {
		k := slice(l, 64<<10)
		if take(ctx, l, k) != nil {
			return bytes
		}
		bytes += float64(k)
	}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if got < 0.95*want || got > 1.05*want {
		t.Errorf("%s: %.0f bytes passed, not %.0f", what, got, want)
	}
}

// TestCopy copies as fast as the bucket allows, and no further than the context.
func TestCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content, begun := strings.Repeat("x", 1_000_000), time.Now()
		var dst strings.Builder
		n, err := Copy(t.Context(), &dst, strings.NewReader(content), NewLimiter(100_000))
		if err != nil || n != int64(len(content)) || dst.String() != content {
			t.Fatalf("%d bytes, %v", n, err)
		}
		near(t, "seconds", time.Since(begun).Seconds(), 10)
		dst.Reset()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		n, err = Copy(ctx, &dst, strings.NewReader(content), NewLimiter(100_000))
		if !errors.Is(err, context.Canceled) || n != int64(dst.Len()) || n > 510_000 || n < 400_000 {
			t.Errorf("within 5 s %d bytes, %v", n, err)
		}
	})
}
