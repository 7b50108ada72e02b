package transfer

import (
	"testing"
	"time"
)

// TestPace: what came in the last two seconds of waiting counts, whatever was before, and nothing is said earlier.
func TestPace(t *testing.T) {
	const tick, rate = 100 * time.Millisecond, 1000.0
	var p pace
	var now sample
	for i := range 100 {
		got, ok := p.note(now, slowFor)
		if want := now.waited >= slowFor; ok != want {
			t.Fatalf("after %v: %v", now.waited, ok)
		}
		switch {
		case ok && i < 50 && got != rate:
			t.Errorf("after %v: %v bytes a second", now.waited, got)
		case i >= 75 && got != 0:
			t.Errorf("%v bytes a second, long after the last byte", got)
		}
		now.waited += tick
		if i < 50 {
			now.bytes += int64(rate * tick.Seconds())
		}
	}
	if len(p) > 4*paceChecks {
		t.Errorf("%d samples are kept", len(p))
	}
	for range 1000 {
		p.note(now, slowFor) // held up by a limit: no time is counted
	}
	if len(p) > 4*paceChecks {
		t.Errorf("%d samples are kept after a limit", len(p))
	}
}
