package agent

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/sync/grove"
	"github.com/git-arbor/arbor/sync/p2p"
)

// limits are the token buckets that the links of this machine pass: one for what is sent and one for what is received,
// those of the whole and of each peer.
type limits struct {
	whole  buckets
	lan    atomic.Bool   // the buckets of the whole are also for links within the LAN
	review chan struct{} // 1 long: keepLimits must look at the timetable again

	mu    sync.Mutex
	conf  config.Limits
	peers map[grove.DeviceID]peerBuckets
}

// buckets are changed in place, so that a new limit counts for links that there are.
type buckets struct{ up, down *rate.Limiter }

type peerBuckets struct {
	name string
	buckets
}

func newBuckets() buckets {
	return buckets{rate.NewLimiter(rate.Inf, 1), rate.NewLimiter(rate.Inf, 1)}
}

func (b buckets) set(up, down config.Rate) {
	setRate(b.up, up)
	setRate(b.down, down)
}

func setRate(l *rate.Limiter, r config.Rate) {
	limit := rate.Inf
	if r > 0 {
		limit = rate.Limit(r)
	}
	if l.Limit() == limit {
		return
	}
	l.SetBurst(p2p.LimiterBurst(float64(r)))
	l.SetLimit(limit)
}

func newLimits(conf config.Limits, now time.Time) *limits {
	l := &limits{whole: newBuckets(), review: make(chan struct{}, 1), peers: make(map[grove.DeviceID]peerBuckets)}
	l.set(conf, now)
	return l
}

// set makes what is configured the limits in force.
func (l *limits) set(conf config.Limits, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conf = conf
	l.lan.Store(conf.LAN)
	for _, p := range l.peers {
		p.set(conf.Peers[p.name].Up, conf.Peers[p.name].Down)
	}
	up, down, _ := conf.At(now)
	l.whole.set(up, down)
}

// at puts the limits of a time into force, and says what they are.
func (l *limits) at(now time.Time) status.Limits {
	l.mu.Lock()
	defer l.mu.Unlock()
	up, down, until := l.conf.At(now)
	l.whole.set(up, down)
	s := status.Limits{Up: int64(up), Down: int64(down), LAN: l.conf.LAN, Until: until.Round(0)}
	if len(l.conf.Schedule) > 0 {
		s.Schedule = l.conf.Schedule.String()
	}
	for name, p := range l.conf.Peers {
		if p != (config.PeerLimits{}) {
			s.Peers = append(s.Peers, status.PeerLimits{Name: name, Up: int64(p.Up), Down: int64(p.Down)})
		}
	}
	return s
}

// link gives what the bytes of a link with a device pass. Those of a link within the LAN pass the buckets of the whole only
// where that is configured, and those of the device in any case.
func (l *limits) link(device grove.DeviceID, name string, lan bool) p2p.Limits {
	l.mu.Lock()
	p, ok := l.peers[device]
	if !ok || p.name != name {
		if !ok {
			p.buckets = newBuckets()
		}
		p.name = name
		p.set(l.conf.Peers[name].Up, l.conf.Peers[name].Down)
		l.peers[device] = p
	}
	l.mu.Unlock()
	return l.chains(lan, p.buckets)
}

// remote gives what the bytes to and from a remote pass: the buckets of the whole, on this machine only where that is configured for the
// LAN.
func (l *limits) remote(local bool) p2p.Limits {
	return l.chains(local)
}

// chains are some buckets and, unless the bytes stay near and nothing else is configured, those of the whole.
func (l *limits) chains(near bool, own ...buckets) p2p.Limits {
	// A timer stands still while the machine sleeps, and links are made anew afterwards.
	l.reviewSoon()
	chain := func(of func(buckets) *rate.Limiter) p2p.Chain {
		var all []*rate.Limiter
		for _, b := range append(slices.Clone(own), l.whole) {
			all = append(all, of(b))
		}
		return func() []*rate.Limiter {
			if near && !l.lan.Load() {
				return all[:len(own)]
			}
			return all
		}
	}
	return p2p.Limits{
		Up:   chain(func(b buckets) *rate.Limiter { return b.up }),
		Down: chain(func(b buckets) *rate.Limiter { return b.down }),
	}
}

func (l *limits) reviewSoon() {
	select {
	case l.review <- struct{}{}:
	default:
	}
}

// keepLimits goes by the timetable.
func (a *agent) keepLimits(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-a.limits.review:
		}
		now := a.opt.Now()
		inForce := a.limits.at(now)
		a.store.SetLimits(inForce)
		timer.Stop()
		if !inForce.Until.IsZero() {
			timer.Reset(inForce.Until.Sub(now))
		}
	}
}

// setLimits puts what is configured into force, at once, and shows it.
func (a *agent) setLimits(conf config.Limits) {
	now := a.opt.Now()
	a.limits.set(conf, now)
	a.store.SetLimits(a.limits.at(now))
	a.limits.reviewSoon()
}
