package xmpp

import (
	"time"

	"golang.org/x/time/rate"
)

// The pace of a client that was given none. Public servers let 3000 bytes a
// second pass after a burst of 20 kB (ejabberd's defaults), and then stop reading:
// what is already written delays everything behind it.
const (
	defaultRate  = 2500
	defaultBurst = 15_000
	// window is what may be unacknowledged beyond the bucket. A server that reads
	// at once acknowledges at once and is sent as much as it takes; one that has
	// stopped reading is sent no more than this.
	window = 8 << 10
)

// pace decides when bytes may be sent. It is a token bucket that may owe: a
// stanza beyond the burst goes when the bucket is full. Not safe for concurrent use.
type pace struct {
	rate   float64 // bytes per second; 0: no limit
	burst  float64
	window int // 0: the bucket alone decides
	tokens float64
	filled time.Time
}

// newPace makes the pace for one connection, which begins with a full bucket. A
// limit that was asked for is hard. Without acknowledgements so is the default.
func newPace(limit rate.Limit, burst int, acknowledged bool, now time.Time) *pace {
	p := &pace{rate: float64(limit), burst: float64(burst), filled: now}
	switch limit {
	case rate.Inf:
		p.rate = 0
	case 0:
		p.rate = defaultRate
		if acknowledged {
			p.window = window
		}
	}
	if burst == 0 {
		p.burst = defaultBurst
	}
	p.tokens = p.burst
	return p
}

// take tells whether n bytes may be sent now, with unacked bytes on their way,
// and if not, when the bucket lets them.
func (p *pace) take(n, unacked int, now time.Time) (ok bool, wait time.Duration) {
	if p.rate == 0 {
		return true, 0
	}
	if passed := now.Sub(p.filled); passed > 0 {
		p.tokens = min(p.burst, p.tokens+p.rate*passed.Seconds())
		p.filled = now
	}
	need := min(float64(n), p.burst)
	if p.tokens >= need {
		p.tokens -= float64(n)
		return true, 0
	}
	if p.window > 0 && (unacked == 0 || unacked+n <= p.window) {
		return true, 0
	}
	return false, time.Duration((need - p.tokens) / p.rate * float64(time.Second))
}
