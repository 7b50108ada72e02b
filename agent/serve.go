package agent

import (
	"context"
	"errors"
	"io"

	"golang.org/x/time/rate"

	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/sync/grove"
	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/sync/p2p"
)

// errNotServed refuses a peer that asks for a clone which is not here, or not its business.
var errNotServed = errors.New("no such clone for this peer")

// serveP2P serves a link on which a peer asks for a clone's commits and contents.
func (a *agent) serveP2P(ctx context.Context, conn *link.Conn) {
	err := p2p.ServeAuth(ctx, conn, p2p.AuthOptions{Limits: a.limits}, func(_, token string) (*p2p.Server, error) {
		return a.serverFor(conn.Peer, token)
	})
	if err != nil && ctx.Err() == nil {
		a.log.Debug("serve peer", "peer", conn.Peer.Short(), "err", err)
	}
}

// serverFor gives the server of the clone that a device names: a member of its grove may read all of it. Contents are
// pulled, never pushed, so nothing is taken from it.
func (a *agent) serverFor(peer grove.DeviceID, id string) (*p2p.Server, error) {
	var server *p2p.Server
	a.each(func(c *clone, g *grove.Grove) {
		if _, member := g.Member(peer); member {
			if s := c.serving.Load(); s != nil && s.UUID == id {
				server = s
			}
		}
	})
	if server == nil {
		return nil, errNotServed
	}
	return server, nil
}

// newServer makes what serves an open clone. It uses only what any goroutine may use.
func (c *clone) newServer() *p2p.Server {
	git := c.git
	return &p2p.Server{
		UUID: c.id, Annex: c.annex, ReadOnly: true, Limits: c.agent.limits, Log: c.log,
		Upload: func(ctx context.Context, conn io.ReadWriteCloser) error { return git.Serve(ctx, p2p.UploadPack, conn) },
	}
}

func limiter(r config.Rate) *rate.Limiter {
	l := p2p.NewLimiter(1)
	setLimit(l, r)
	return l
}

// setLimit changes a limit while it is in use.
func setLimit(l *rate.Limiter, r config.Rate) {
	if r == 0 {
		l.SetLimit(rate.Inf)
		return
	}
	l.SetBurst(p2p.LimiterBurst(float64(r)))
	l.SetLimit(rate.Limit(r))
}
