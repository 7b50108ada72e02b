package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"golang.org/x/time/rate"
)

// Limits are what content and git's own data wait for on their way; nil is no limit. One bucket is shared by as many
// connections as shall stay below it together, and may be changed (SetLimit, SetBurst) at any time.
type Limits struct {
	Up, Down Limiter
}

// Limiter is a token bucket, in bytes: a *rate.Limiter, or a Chain of them. Limit is in bytes a second; Burst is the most
// that WaitN may be asked for at once where there is a limit.
type Limiter interface {
	Limit() rate.Limit
	Burst() int
	WaitN(ctx context.Context, bytes int) error
}

// Chain is buckets that bytes pass one after the other. It is asked for each piece of what is sent, by several goroutines
// at once, so that a limit may begin or cease to count for a session that is under way.
type Chain func() []*rate.Limiter

// Limit is that of the narrowest bucket, in bytes a second.
func (c Chain) Limit() rate.Limit {
	narrowest := rate.Inf
	for _, l := range c() {
		narrowest = min(narrowest, l.Limit())
	}
	return narrowest
}

// Burst is that of the smallest bucket that has a limit.
func (c Chain) Burst() int {
	smallest := math.MaxInt
	for _, l := range c() {
		if l.Limit() != rate.Inf {
			smallest = min(smallest, l.Burst())
		}
	}
	return smallest
}

// WaitN waits until all buckets let the bytes pass.
func (c Chain) WaitN(ctx context.Context, bytes int) error {
	for _, l := range c() {
		if err := l.WaitN(ctx, bytes); err != nil {
			return err
		}
	}
	return nil
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

// Copy copies src to dst, as fast as the limiter lets it; nil is no limit. It ends with ctx.
func Copy(ctx context.Context, dst io.Writer, src io.Reader, l Limiter) (int64, error) {
	buf := make([]byte, bufferSize)
	var done int64
	for {
		n, readErr := src.Read(buf[:slice(l, len(buf))])
		if n > 0 {
			if err := take(ctx, l, n); err != nil {
				return done, err
			}
			m, err := dst.Write(buf[:n])
			done += int64(m)
			if err != nil {
				return done, err
			}
		}
		if err := context.Cause(ctx); err != nil {
			return done, err
		}
		if errors.Is(readErr, io.EOF) {
			return done, nil
		}
		if readErr != nil {
			return done, readErr
		}
	}
}

// slice says how many of n bytes are to be taken from the bucket at once: a part of it, so that many connections that wait
// for it together are not far ahead of it, or behind.
func slice(l Limiter, n int) int {
	if l == nil || l.Limit() == rate.Inf {
		return n
	}
	return min(n, max(l.Burst()/4, 1))
}

// take waits until n bytes, which slice gave, may pass.
func take(ctx context.Context, l Limiter, n int) error {
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
