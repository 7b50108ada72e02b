package agent

import (
	"context"
	"time"

	"github.com/git-arbor/arbor/sync/grove"
	"github.com/git-arbor/arbor/xmpp"
	"github.com/git-arbor/arbor/xmpp/signal"
)

const (
	// maxLogPart is how much of the member log travels in one signal, in bytes.
	maxLogPart = 30 << 10
	// logRequestPause is the least time between two requests for the same member log to the same peer.
	logRequestPause = time.Minute
)

// requestLog asks a peer for its member log of that digest; a zero one stands for whatever it has.
func (c *clone) requestLog(ctx context.Context, p *peer, digest signal.Digest) {
	if p.askedFor == digest && time.Since(p.asked) < logRequestPause {
		return
	}
	p.asked, p.askedFor = time.Now(), digest
	c.tell(ctx, signal.LogRequest{}, []*peer{p})
}

// sendLog answers with the member log, sealed to the device: it may have missed a new grove key.
func (c *clone) sendLog(ctx context.Context, p *peer) {
	m, ok := c.grove.Member(p.id.device)
	if !ok {
		return
	}
	c.sendLogTo(ctx, m, p)
}

func (c *clone) sendLogTo(ctx context.Context, m grove.Member, p *peer) {
	for _, part := range c.grove.Parts(maxLogPart) {
		data, err := signal.SealDevice(m.HPKE[:], c.agent.device.PrivateKey(), c.agent.jid(), c.compose(signal.Log{Entries: part}))
		if err == nil {
			err = c.agent.send(ctx, p.jid, xmpp.Payload{Tag: signal.DeviceTag(m.HPKE[:]), Data: data})
		}
		if err != nil {
			c.log.Warn("send member log", "to", p.name, "err", err)
			return
		}
	}
}

// mergeLog takes in a member log.
func (c *clone) mergeLog(ctx context.Context, entries []byte) {
	changed, err := c.grove.Merge(entries, time.Now())
	if err != nil {
		c.log.Warn("merge member log", "err", err)
	}
	if changed {
		c.membersChanged(ctx)
	}
}

// membersChanged makes the peers those of the member log, and tells everybody.
func (c *clone) membersChanged(ctx context.Context) {
	var gone []string
	for id, p := range c.peers.byID {
		if _, ok := c.grove.Member(id.device); !ok {
			gone = append(gone, p.bare)
			c.forgetPeerRefs(ctx, p)
			delete(c.peers.byID, id)
			delete(c.state.Peers, id.String())
			c.replay.Forget(id.device)
		}
	}
	if !c.member() {
		c.warnText("forgotten", "this device was removed from the grove of "+c.conf.Name, "ask for a new invitation; what is here stays here")
		c.agent.setPresence(c.id, nil)
	}
	c.holdersChanged()
	c.agent.membersChanged(ctx)
	for _, jid := range gone {
		c.agent.dropContact(ctx, jid)
	}
	c.publish(ctx)
}
