package p2p

import (
	"context"
	"fmt"

	"golang.org/x/time/rate"
)

// Limits are the token buckets, in bytes, that content and git's own data pass on their way; nil is no limit. One bucket
// is shared by as many connections as shall stay below it together, and may be changed (SetLimit, SetBurst) at any time.
type Limits struct {
	Up, Down *rate.Limiter
}

// NewLimiter gives a bucket for this many bytes a second. It holds a twentieth of a second's worth: enough that late
// timers cost nothing, so little that a few seconds' average is exact.
func NewLimiter(bytesPerSecond float64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(bytesPerSecond), LimiterBurst(bytesPerSecond))
}

// LimiterBurst gives the bucket size, in bytes, that NewLimiter chooses: for SetBurst when a limit changes.
func LimiterBurst(bytesPerSecond float64) int {
	return int(min(max(bytesPerSecond/20, 256), 1<<30))
}

// slice says how many of n bytes are to be taken from the bucket at once: a part of it, so that many connections that wait
// for it together are not far ahead of it, or behind.
func slice(l *rate.Limiter, n int) int {
	if l == nil || l.Limit() == rate.Inf {
		return n
	}
	return min(n, max(l.Burst()/4, 1))
}

// take waits until n bytes, which slice gave, may pass.
func take(ctx context.Context, l *rate.Limiter, n int) error {
	if l == nil {
		return nil
	}
	for n > 0 {
		k := slice(l, n)
		if err := l.WaitN(ctx, k); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if k > l.Burst() { // the bucket became smaller in between
				continue
			}
			return fmt.Errorf("wait for the rate limit: %w", err)
		}
		n -= k
	}
	return nil
}
