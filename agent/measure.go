package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/xmpp/signal"
)

// A link is measured by what is transferred over it. Where nothing has been, a probe gets the end of a content that both sides have and
// throws it away: once, when nothing else is to be done.
const (
	probeBytes = 1 << 20
	probeTime  = time.Second // the most that a probe lasts: a thin line is found out with few bytes
	probeKeys  = 256         // contents that are looked at for one that both have
)

// networkChanged forgets what was measured from where this machine was before, and tells the peers where it is now.
func (a *agent) networkChanged(ctx context.Context) {
	a.log.Info("the addresses of this machine have changed")
	if acc := a.current(); acc != nil {
		acc.client.NetworkChanged()
	}
	for _, path := range a.paths() {
		if c, err := a.find(path); err == nil {
			c.post(ctx, func(context.Context) { c.remeasure(c.peers.all()...) })
		}
	}
}

// remeasure forgets what was measured of getting contents from peers, and tries them again at once.
func (c *clone) remeasure(which ...*peer) {
	for _, p := range which {
		p.linkKind, p.rtt, p.edge, p.probed = "", 0, signal.Edge{}, false
		p.failures, p.notUntil = 0, time.Time{}
		c.want.forgetRate(p.id.clone)
		c.want.online = append(c.want.online, p.id.clone)
	}
	c.holdersChanged()
	c.agenda.in(taskPublish, publishDelay)
	c.planProbe()
}

// dialled takes in what came of dialling a peer.
func (c *clone) dialled(id peerID, kind string, rtt time.Duration) {
	p := c.peers.byID[id]
	if p == nil {
		return // forgotten meanwhile
	}
	changed := p.linkKind != kind
	p.linkKind, p.rtt = kind, rtt
	if changed {
		c.holdersChanged()
		c.planProbe()
	}
}

// planProbe has links that nobody has used yet measured when it has been quiet for a while. Peers do not do so all at once.
func (c *clone) planProbe() {
	if c.queue != nil {
		quiet := c.agent.opt.ProbeAfter
		c.agenda.in(taskProbe, quiet+rand.N(quiet/2+1))
	}
}

// probe measures one link of which nothing is known.
func (c *clone) probe() {
	if c.queue == nil || c.state.Paused || !slices.ContainsFunc(c.peers.online(), c.unmeasured) {
		return
	}
	if waiting, _ := c.queue.Pending(); waiting > 0 {
		c.planProbe()
		return
	}
	for _, p := range c.peers.online() {
		if !c.unmeasured(p) {
			continue
		}
		p.probed = true
		c.planProbe() // the next one, or the same once it has a content that is here, too
		key, ok := c.common(p)
		open, id := c.opener(p), p.id.clone
		c.aside(func(ctx context.Context) {
			rate, err := probe(ctx, open, key, ok)
			if err != nil {
				c.log.Debug("measure link", "to", id, "err", err)
				return
			}
			c.post(ctx, func(context.Context) {
				if c.want.rateFrom(id) == 0 && rate > 0 {
					c.want.came(id, rate)
					c.want.redraw = true
				}
			})
		})
		return
	}
}

// unmeasured reports whether a peer can be reached by a link of which nothing is known but, perhaps, its round trip.
func (c *clone) unmeasured(p *peer) bool {
	return !p.probed && p.linkKind != link.KindNone && !c.want.paused.has(p.id.device) && c.want.rateFrom(p.id.clone) == 0
}

// common finds a content that a peer and this clone both have.
func (c *clone) common(p *peer) (annex.Key, bool) {
	looked := 0
	for k := range c.want.named {
		if looked++; looked > probeKeys {
			break
		}
		if size, ok := k.Size(); !ok || size < probeBytes || !c.annex.Has(k) {
			continue
		}
		if who, err := c.annex.Locations(c.running, k); p.keys[k] || err == nil && slices.Contains(who, p.id.clone) {
			return k, true
		}
	}
	return annex.Key{}, false
}

// probe gets the end of a content, for its pace alone: bytes a second. Without a key it only dials, which tells the kind of the link and the
// round trip.
func probe(ctx context.Context, open func(context.Context) (*p2p.Client, error), key annex.Key, any bool) (float64, error) {
	client, err := open(ctx)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	if !any {
		return 0, nil
	}
	size, _ := key.Size()
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	p := probed{begun: time.Now()}
	_, err = client.Get(ctx, p2p.GetRequest{Key: key, Offset: size - probeBytes}, &p)
	if err != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return 0, err
	}
	return p.rate(), nil
}

// probed is when how many bytes of a probe had come.
type probed struct {
	begun time.Time
	bytes []int64
	at    []time.Time
}

func (p *probed) Write(b []byte) (int, error) {
	total := int64(len(b))
	if n := len(p.bytes); n > 0 {
		total += p.bytes[n-1]
	}
	p.bytes, p.at = append(p.bytes, total), append(p.at, time.Now())
	return len(b), nil
}

// rate is that of the second half of the time, for TCP begins slowly; but not many times that of the whole: on a busy machine bytes that waited
// come at once. It is 0 when too little came to tell.
func (p *probed) rate() float64 {
	n := len(p.at)
	if n < 4 {
		return 0
	}
	half := p.at[0].Add(p.at[n-1].Sub(p.at[0]) / 2)
	i, _ := slices.BinarySearchFunc(p.at, half, time.Time.Compare)
	i = min(i, n-2)
	took := p.at[n-1].Sub(p.at[i]).Seconds()
	if took <= 0 {
		return 0
	}
	whole := float64(p.bytes[n-1]) / p.at[n-1].Sub(p.begun).Seconds()
	return min(float64(p.bytes[n-1]-p.bytes[i])/took, 4*whole)
}
