package main

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// serviceManager tells systemd how the agent is, as sd_notify(3) says. Without systemd it does nothing.
type serviceManager struct {
	socket   string
	watchdog time.Duration // how often systemd wants to hear of the agent; 0: not at all
}

// newServiceManager reads the variables of sd_notify(3) and sd_watchdog_enabled(3), and takes them out of the environment
// so that no child speaks for the agent.
func newServiceManager() *serviceManager {
	m := &serviceManager{socket: os.Getenv("NOTIFY_SOCKET")}
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	pid := os.Getenv("WATCHDOG_PID")
	if err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		m.watchdog = time.Duration(usec) * time.Microsecond
	}
	for _, key := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		os.Unsetenv(key)
	}
	return m
}

// tell sends assignments such as "READY=1". Nothing depends on their arrival.
func (m *serviceManager) tell(assignments ...string) {
	if m.socket == "" {
		return
	}
	// A leading @ is the abstract namespace, for package net as for systemd.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(strings.Join(assignments, "\n")))
}

// status shows one line in systemctl status.
func (m *serviceManager) status(line string) {
	m.tell("STATUS=" + strings.ReplaceAll(line, "\n", " "))
}

// feed pets the watchdog for as long as alive says so, until ctx ends.
func (m *serviceManager) feed(ctx context.Context, alive func(context.Context) error) {
	if m.watchdog == 0 {
		return
	}
	tick := time.NewTicker(m.watchdog / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		check, cancel := context.WithTimeout(ctx, m.watchdog/4)
		if alive(check) == nil {
			m.tell("WATCHDOG=1")
		}
		cancel()
	}
}
