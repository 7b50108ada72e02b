package xmpp

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// setUserTimeout lets the kernel give up on a peer that acknowledges nothing,
// which takes a quarter of an hour by default.
func setUserTimeout(_, _ string, conn syscall.RawConn) error {
	var failed error
	err := conn.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}
