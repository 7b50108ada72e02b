package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/xmpp"
	"github.com/git-arbor/arbor/xmpp/signal"
)

const (
	// maxPack is the largest pack that travels in a signal, in bytes. Base64 and the seal make 22 kB of it, within the burst
	// that shaped servers take at once.
	maxPack = 8 << 10
	// maxUnpacked is how much a pack from a signal may hold, in bytes.
	maxUnpacked = 64 << 20
	// keysPerSignal keeps a list of keys well below signal.MaxSealed.
	keysPerSignal = 200
)

// bareJID is the account of a full JID.
func bareJID(jid string) string {
	bare, _, _ := strings.Cut(jid, "/")
	return bare
}

// openKeys gives the grove's keys in the form that signals take.
func (c *clone) openKeys() []signal.GroveKey {
	var keys []signal.GroveKey
	for _, k := range c.grove.OpenKeys() {
		keys = append(keys, signal.GroveKey(k))
	}
	return keys
}

// seal makes a signal of this clone.
func (c *clone) seal(body signal.Body) (xmpp.Payload, error) {
	k, err := c.grove.SealKey()
	if err != nil {
		return xmpp.Payload{}, err
	}
	key := signal.GroveKey(k)
	data, err := signal.Seal(key, c.agent.device.PrivateKey(), c.agent.jid(), c.compose(body))
	return xmpp.Payload{Tag: signal.Tag(key), Data: data}, err
}

func (c *clone) compose(body signal.Body) signal.Signal {
	epoch, seq := c.counter.Next()
	return signal.Signal{Clone: c.id, Epoch: epoch, Seq: seq, Time: time.Now(), Body: body}
}

// tell sends a signal to peers. One that cannot be sent costs time only: the vector says the same, later.
func (c *clone) tell(ctx context.Context, body signal.Body, to []*peer) {
	if len(to) == 0 {
		return
	}
	payload, err := c.seal(body)
	if err != nil {
		c.log.Warn("seal signal", "body", fmt.Sprintf("%T", body), "err", err)
		return
	}
	for _, p := range to {
		if err := c.agent.send(ctx, p.jid, payload); err != nil {
			c.log.Debug("send signal", "to", p.name, "err", err)
		}
	}
	c.log.Debug("told", "body", fmt.Sprintf("%T", body), "peers", len(to))
}

// announce tells the peers that a reference moved, with the objects when they are small.
func (c *clone) announce(ctx context.Context, ref string, old, head gitrepo.Hash) {
	c.announceWith(ctx, c.pack(ctx, old, head), ref, old, head, nil)
}

// pack gives the objects of a commit for a signal; nil when they are too many, or nobody is there.
func (c *clone) pack(ctx context.Context, old, head gitrepo.Hash) []byte {
	if len(c.peers.online()) == 0 {
		return nil
	}
	pack, err := c.git.Pack(ctx, head, parents(old), maxPack)
	if err != nil && !errors.Is(err, gitrepo.ErrTooBig) {
		c.log.Warn("pack commit", "commit", head, "err", err)
	}
	return pack
}

// announceWith is announce with the objects that go with it, and the contents that came with the commit.
func (c *clone) announceWith(ctx context.Context, pack []byte, ref string, old, head gitrepo.Hash, keys []annex.Key) {
	online := c.peers.online()
	if len(online) == 0 {
		return
	}
	a := signal.Announce{Ref: ref, Old: signal.Hash(old), New: signal.Hash(head), Pack: pack}
	if len(keys) <= keysPerSignal {
		a.Keys = keyStrings(keys)
	} else {
		c.want.untold = append(c.want.untold, keys...)
	}
	c.tell(ctx, a, online)
	c.peers.told = nil // they know better than the last vector
	c.log.Debug("announced", "ref", ref, "commit", head, "pack", len(a.Pack))
}

// tellHave tells the peers that contents are here, or at a remote.
func (c *clone) tellHave(ctx context.Context, keys []annex.Key, remote string) {
	for part := range slices.Chunk(keys, keysPerSignal) {
		c.tell(ctx, signal.Have{Keys: keyStrings(part), Remote: remote}, c.peers.online())
	}
}

// tellGone tells the peers that contents are here no more.
func (c *clone) tellGone(ctx context.Context, keys []annex.Key) {
	for part := range slices.Chunk(keys, keysPerSignal) {
		c.tell(ctx, signal.Drop{Keys: keyStrings(part)}, c.peers.online())
	}
}

func keyStrings(keys []annex.Key) []string {
	var out []string
	for _, k := range keys {
		out = append(out, k.String())
	}
	return out
}

// publish makes the state of the clone the last value that the server hands to everybody who comes online. The server spreads it, which is why it
// tells of contents that have come, too; those that there is no room for are told to each peer.
func (c *clone) publish(ctx context.Context) {
	v, err := c.vector()
	if err != nil {
		c.log.Warn("publish vector", "err", err)
		return
	}
	v = v.Fit(c.id)
	c.tellHave(ctx, slices.DeleteFunc(c.want.untold, func(k annex.Key) bool { return slices.Contains(v.Came, k.String()) }), "")
	c.want.untold = nil
	if c.peers.told != nil && c.peers.told.Equal(v) {
		return
	}
	payload, err := c.seal(v)
	if err != nil {
		c.log.Warn("publish vector", "err", err)
		return
	}
	c.peers.told = &v
	c.agent.setPresence(c.id, &payload)
	c.log.Debug("published")
	c.tell(ctx, v, slices.DeleteFunc(c.peers.online(), func(p *peer) bool { return c.agent.seenBy(p.bare) }))
}

func (c *clone) vector() (signal.Vector, error) {
	v := signal.Vector{Head: c.side.branch, Heads: make(map[string]signal.Hash), Members: c.grove.Digest()}
	refs, err := c.git.Refs(context.Background(), "refs/")
	if err != nil {
		return v, err
	}
	counted := make(map[string]signal.Hash)
	for name, h := range refs {
		if shared(name) {
			v.Heads[name] = signal.Hash(h)
		}
		if shared(name) || strings.HasPrefix(name, "refs/tags/") {
			counted[name] = signal.Hash(h)
		}
	}
	v.Refs = signal.RefsDigest(counted)
	v.Annex = signal.Hash(refs[annexBranch])
	if c.want.forgetting {
		v.Annex = signal.Hash(c.want.seen)
	}
	for _, cand := range c.agent.candidates() {
		v.Links = append(v.Links, signal.Link(cand))
	}
	v.Want = keyStrings(c.want.some(keysPerSignal))
	v.Came = c.came()
	v.Edges = c.edges()
	v.Paused = c.pausedClones()
	return v, nil
}

// receive takes one payload that came from a full JID. It is foreign until its seal, its signature, its sender's
// membership and its freshness are proven.
func (c *clone) receive(ctx context.Context, from string, payload xmpp.Payload) {
	sig, err := c.unseal(from, payload)
	if err != nil {
		c.log.Debug("drop signal", "from", from, "err", err)
		return
	}
	m, ok := c.grove.Member(sig.Device)
	if !ok || m.Device == c.agent.device.ID() && sig.Clone == c.id {
		return
	}
	id := peerID{m.Device, sig.Clone}
	c.peers.shown[id] = true
	if !c.replay.Accept(sig) {
		return
	}
	p := c.peers.find(id, m, c.remoteTaken)
	p.seen, p.late = sig.Time, false
	c.log.Debug("received", "from", p.name, "body", fmt.Sprintf("%T", sig.Body))
	if !p.online() {
		p.jid = from
		p.failures, p.notUntil = 0, time.Time{}
		c.cameOnline(ctx, p)
	}
	p.jid = from
	switch b := sig.Body.(type) {
	case signal.Vector:
		c.receiveVector(ctx, p, b)
		c.theyHave(p, parseKeys(b.Came), sig.Time)
	case signal.Announce:
		c.receiveAnnounce(ctx, p, b)
		c.theyHave(p, parseKeys(b.Keys), sig.Time)
	case signal.Have:
		if b.Remote == "" {
			c.theyHave(p, parseKeys(b.Keys), sig.Time)
		} else {
			c.theyHaveAt(b.Remote, parseKeys(b.Keys))
			c.gather(b.Remote, parseKeys(b.Keys), sig.Time)
		}
	case signal.Pushed:
		c.receivePushed(b)
	case signal.Drop:
		c.theyLack(p, b.Keys)
	case signal.DialBack:
		c.dialBack(p, b)
	case signal.NoDialBack:
		c.agent.node.NoDialBack(p.id.device, link.Ticket(b.Ticket))
	case signal.SyncRequest:
		p.due = true
	case signal.LogRequest:
		c.sendLog(ctx, p)
	case signal.Log:
		c.mergeLog(ctx, b.Entries)
	}
}

// unopened takes note of a signal that no key here opens. From a member it means that the grove has a new key.
func (c *clone) unopened(ctx context.Context, from string) {
	c.peers.veiled = true
	for _, m := range c.grove.Members() {
		if !strings.EqualFold(m.JID, bareJID(from)) || m.Device == c.agent.device.ID() {
			continue
		}
		for _, p := range c.peers.all() {
			if p.id.device == m.Device {
				p.jid = from
				c.requestLog(ctx, p, signal.Digest{})
				return
			}
		}
	}
}

func (c *clone) unseal(from string, payload xmpp.Payload) (signal.Signal, error) {
	if hpke := c.agent.device.HPKE(); payload.Tag == signal.DeviceTag(hpke.PublicKey().Bytes()) {
		return signal.OpenDevice(hpke, bareJID(from), payload.Data)
	}
	return signal.Open(c.openKeys(), bareJID(from), payload.Data)
}

func (c *clone) receiveVector(ctx context.Context, p *peer, v signal.Vector) {
	c.want.redraw = c.want.redraw || !slices.Equal(p.vector.Edges, v.Edges)
	p.vector = v
	c.setRefuses(p, slices.Contains(v.Paused, c.id))
	p.told++
	before := p.links
	p.links = nil
	for _, l := range v.Links {
		p.links = append(p.links, link.Candidate(l))
	}
	if before != nil && !slices.Equal(before, p.links) { // it has moved
		c.remeasure(p)
	}
	c.agenda.in(taskSave, saveDelay)
	c.agenda.in(taskPeerRefs, peerRefsDelay)
	for ref, h := range v.Heads {
		c.known(ctx, p, ref, gitrepo.Hash(h))
	}
	switch annexHead := gitrepo.Hash(v.Annex); {
	case annexHead.IsZero():
	case c.annex == nil:
		c.warnText("no-annex", fmt.Sprintf("on %s this is a git-annex repository; here it is none, and contents of annexed files do not come", p.name),
			"git -C "+c.conf.Path+" annex init")
	case c.git.Has(annexHead):
		c.known(ctx, p, annexBranch, annexHead)
	default:
		c.agenda.in(taskLagging, laggingDelay) // its merge may be the one we are about to make ourselves
	}
	if own, err := c.vector(); err == nil && v.Refs != own.Refs && v.Refs != p.fetched { // a tag, perhaps
		p.due, p.fetched = p.due || !c.differs(v.Heads, own.Heads), v.Refs
	}
	if v.Members != signal.Digest(c.grove.Digest()) {
		c.requestLog(ctx, p, v.Members)
	}
}

// differs reports whether a peer has a branch elsewhere than we do.
func (c *clone) differs(theirs, ours map[string]signal.Hash) bool {
	for ref, h := range theirs {
		if ours[ref] != h {
			return true
		}
	}
	return false
}

// known takes in a head that a peer has, when the commit and all it needs are here already; fetch sees to the others.
func (c *clone) known(ctx context.Context, p *peer, ref string, h gitrepo.Hash) {
	if !shared(ref) && ref != annexBranch || !c.git.Has(h) || c.wasDeleted(ctx, ref, h) {
		return
	}
	if ours, err := c.git.Ref(ref); err == nil {
		if done, err := c.git.IsAncestor(ctx, h, ours); err == nil && done {
			return
		}
	}
	switch err := c.git.Complete(ctx, h); {
	case err == nil:
		c.arrive(ctx, ref, h, p.remote)
	case p.partial != h: // a signal brought it, and those with what it builds on were lost
		p.partial, p.due = h, true
	}
}

// arrive notes that a commit is complete here and waits to be merged.
func (c *clone) arrive(ctx context.Context, ref string, h gitrepo.Hash, from string) {
	if ref != annexBranch {
		c.peers.arrived(ref, h, from)
		return
	}
	if unfinished, err := c.annex.Forgetting(h); err != nil || unfinished { // where it comes from there is another soon
		return
	}
	c.peers.arrived(ref, h, from)
	delay := gatherDelay
	if ours, err := c.git.Ref(ref); err == nil {
		if ahead, err := c.git.IsAncestor(ctx, ours, h); err == nil && ahead { // there is nothing to merge it with
			delay = 0
		}
	}
	c.agenda.in(taskRecord, delay)
}

func (c *clone) receiveAnnounce(ctx context.Context, p *peer, a signal.Announce) {
	head := gitrepo.Hash(a.New)
	p.told++
	if head.IsZero() && shared(a.Ref) {
		delete(p.vector.Heads, a.Ref)
		c.deleteBranch(ctx, a.Ref, gitrepo.Hash(a.Old), p.remote)
		return
	}
	if head.IsZero() || !shared(a.Ref) && (a.Ref != annexBranch || c.annex == nil) {
		return
	}
	if a.Ref != annexBranch {
		if p.vector.Heads == nil {
			p.vector.Heads = make(map[string]signal.Hash)
		}
		p.vector.Heads[a.Ref] = a.New
	} else {
		p.vector.Annex = a.New
	}
	if len(a.Pack) > 0 && !c.git.Has(head) {
		if _, err := c.git.Unpack(ctx, a.Pack, maxUnpacked); err != nil {
			c.log.Debug("unpack signal", "from", p.name, "err", err) // it builds on what is not here: fetch brings both
			return
		}
	}
	c.known(ctx, p, a.Ref, head)
}

func parseKeys(texts []string) []annex.Key {
	var keys []annex.Key
	for _, s := range texts {
		if k, err := annex.ParseKey(s); err == nil {
			keys = append(keys, k)
		}
	}
	return keys
}

// theyHave notes contents that a peer has, as it says at a time.
func (c *clone) theyHave(p *peer, keys []annex.Key, at time.Time) {
	c.gather(p.id.clone, keys, at)
	news := slices.DeleteFunc(keys, func(k annex.Key) bool { return p.keys[k] })
	if len(news) == 0 {
		return
	}
	for _, k := range news {
		p.keys[k] = true
	}
	c.holdersChanged(news...)
	if c.want.weighs() {
		c.locationsChanged(news)
	}
}

// theyLack notes contents that a peer has no more.
func (c *clone) theyLack(p *peer, texts []string) {
	keys := parseKeys(texts)
	for _, k := range keys {
		delete(p.keys, k)
	}
	c.holdersChanged(keys...)
	c.locationsChanged(keys)
}

// offline notes that the agent at a full JID is gone; all of them when jid is empty.
func (c *clone) offline(jid string) {
	for _, p := range c.peers.online() {
		if p.jid == jid || jid == "" {
			c.left(p)
		}
	}
}

// presented notes that all is received that is in a presence of the agent at a full JID: clones of its that are not there have gone.
func (c *clone) presented(jid string) {
	for _, p := range c.peers.online() {
		if p.jid == jid && !c.peers.shown[p.id] && !c.peers.veiled {
			c.left(p)
		}
	}
	clear(c.peers.shown)
	c.peers.veiled = false
}

func (c *clone) left(p *peer) {
	p.jid, p.refuses = "", false
	c.holdersChanged()
}
