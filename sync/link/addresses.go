package link

import (
	"context"
	"net"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// addressesSettle is how long after a change of addresses further ones are waited for: an interface gets several.
const addressesSettle = 300 * time.Millisecond

// WatchAddresses calls changed whenever Candidates gives other ones than before, because an interface came, went, or got
// another address; links over an address that is gone are closed by then. It returns the error of ctx when that ends. Where
// the system does not tell of changes (anything but Linux), it only waits.
func (n *Node) WatchAddresses(ctx context.Context, changed func()) error {
	events := make(chan struct{}, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return addressEvents(ctx, func() {
			select {
			case events <- struct{}{}:
			default:
			}
		})
	})
	g.Go(func() error {
		settled := time.NewTimer(0) // something may have changed before the first event
		defer settled.Stop()
		known := n.Candidates()
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-events:
				settled.Reset(addressesSettle)
			case <-settled.C:
				if now := n.Candidates(); !slices.Equal(now, known) {
					known = now
					n.dropStranded()
					changed()
				}
			}
		}
	})
	return g.Wait()
}

// dropStranded closes the links whose local address no interface that runs has any more.
func (n *Node) dropStranded() {
	addrs := interfaceAddrs()
	n.mu.Lock()
	var stranded []*Conn
	for c := range n.links {
		local, ok := c.LocalAddr().(*net.TCPAddr)
		if ok && !local.IP.IsLoopback() && !slices.Contains(addrs, local.AddrPort().Addr().Unmap()) {
			stranded = append(stranded, c)
		}
	}
	n.mu.Unlock()
	for _, c := range stranded {
		c.abort()
	}
}
