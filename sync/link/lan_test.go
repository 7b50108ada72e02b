package link

import (
	"net"
	"testing"
)

// farEnd is a connection of which only the other end's address matters.
type farEnd struct {
	net.Conn
	addr net.Addr
}

func (f farEnd) RemoteAddr() net.Addr { return f.addr }

func TestLAN(t *testing.T) {
	want := map[string]bool{
		"127.0.0.1": true, "127.1.2.3": true, "::1": true, "fe80::1": true,
		"2001:db8::1": false, "8.8.8.8": false, // documentation, and far away
	}
	for _, ip := range interfaceAddrs() {
		want[ip.String()] = true
	}
	for ip, want := range want {
		c := &Conn{Conn: farEnd{addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}}}
		if got := c.LAN(); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
	if (&Conn{Conn: farEnd{addr: &net.UnixAddr{}}}).LAN() {
		t.Error("what has no IP address is on the LAN")
	}
}
