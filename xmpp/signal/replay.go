package signal

import (
	"fmt"
	"sync"
)

// Replay remembers which signals were accepted, so that one which comes again,
// be it repeated by the server, resent by stream management or recorded by
// somebody, is dropped. The zero value is empty and ready. Its methods may be
// called by any goroutine.
//
// Within an epoch a signal is accepted once, up to 63 places behind the newest
// (presence and messages may overtake each other), but a Vector only when none
// newer was: it replaces the last, which may come again, because a server hands it
// to a receiver that logs in anew. An older epoch is never accepted.
type Replay struct {
	mu      sync.Mutex
	devices map[Digest]*deviceReplay
}

type deviceReplay struct {
	// Floor is the highest epoch of a clone that was forgotten to make room: an
	// unknown clone of that epoch or an older one is not accepted.
	Floor  uint64                  `cbor:"1,keyasint"`
	Clones map[string]*cloneReplay `cbor:"2,keyasint"`
}

type cloneReplay struct {
	Epoch  uint64 `cbor:"1,keyasint"`
	Newest uint64 `cbor:"2,keyasint"` // highest accepted sequence number of the epoch
	Seen   uint64 `cbor:"3,keyasint"` // bit i: Newest-i was accepted
	Vector uint64 `cbor:"4,keyasint"` // highest accepted sequence number of a Vector
}

// Bounds of what is remembered. Callers pass signals of members only, so they
// matter only for members that misbehave.
const (
	maxReplayDevices = 256
	maxReplayClones  = 64
)

// Accept reports whether s is fresh, and remembers it. Only signals of current
// members may be passed. At 256 devices no new one is accepted: Forget those that
// left.
func (r *Replay) Accept(s Signal) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.devices[s.Device]
	if d == nil {
		if len(r.devices) >= maxReplayDevices {
			return false
		}
		d = &deviceReplay{Clones: map[string]*cloneReplay{}}
		if r.devices == nil {
			r.devices = map[Digest]*deviceReplay{}
		}
		r.devices[s.Device] = d
	}
	c := d.Clones[s.Clone]
	if c == nil {
		if s.Epoch <= d.Floor {
			return false
		}
		if len(d.Clones) >= maxReplayClones {
			d.evict()
		}
		if s.Epoch <= d.Floor {
			return false
		}
		c = &cloneReplay{}
		d.Clones[s.Clone] = c
	}
	return c.accept(s)
}

// evict forgets the clone of the lowest epoch.
func (d *deviceReplay) evict() {
	var oldest string
	for name, c := range d.Clones {
		if o := d.Clones[oldest]; o == nil || c.Epoch < o.Epoch || c.Epoch == o.Epoch && name < oldest {
			oldest = name
		}
	}
	d.Floor = max(d.Floor, d.Clones[oldest].Epoch)
	delete(d.Clones, oldest)
}

func (c *cloneReplay) accept(s Signal) bool {
	if s.Seq == 0 || s.Epoch < c.Epoch {
		return false
	}
	if s.Epoch > c.Epoch {
		*c = cloneReplay{Epoch: s.Epoch}
	}
	vector := s.Body != nil && s.Body.kind() == kindVector
	if vector && s.Seq <= c.Vector {
		return s.Seq == c.Vector
	}
	if s.Seq > c.Newest {
		c.Seen <<= s.Seq - c.Newest // shifts of 64 and more leave nothing
		c.Newest = s.Seq
	}
	behind := c.Newest - s.Seq
	if behind > 63 || c.Seen&(1<<behind) != 0 {
		return false
	}
	c.Seen |= 1 << behind
	if vector {
		c.Vector = s.Seq
	}
	return true
}

// Forget drops what is known of a device. Call it only for one that is no member
// any more: else its old signals would be accepted again.
func (r *Replay) Forget(device [32]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.devices, device)
}

// MarshalBinary returns the memory in the form that is kept across restarts of the
// agent, so that nothing recorded before one is accepted after it.
func (r *Replay) MarshalBinary() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return encMode.Marshal(r.devices)
}

// UnmarshalBinary replaces the memory by what MarshalBinary returned.
func (r *Replay) UnmarshalBinary(data []byte) error {
	var devices map[Digest]*deviceReplay
	if err := decMode.Unmarshal(data, &devices); err != nil {
		return fmt.Errorf("decode replay memory: %w", err)
	}
	for id, d := range devices {
		if d == nil || d.Clones == nil {
			return fmt.Errorf("decode replay memory: nothing known of device %s", id)
		}
		for name, c := range d.Clones {
			if c == nil {
				return fmt.Errorf("decode replay memory: nothing known of clone %q", name)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.devices = devices
	return nil
}
