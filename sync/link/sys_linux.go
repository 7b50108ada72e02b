package link

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tune sets what makes a link fast and notices when it is dead: no delay for small
// writes (Go's default), keep-alive, an end when sent bytes stay unacknowledged for
// 20 s, and bbr, which on a lossy path is many times faster than cubic. None is
// worth an error.
func tune(c *net.TCPConn) {
	_ = c.SetNoDelay(true)
	_ = c.SetKeepAliveConfig(keepAlive)
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 20_000)
		_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "bbr")
	})
}

// roundTrip returns the kernel's smoothed round-trip time, or 0.
func roundTrip(c *net.TCPConn) time.Duration {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	var rtt time.Duration
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			rtt = time.Duration(info.Rtt) * time.Microsecond
		}
	})
	return rtt
}

// hostID names this boot of this host's network namespace and this user: nodes with
// the same reach each other's loopback.
func hostID() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	namespace, _ := os.Readlink("/proc/self/ns/net")
	sum := sha256.Sum256(fmt.Appendf(nil, "arbor host v1\x00%s\x00%s\x00%d", strings.TrimSpace(string(boot)), namespace, os.Getuid()))
	return hex.EncodeToString(sum[:16])
}

// addressEvents calls event after each change of the addresses of interfaces, as rtnetlink(7) tells it, until ctx ends.
func addressEvents(ctx context.Context, event func()) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	f := os.NewFile(uintptr(fd), "netlink")
	defer f.Close()
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return fmt.Errorf("bind netlink: %w", err)
	}
	defer context.AfterFunc(ctx, func() { f.Close() })()
	// What is told does not matter, nor what is lost of it: the addresses are looked up.
	buf := make([]byte, 64<<10)
	for {
		_, err := f.Read(buf)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, io.EOF):
			return fmt.Errorf("read netlink: %w", err)
		}
		event()
	}
}
