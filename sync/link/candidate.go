package link

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strconv"
)

// A Candidate is a place to try to reach a device.
type Candidate struct {
	Kind     string
	Addr     string // host:port
	Priority int    // higher is tried first
	HostID   string // of kind "host": tried only by nodes with the same
}

// Priorities by what an address costs to try and how good it is when it works.
const (
	priorityHost   = 1000
	priorityLAN    = 800 // and one less for each further address
	priorityStatic = 500
	priorityGlobal = 300 // IPv6 that the whole Internet routes: firewalls mostly drop it

	maxCandidates = 12
)

// Candidates returns where this node can be reached now, best first, at most 12. The
// addresses of interfaces are looked up anew each time.
func (n *Node) Candidates() []Candidate {
	var cands []Candidate
	add := func(kind, host string, port uint16, priority int) {
		addr := net.JoinHostPort(host, strconv.Itoa(int(port)))
		if slices.ContainsFunc(cands, func(c Candidate) bool { return c.Addr == addr }) {
			return
		}
		c := Candidate{Kind: kind, Addr: addr, Priority: priority}
		if kind == KindHost {
			c.HostID = n.hostID
		}
		cands = append(cands, c)
	}
	for _, l := range n.listeners {
		at := l.Addr().(*net.TCPAddr).AddrPort()
		ip := at.Addr().Unmap()
		switch {
		case ip.IsUnspecified():
			// Go listens on [::] for both families where the system can.
			add(KindHost, "127.0.0.1", at.Port(), priorityHost)
			for i, addr := range interfaceAddrs() {
				if addr.Is4() || ip.Is6() {
					add(KindLAN, addr.String(), at.Port(), lanPriority(addr)-i)
				}
			}
		case ip.IsLoopback():
			add(KindHost, ip.String(), at.Port(), priorityHost)
		default:
			add(KindLAN, ip.String(), at.Port(), lanPriority(ip))
		}
	}
	for i, addr := range n.advertise {
		cands = append(cands, Candidate{Kind: KindStatic, Addr: addr, Priority: priorityStatic - i})
	}
	slices.SortStableFunc(cands, func(a, b Candidate) int { return cmp.Compare(b.Priority, a.Priority) })
	return cands[:min(len(cands), maxCandidates)]
}

func lanPriority(ip netip.Addr) int {
	if ip.Is6() && !ip.IsPrivate() {
		return priorityGlobal
	}
	return priorityLAN
}

// interfaceAddrs returns the addresses of this host that others may reach: IPv4 first.
// Link-local ones are left out: they mean nothing without the name of an interface.
func interfaceAddrs() []netip.Addr {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var addrs []netip.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagRunning == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		nets, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, n := range nets {
			p, err := netip.ParsePrefix(n.String())
			if ip := p.Addr().Unmap(); err == nil && ip.IsGlobalUnicast() {
				addrs = append(addrs, ip)
			}
		}
	}
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return cmp.Compare(a.BitLen(), b.BitLen()) })
	return addrs
}
