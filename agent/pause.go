package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/sync/grove"
	"github.com/git-arbor/arbor/xmpp/signal"
)

// devices is a set for any goroutine.
type devices struct {
	mu  sync.RWMutex
	set map[grove.DeviceID]bool
}

// newDevices makes a set of those that the state file lists.
func newDevices(ids []string) *devices {
	d := &devices{set: make(map[grove.DeviceID]bool)}
	for _, text := range ids {
		if id, err := grove.ParseDeviceID(text); err == nil {
			d.set[id] = true
		}
	}
	return d
}

func (d *devices) has(id grove.DeviceID) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.set[id]
}

// put takes a device in or out, and reports whether that changed anything.
func (d *devices) put(id grove.DeviceID, in bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	changed := d.set[id] != in
	if in {
		d.set[id] = true
	} else {
		delete(d.set, id)
	}
	return changed
}

// list gives the devices in the form of the state file.
func (d *devices) list() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var ids []string
	for id := range d.set {
		ids = append(ids, id.String())
	}
	slices.Sort(ids)
	return ids
}

// pauseAll pauses or resumes what a request names: a clone or all, as a whole or towards one peer.
func (a *agent) pauseAll(ctx context.Context, r control.PauseRequest, paused bool) error {
	if r.Peer == "" {
		return a.tellAll(ctx, r.Clone, func(_ context.Context, c *clone) error {
			if r.Accept && !paused {
				c.accept()
			}
			return c.setPaused(paused)
		})
	}
	known := false
	err := a.tellAll(ctx, r.Clone, func(_ context.Context, c *clone) error {
		device, err := c.deviceOf(r.Peer)
		if err != nil {
			return err
		}
		if device.IsZero() {
			return nil
		}
		known = true
		return c.setPeerPaused(device, paused)
	})
	if err == nil && !known {
		return &control.Error{Code: "no-such-peer", Text: fmt.Sprintf("no peer is called %q", r.Peer), Fix: "git arbor status lists the peers"}
	}
	return err
}

// deviceOf finds the peer that a person named by its name, its device's ID, or the beginning of that; zero when there is
// none.
func (c *clone) deviceOf(which string) (grove.DeviceID, error) {
	var found grove.DeviceID
	for _, m := range c.grove.Members() {
		if m.Device == c.agent.device.ID() || m.Name != which && !strings.HasPrefix(m.Device.String(), strings.ToLower(which)) {
			continue
		}
		if !found.IsZero() {
			return grove.DeviceID{}, &control.Error{
				Code: "ambiguous", Text: fmt.Sprintf("%q means more than one peer", which), Fix: "use the device id that git arbor status --json shows",
			}
		}
		found = m.Device
	}
	return found, nil
}

// setPaused stops the transfers of contents or lets them go on; it is remembered.
func (c *clone) setPaused(paused bool) error {
	c.state.Paused = paused
	if c.queue != nil {
		c.queue.SetPaused(paused)
		c.uploads.SetPaused(paused)
	}
	return c.write()
}

// setPeerPaused stops the exchange of contents with a device or lets it go on; it is remembered.
func (c *clone) setPeerPaused(device grove.DeviceID, paused bool) error {
	if !c.want.paused.put(device, paused) {
		return nil
	}
	c.agent.sessions.end(c, device) // a new one is served otherwise
	var clones []string
	for _, p := range c.peers.all() {
		if p.id.device == device {
			clones = append(clones, p.id.clone)
		}
	}
	c.holdersChanged()
	c.agenda.in(taskPublish, publishDelay) // so that the other side neither tries in vain nor wonders
	switch {
	case c.queue == nil:
	case paused:
		c.queue.Release(clones...)
	default:
		c.want.online = append(c.want.online, clones...)
	}
	return c.write()
}

// pausedClones are the clones of the devices with which no contents are exchanged, as far as a vector has room for them.
func (c *clone) pausedClones() []string {
	var ids []string
	for _, p := range c.peers.all() {
		if c.want.paused.has(p.id.device) && len(ids) < signal.MaxPaused {
			ids = append(ids, p.id.clone)
		}
	}
	return ids
}

// setRefuses takes in whether a peer exchanges contents with this clone.
func (c *clone) setRefuses(p *peer, refuses bool) {
	if p.refuses == refuses {
		return
	}
	p.refuses = refuses
	c.holdersChanged()
	switch {
	case c.queue == nil:
	case refuses:
		c.queue.Release(p.id.clone)
	default:
		c.want.online = append(c.want.online, p.id.clone) // what it refused before it may give now
	}
}
