package agent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/config"
)

// insideVariable says that the test runs in network and mount namespaces of its own.
const insideVariable = "ARBOR_TEST_INSIDE_LAB"

var agentLog = regexp.MustCompile(`(?m)^.*\blevel=(DEBUG|INFO|WARN)\b.*\n`)

// inLab runs the test that calls it in namespaces of its own, and reports whether it is there: then it goes on. It needs
// user namespaces, or root, and iproute2.
func inLab(t *testing.T) bool {
	if os.Getenv(insideVariable) == "" {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), insideVariable+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s\n%v", out, err)
		}
		t.Logf("%s", agentLog.ReplaceAll(out, nil))
		return false
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		t.Fatalf("make mounts private: %v", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil { // where ip(8) keeps the names of namespaces
		t.Fatalf("mount /run: %v", err)
	}
	return true
}

// server is the host of the XMPP server. It passes nothing on. The laptop is where files are saved.
const server, laptop = "server", "laptop"

// topology is what a network looks like. A LAN is a switch with a router; only routers pass packets on. Hosts are in LANs, or
// at an end of a line, or both. Names have up to 15 letters.
type topology struct {
	lans  map[string][]string // the hosts of each
	lines []line
}

// line joins two routers or hosts. Both directions are alike.
type line struct {
	a, b  string
	mbit  int           // what it carries in a second; 0: what the machine can
	delay time.Duration // one way
	loss  float64       // the share of packets that is lost
}

// queued is for how long packets wait in front of a line until more are dropped.
const queued = 100 * time.Millisecond

// lab is a network of namespaces. Frames are large, so that what a line carries is close to what is sent; but lines that have a
// delay or lose packets are as the Internet in that, too.
type lab struct {
	t *testing.T
	*network
	nodes   map[string]*node
	account *config.Account
}

// node is a host or a router: a namespace.
type node struct {
	name   string
	router bool
	addrs  []netip.Prefix
	next   []neighbour
}

type neighbour struct {
	*node
	addr netip.Addr
}

func newLab(t *testing.T, top topology) *lab {
	l := &lab{t: t, nodes: make(map[string]*node)}
	l.run("mkdir", "-p", "/run/netns")
	l.node(server)
	for i, name := range slices.Sorted(maps.Keys(top.lans)) {
		l.lan(i+1, name, top.lans[name])
	}
	for i, line := range top.lines {
		l.line(i+1, line)
	}
	address := netip.MustParsePrefix("10.0.0.1/32") // by whichever way one comes
	l.nodes[server].addrs = append(l.nodes[server].addrs, address)
	l.run("ip", "-n", server, "addr", "add", address.String(), "dev", "lo")
	for _, n := range l.nodes {
		l.route(n)
	}
	dir := t.TempDir()
	l.network = &network{domain: "arbor.test", addr: address.Addr().String() + ":0", ca: filepath.Join(dir, "ca.pem"), dir: dir}
	l.start(t)
	return l
}

// run runs a command.
func (l *lab) run(words ...string) []byte {
	l.t.Helper()
	out, err := exec.CommandContext(l.t.Context(), words[0], words[1:]...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v: %s", strings.Join(words, " "), err, out)
	}
	return out
}

// ip runs commands of ip(8), one a line, in the namespace of a node.
func (l *lab) ip(n *node, commands string) {
	l.t.Helper()
	cmd := exec.CommandContext(l.t.Context(), "ip", "-n", n.name, "-batch", "-")
	cmd.Stdin = strings.NewReader(commands)
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("%s: %s: %v: %s", n.name, commands, err, out)
	}
}

// node returns the namespace of this name, made when it is first asked for. The server's is the one that the test runs in.
func (l *lab) node(name string) *node {
	l.t.Helper()
	if n := l.nodes[name]; n != nil {
		return n
	}
	n := &node{name: name}
	l.nodes[name] = n
	if name == server {
		l.run("ip", "netns", "attach", name, fmt.Sprint(os.Getpid()))
	} else {
		l.run("ip", "netns", "add", name)
	}
	l.ip(n, "link set lo up\n")
	return n
}

// lan makes a router with a switch, and joins hosts to it.
func (l *lab) lan(number int, name string, hosts []string) {
	l.t.Helper()
	router := l.node(name)
	router.router = true
	l.run("ip", "netns", "exec", name, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	inner := subnet(9, number, 1)
	router.addrs = append(router.addrs, inner)
	l.ip(router, fmt.Sprintf("link add lan mtu 9000 type bridge\naddr add %s dev lan\nlink set lan up\n", inner))
	for i, h := range hosts {
		host, addr := l.node(h), subnet(9, number, 2+i)
		l.ip(router, fmt.Sprintf("link add %s mtu 9000 type veth peer name %s mtu 9000 netns %s\nlink set %s master lan up\n",
			h, name, h, h))
		l.ip(host, fmt.Sprintf("addr add %s dev %s\nlink set %s up\n", addr, name, name))
		host.addrs = append(host.addrs, addr)
		join(router, inner, host, addr)
	}
}

// line makes a line, whose ends are called by what is at the other.
func (l *lab) line(number int, line line) {
	l.t.Helper()
	a, b := l.node(line.a), l.node(line.b)
	if line.delay > 0 || line.loss > 0 {
		l.emulate(line)
	} else {
		l.ip(a, fmt.Sprintf("link add %s mtu 9000 type veth peer name %s mtu 9000 netns %s\n", b.name, a.name, b.name))
	}
	addrs := [2]netip.Prefix{subnet(8, number, 1), subnet(8, number, 2)}
	for i, ends := range [2][2]*node{{a, b}, {b, a}} {
		from, to := ends[0], ends[1]
		from.addrs = append(from.addrs, addrs[i])
		l.ip(from, fmt.Sprintf("addr add %s dev %s\nlink set %s up\n", addrs[i], to.name, to.name))
		if line.mbit > 0 && line.delay == 0 && line.loss == 0 {
			l.run("tc", "-n", from.name, "qdisc", "add", "dev", to.name, "root", "tbf",
				"rate", fmt.Sprint(line.mbit, "mbit"), "burst", "128k", "latency", queued.String())
		}
	}
	join(a, addrs[0], b, addrs[1])
}

func subnet(net, number, host int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(net), byte(number), byte(host)}), 24)
}

func join(a *node, addrA netip.Prefix, b *node, addrB netip.Prefix) {
	a.next = append(a.next, neighbour{b, addrB.Addr()})
	b.next = append(b.next, neighbour{a, addrA.Addr()})
}

// route tells a node the shortest way to each address that it can reach. The others are unreachable at once.
func (l *lab) route(from *node) {
	var routes strings.Builder
	seen := map[*node]bool{from: true}
	type step struct{ at, first neighbour }
	var steps []step
	for _, n := range from.next {
		steps = append(steps, step{n, n})
	}
	for len(steps) > 0 {
		s := steps[0]
		steps = steps[1:]
		if seen[s.at.node] {
			continue
		}
		seen[s.at.node] = true
		for _, to := range s.at.addrs {
			if !slices.ContainsFunc(from.addrs, func(own netip.Prefix) bool { return own.Contains(to.Addr()) }) {
				fmt.Fprintf(&routes, "route add %s via %s\n", to.Addr(), s.first.addr)
			}
		}
		if s.at.router {
			for _, n := range s.at.next {
				steps = append(steps, step{n, s.first})
			}
		}
	}
	l.ip(from, routes.String())
}

// in runs f on a thread in the namespace of a node: sockets and devices that it opens belong there.
func (l *lab) in(name string, f func() error) {
	l.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		ns, err := os.Open("/run/netns/" + name)
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
			ns.Close()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		l.t.Fatalf("%s: %v", name, err)
	}
}

// carried is how many bytes, with all headers, have gone from a node onto a line or LAN.
func (l *lab) carried(from, to string) int64 {
	l.t.Helper()
	var links []struct {
		Stats struct {
			Tx struct{ Bytes int64 }
		} `json:"stats64"`
	}
	out := l.run("ip", "-n", from, "-s", "-j", "link", "show", "dev", to)
	if err := json.Unmarshal(bytes.TrimSpace(out), &links); err != nil || len(links) != 1 {
		l.t.Fatalf("count bytes: %v", err)
	}
	return links[0].Stats.Tx.Bytes
}
