package agent

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/git-arbor/arbor/sync/grove"
	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/sync/p2p"
)

// errNotServed refuses a peer that asks for a clone which is not here, or not its business.
var errNotServed = errors.New("no such clone for this peer")

// session is a link on which a peer is served, and the clone that it asked for.
type session struct {
	conn  *link.Conn
	clone *clone
}

// serveP2P serves a link on which a peer asks for a clone's commits and contents.
func (a *agent) serveP2P(ctx context.Context, conn *link.Conn) {
	limits := a.limits.link(conn.Peer, a.memberName(conn.Peer), conn.LAN())
	s := &session{conn: conn}
	defer a.sessions.remove(s)
	err := p2p.ServeAuth(ctx, conn, p2p.AuthOptions{Limits: limits}, func(_, token string) (*p2p.Server, error) {
		return a.serverFor(s, token)
	})
	if err != nil && ctx.Err() == nil {
		a.log.Debug("serve peer", "peer", conn.Peer.Short(), "err", err)
	}
}

// serverFor gives the server of the clone that a device names: a member of its grove may read all of it, without the
// contents while it is paused. Contents are pulled, never pushed, so nothing is taken from it.
func (a *agent) serverFor(s *session, id string) (*p2p.Server, error) {
	var server *p2p.Server
	a.each(func(c *clone, g *grove.Grove) {
		serving := c.serving.Load()
		m, member := g.Member(s.conn.Peer)
		if !member || serving == nil || serving.UUID != id {
			return
		}
		s.clone = c
		a.sessions.add(s)
		server = serving.to(m.Name)
		// Asked after the session is noted: who pauses a peer ends the sessions that are noted.
		if serving.paused.has(s.conn.Peer) {
			server.Annex = nil
		}
	})
	if server == nil {
		return nil, errNotServed
	}
	return server, nil
}

// memberName is what people call a device.
func (a *agent) memberName(id grove.DeviceID) string {
	name := ""
	a.each(func(_ *clone, g *grove.Grove) {
		if m, ok := g.Member(id); ok {
			name = m.Name
		}
	})
	return name
}

// sessions are those under way.
type sessions struct {
	mu  sync.Mutex
	all map[*session]struct{}
}

func (ss *sessions) add(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.all[s] = struct{}{}
}

func (ss *sessions) remove(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.all, s)
}

// end ends those of a device with a clone.
func (ss *sessions) end(c *clone, device grove.DeviceID) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for s := range ss.all {
		if s.clone == c && s.conn.Peer == device {
			s.conn.Close()
		}
	}
}

// serving is what peers are served with.
type serving struct {
	p2p.Server
	sent   func(peer string, s p2p.Sent)
	paused *devices
}

// newServing makes what serves an open clone. It uses only what any goroutine may use.
func (c *clone) newServing() *serving {
	git := c.git
	return &serving{sent: c.sent, paused: c.want.paused, Server: p2p.Server{
		UUID: c.id, Annex: c.annex, Arrivals: c.passing, ReadOnly: true, Log: c.log,
		Upload: func(ctx context.Context, conn io.ReadWriteCloser) error { return git.Serve(ctx, p2p.UploadPack, conn) },
	}}
}

// to makes the server of one peer's session.
func (s *serving) to(peer string) *p2p.Server {
	server := s.Server
	server.Sent = func(sent p2p.Sent) { s.sent(peer, sent) }
	return &server
}
