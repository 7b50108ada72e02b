package xmppserver

import (
	"net"
	"net/netip"
	"sync"
)

// admission counts connections, so that strangers cannot take all there are.
type admission struct {
	mu      sync.Mutex
	all     int
	waiting int // not authenticated
	from    map[netip.Prefix]int
}

// seat is the place of one connection.
type seat struct {
	door    *admission
	network netip.Prefix
	waiting bool // guarded by door.mu
}

// enter returns nil if there is no room.
func (a *admission) enter(l limits, remote net.Addr) *seat {
	network := networkOf(remote)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all >= l.conns || a.waiting >= l.waiting || a.from[network] >= l.perNetwork {
		return nil
	}
	a.all++
	a.waiting++
	a.from[network]++
	return &seat{door: a, network: network, waiting: true}
}

// authenticated makes room for other strangers.
func (s *seat) authenticated() {
	s.door.mu.Lock()
	defer s.door.mu.Unlock()
	s.known()
}

func (s *seat) leave() {
	s.door.mu.Lock()
	defer s.door.mu.Unlock()
	s.known()
	s.door.all--
}

func (s *seat) known() {
	if !s.waiting {
		return
	}
	s.waiting = false
	s.door.waiting--
	if s.door.from[s.network]--; s.door.from[s.network] == 0 {
		delete(s.door.from, s.network)
	}
}

// networkOf is what one stranger can be assumed to have: an IPv4 address, an IPv6 /64.
func networkOf(remote net.Addr) netip.Prefix {
	a, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip := a.Addr().Unmap()
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.WithZone("").Prefix(bits) // within the length of either kind
	return p
}
