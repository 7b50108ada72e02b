package xmpp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	dialTimeout = 10 * time.Second // for one address
	userTimeout = 20 * time.Second // until sent but unacknowledged bytes end a TCP connection
)

// endpoint is a place where the server may listen.
type endpoint struct {
	address   string // host:port
	directTLS bool   // TLS from the first byte instead of STARTTLS
}

// endpoints lists where to find the server, best first.
func (c *Client) endpoints(ctx context.Context) []endpoint {
	if to := c.redirect; to != "" {
		if _, _, err := net.SplitHostPort(to); err != nil { // RFC 6120 §4.9.3.19: the port is optional
			to = net.JoinHostPort(strings.Trim(to, "[]"), "5222")
		}
		return []endpoint{{to, c.opt.DirectTLS}}
	}
	if c.opt.Server != "" {
		return []endpoint{{c.opt.Server, c.opt.DirectTLS}}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return discover(ctx, c.domain, net.DefaultResolver.LookupSRV)
}

// discover finds the endpoints of a domain by RFC 6120 §3.2 and XEP-0368. Where
// DNS has no service records, the domain itself is the host.
func discover(ctx context.Context, domain string, lookup func(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)) []endpoint {
	var found []endpoint
	for _, service := range []string{"xmpps-client", "xmpp-client"} {
		_, records, err := lookup(ctx, service, "tcp", domain)
		if err != nil {
			continue
		}
		for _, r := range records {
			host := strings.TrimSuffix(r.Target, ".")
			if host == "" { // RFC 2782: the service is decidedly not offered
				continue
			}
			found = append(found, endpoint{net.JoinHostPort(host, strconv.Itoa(int(r.Port))), service == "xmpps-client"})
		}
	}
	if found == nil {
		found = []endpoint{{net.JoinHostPort(domain, "5222"), false}, {net.JoinHostPort(domain, "5223"), true}}
	}
	return found
}

// dial connects to the first endpoint that answers. Where the endpoint wants
// direct TLS, the connection returned is inside it; raw is the one below, which
// can be closed without waiting for anything.
func (c *Client) dial(ctx context.Context) (conn *wire, raw net.Conn, directTLS bool, err error) {
	var errs []error
	for _, e := range c.endpoints(ctx) {
		conn, raw, err := c.dialEndpoint(ctx, e)
		if err == nil {
			return conn, raw, e.directTLS, nil
		}
		errs = append(errs, fmt.Errorf("connect to %s: %w", e.address, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, nil, false, errors.Join(errs...)
}

func (c *Client) dialEndpoint(ctx context.Context, e endpoint) (*wire, net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := c.opt.Dial(ctx, "tcp", e.address)
	if err != nil {
		return nil, nil, err
	}
	conn := newWire(raw, maxNegotiation)
	if !e.directTLS {
		return conn, raw, nil
	}
	config := c.tlsConfig()
	config.NextProtos = []string{"xmpp-client"}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, nil, err
	}
	return conn.secured(secure), raw, nil
}

// tlsConfig verifies the server as the domain of the account, whatever its host
// is called (RFC 6125, RFC 7590).
func (c *Client) tlsConfig() *tls.Config {
	return &tls.Config{
		ServerName: c.domain, RootCAs: c.opt.RootCAs, MinVersion: tls.VersionTLS12, MaxVersion: c.maxTLS,
		// What is written at once is read at once: XML parsers put off a tag of which
		// they have seen half until much more has come (expat since 2.6).
		DynamicRecordSizingDisabled: true,
	}
}

func defaultDial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3},
		Control:         setUserTimeout,
	}
	return d.DialContext(ctx, network, address)
}

// stranded reports whether no interface that runs has the connection's local address any more.
func stranded(conn net.Conn) bool {
	local, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok || local.IP.IsLoopback() {
		return false
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return false
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			return false
		}
		if i.Flags&net.FlagRunning != 0 && slices.ContainsFunc(addrs, func(a net.Addr) bool {
			n, ok := a.(*net.IPNet)
			return ok && n.IP.Equal(local.IP)
		}) {
			return false
		}
	}
	return true
}
