package signal

import (
	"sync/atomic"
)

// A Counter numbers the signals of one start of an agent. Its methods may be
// called by any goroutine.
type Counter struct {
	epoch uint64
	seq   atomic.Uint64
}

// NewCounter returns a counter for an epoch that was never used before: the agent
// takes it from grove.Device.NextEpoch, which keeps it on disk. So the sequence
// itself needs no disk.
func NewCounter(epoch uint64) *Counter { return &Counter{epoch: epoch} }

// Next returns the numbers of the next signal.
func (c *Counter) Next() (epoch, seq uint64) { return c.epoch, c.seq.Add(1) }
