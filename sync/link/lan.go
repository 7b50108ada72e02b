package link

import "net"

// LAN reports whether the bytes of the link stay on this host, or on a network that one of its interfaces is part of.
// Point-to-point interfaces do not count: those are tunnels and dial-up lines.
func (c *Conn) LAN() bool {
	remote, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return false
	}
	if remote.IP.IsLoopback() || remote.IP.IsLinkLocalUnicast() {
		return true
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return false
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagRunning == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if ok && (n.IP.Equal(remote.IP) || i.Flags&net.FlagPointToPoint == 0 && n.Contains(remote.IP)) {
				return true
			}
		}
	}
	return false
}
