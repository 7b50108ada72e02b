package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/sync/grove"
	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/xmpp"
)

// agent is what the clones of a machine share.
type agent struct {
	opt    Options
	log    *slog.Logger
	device *grove.Device
	epoch  uint64
	node   *link.Node
	store  *status.Store
	limits *limits
	hooks  chan hookCall
	group  *errgroup.Group

	sessions sessions

	mu      sync.Mutex
	conf    *config.Config
	clones  map[string]running      // by path
	open    map[*clone]*grove.Grove // those that are open
	trusted map[grove.DeviceID]bool // members of any grove
	account *account                // nil while none is configured
	signOff context.CancelCauseFunc // ends the account's session
}

// running is a clone and what ends it.
type running struct {
	*clone
	stop context.CancelFunc
}

// errRestart ends the session of an account that was replaced.
var errRestart = errors.New("account changed")

// Run runs the agent until ctx ends, and returns nil then. It is the only agent of its state folder.
func Run(ctx context.Context, opt Options) error {
	unlock, err := lock(opt.Paths.State)
	if err != nil {
		return err
	}
	defer unlock()
	a, err := newAgent(opt)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	a.group = g
	g.Go(func() error { return a.node.Run(ctx) })
	g.Go(func() error { return runHooks(ctx, a.hookConfig, a.hooks, a.log) })
	a.apply(ctx, a.conf) // before anybody can ask for a clone
	ready := opt.Ready
	if ready == nil {
		ready = func() {}
	}
	g.Go(func() error { return control.Serve(ctx, opt.Paths.Socket, a.actions(ctx), a.log, ready) })
	g.Go(func() error { return a.tellManager(ctx) })
	g.Go(func() error { return a.keepLimits(ctx) })
	g.Go(func() error {
		err := a.node.WatchAddresses(ctx, func() { a.networkChanged(ctx) })
		if ctx.Err() == nil { // the slow timer tells of a new network then
			a.log.Warn("watch addresses", "err", err)
			return nil
		}
		return err
	})
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-opt.Reload:
				_ = a.reload(ctx) // said in status
			}
		}
	})
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// lock makes this process the only agent of the state folder.
func lock(state string) (unlock func(), err error) {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	return lockFile(filepath.Join(state, "agent.lock"), hinted(fmt.Errorf("another agent runs on %s", state), "git arbor status shows it"))
}

// lockFile takes a lock that ends with the process; held is the error when somebody has it.
func lockFile(path string, held error) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600) // not for writing: a watcher would wait for its end
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, held
	}
	return func() {
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN) // a child that is being started may have the file open too, for a moment
		f.Close()
	}, nil
}

func newAgent(opt Options) (*agent, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	conf, err := config.Load(opt.Paths.Config)
	if err != nil {
		return nil, err
	}
	a := &agent{
		opt: opt, log: opt.Log, conf: conf, store: status.NewStore(), hooks: make(chan hookCall, 64),
		clones: make(map[string]running), open: make(map[*clone]*grove.Grove), trusted: make(map[grove.DeviceID]bool),
		sessions: sessions{all: make(map[*session]struct{})},
	}
	if a.opt.ProbeAfter <= 0 {
		a.opt.ProbeAfter = DefaultProbeAfter
	}
	if a.device, err = grove.LoadDevice(opt.Paths.State); err != nil {
		return nil, fmt.Errorf("load device key: %w", err)
	}
	if a.epoch, err = a.device.NextEpoch(time.Now()); err != nil {
		return nil, fmt.Errorf("begin epoch: %w", err)
	}
	a.limits = newLimits(conf.Limits, opt.Now())
	a.node, err = link.New(link.Options{
		Device: a.device, Trusted: a.isTrusted, Listen: conf.Link.Listen, Advertise: conf.Link.Advertise, Log: a.log,
	})
	if err != nil {
		return nil, fmt.Errorf("listen for peers: %w", err)
	}
	a.node.Handle(link.ServiceP2P, a.serveP2P)
	now := time.Now()
	a.store.UpdateAgent(func(s *status.Agent) {
		*s = status.Agent{
			Device: a.device.ID().String(), Name: machineName(conf.Account), JID: conf.Account.JID, Version: opt.Version,
			XMPP: status.SessionConnecting, Since: now, PID: os.Getpid(),
		}
	})
	return a, nil
}

// machineName is what people call this machine.
func machineName(acc config.Account) string {
	if acc.Name != "" {
		return acc.Name
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		return name
	}
	return "unnamed"
}

// resource is the stable XMPP resource of a device: a new session replaces the dead one of the same machine.
func resource(d *grove.Device) string { return "arbor-" + d.ID().Short() }

// self is this device as the member logs have it.
func (a *agent) self() grove.Member {
	a.mu.Lock()
	defer a.mu.Unlock()
	return selfMember(a.device, a.conf.Account)
}

func selfMember(d *grove.Device, acc config.Account) grove.Member {
	return grove.Member{
		Device: d.ID(), HPKE: [32]byte(d.HPKE().PublicKey().Bytes()), JID: acc.JID, Resource: resource(d), Name: machineName(acc),
	}
}

// reload takes in a new configuration. A bad one changes nothing.
func (a *agent) reload(ctx context.Context) error {
	conf, err := config.Load(a.opt.Paths.Config)
	if err != nil {
		a.store.Raise(status.Warning{Code: "config", Text: "the new configuration is not used: " + err.Error(), Hint: hintOf(err)})
		a.log.Warn("reload configuration", "err", err)
		return err
	}
	a.store.Clear("config", "")
	a.apply(ctx, conf)
	return nil
}

// apply makes what runs what conf says.
func (a *agent) apply(ctx context.Context, conf *config.Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	first := a.account == nil
	changed, hurried := conf.Account != a.conf.Account, conf.Sync != a.conf.Sync
	if !slices.Equal(conf.Link.Listen, a.conf.Link.Listen) || !slices.Equal(conf.Link.Advertise, a.conf.Link.Advertise) {
		a.store.Raise(status.Warning{Code: "restart", Text: "link settings changed", Hint: "restart the agent to use them"})
	}
	a.conf = conf
	a.setLimits(conf.Limits)
	if first || changed || a.store.Snapshot().Agent.XMPP != status.SessionOnline { // what was wrong may be right now
		a.signOn(ctx, conf.Account)
	}
	for c := range a.open {
		if hurried {
			a.group.Go(func() error {
				c.post(ctx, func(context.Context) { c.agenda.in(taskSync, a.interval()) })
				return nil
			})
		}
	}
	wanted := make(map[string]config.Clone)
	for _, cc := range conf.Clones {
		wanted[cc.Path] = cc
	}
	for path, r := range a.clones {
		if cc, ok := wanted[path]; !ok || cc != r.conf {
			r.stop()
			delete(a.clones, path)
			if !ok {
				a.store.RemoveClone(path)
			}
		} else {
			select { // one that could not be opened is tried again
			case r.kick <- struct{}{}:
			default:
			}
		}
	}
	for path, cc := range wanted {
		if _, ok := a.clones[path]; ok {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		c := newClone(cc, a)
		a.clones[path] = running{c, stop}
		a.group.Go(func() error {
			if err := c.Run(ctx); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		})
	}
}

// signOn replaces the session by one of the configured account. The caller holds a.mu.
func (a *agent) signOn(ctx context.Context, conf config.Account) {
	if a.signOff != nil {
		a.signOff(errRestart)
		a.account, a.signOff = nil, nil
	}
	acc, err := newAccount(conf, resource(a.device), a)
	if err != nil {
		a.setSession(status.SessionRefused)
		a.store.Raise(status.Warning{Code: "xmpp", Text: err.Error(), Hint: hintOf(err)})
		return
	}
	a.store.UpdateAgent(func(s *status.Agent) { s.JID, s.Name, s.XMPP = conf.JID, machineName(conf), status.SessionConnecting })
	ctx, a.signOff = context.WithCancelCause(ctx)
	a.account = acc
	a.group.Go(func() error {
		if err := acc.client.Run(ctx); ctx.Err() == nil {
			return fmt.Errorf("XMPP session: %w", err)
		}
		return nil
	})
	a.group.Go(func() error {
		a.route(ctx, acc)
		return nil
	})
	for c := range a.open {
		a.group.Go(func() error {
			c.post(ctx, func(ctx context.Context) {
				c.introduce()
				c.peers.told = nil
				c.publish(ctx)
			})
			return nil
		})
	}
}

// enroll makes an open clone known to the parts that all clones share.
func (a *agent) enroll(c *clone) {
	a.mu.Lock()
	a.open[c] = c.grove
	a.mu.Unlock()
	a.membersChanged(context.Background())
}

// retire takes it back.
func (a *agent) retire(c *clone) {
	a.mu.Lock()
	delete(a.open, c)
	acc := a.account
	a.mu.Unlock()
	if acc != nil {
		_ = acc.setPresence(c.id, nil)
	}
}

// each calls f for each open clone.
func (a *agent) each(f func(*clone, *grove.Grove)) {
	a.mu.Lock()
	open := maps.Clone(a.open)
	a.mu.Unlock()
	for c, g := range open {
		f(c, g)
	}
}

// membersChanged makes links and roster those of the members of all groves.
func (a *agent) membersChanged(ctx context.Context) {
	trusted := make(map[grove.DeviceID]bool)
	a.each(func(_ *clone, g *grove.Grove) {
		for _, m := range g.Members() {
			trusted[m.Device] = true
		}
	})
	a.mu.Lock()
	old := a.trusted
	a.trusted = trusted
	acc := a.account
	a.mu.Unlock()
	for id := range old {
		if !trusted[id] {
			a.node.Drop(id)
		}
	}
	if acc != nil {
		a.keepContacts(ctx, acc, "")
	}
}

func (a *agent) isTrusted(id grove.DeviceID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.trusted[id]
}

// memberJIDs are the accounts of the members of all groves.
func (a *agent) memberJIDs() map[string]bool {
	jids := make(map[string]bool)
	a.each(func(_ *clone, g *grove.Grove) {
		for _, m := range g.Members() {
			jids[m.JID] = true
		}
	})
	return jids
}

// expects reports whether a subscription request carries the token of an open invitation.
func (a *agent) expects(token string) bool {
	found := false
	a.each(func(_ *clone, g *grove.Grove) { found = found || g.Expects(token, time.Now()) })
	return found
}

func (a *agent) setSession(s status.Session) {
	a.store.UpdateAgent(func(agent *status.Agent) { agent.XMPP = s })
}

func (a *agent) current() *account {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.account
}

func (a *agent) jid() string {
	if acc := a.current(); acc != nil {
		return acc.jid
	}
	return ""
}

func (a *agent) send(ctx context.Context, to string, p xmpp.Payload) error {
	if acc := a.current(); acc != nil {
		return acc.client.Send(ctx, to, p)
	}
	return xmpp.ErrOffline
}

func (a *agent) sendNormal(ctx context.Context, to string, p xmpp.Payload) error {
	if acc := a.current(); acc != nil {
		return acc.client.SendNormal(ctx, to, p)
	}
	return xmpp.ErrOffline
}

func (a *agent) setPresence(clone string, p *xmpp.Payload) {
	if acc := a.current(); acc != nil {
		if err := acc.setPresence(clone, p); err != nil {
			a.log.Warn("set presence", "err", err)
		}
	}
}

func (a *agent) candidates() []link.Candidate { return a.node.Candidates() }

func (a *agent) hookConfig() config.Hooks {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conf.Hooks
}

// interval is the time to the next slow sync: the configured one, give or take a fifth, so that peers do not meet.
func (a *agent) interval() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := time.Duration(a.conf.Sync.Interval)
	return d*4/5 + rand.N(d*2/5+1)
}

// tellManager keeps the service manager's line up to date.
func (a *agent) tellManager(ctx context.Context) error {
	if a.opt.State == nil {
		return nil
	}
	var since uint64
	last := ""
	for {
		s, err := a.store.Wait(ctx, since)
		if err != nil {
			return ctx.Err()
		}
		since = s.Version
		if line := summary(s); line != last {
			last = line
			a.opt.State(line)
		}
	}
}

func summary(s status.Snapshot) string {
	inStep := 0
	for _, c := range s.Clones {
		if c.State == status.StateInStep {
			inStep++
		}
	}
	return fmt.Sprintf("%d of %d clones in step, %d transfers, %d warnings, XMPP %s", inStep, len(s.Clones), len(s.Transfers), len(s.Warnings), s.Agent.XMPP)
}
