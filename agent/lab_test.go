package agent_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/config"
)

// labVariable says that the test runs in network and mount namespaces of its own.
const labVariable = "ARBOR_TEST_LAB"

// inLab runs the test that calls it in namespaces of its own, and reports whether it is there: then it goes on. It needs
// user namespaces, or root, and iproute2.
func inLab(t *testing.T) bool {
	if os.Getenv(labVariable) == "" {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), labVariable+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
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

// lab is a network of two LANs with a thin line between, the XMPP server being in the first. Frames are large, so that
// what the line carries is close to what is sent.
type lab struct {
	t *testing.T
	*network
	hosts   [2]int // in each LAN
	account *config.Account
}

func newLab(t *testing.T, thin string) *lab {
	l := &lab{t: t}
	l.run("ip link set lo up")
	l.run("ip netns add far")
	l.run("ip link add thin0 mtu 9000 type veth peer name thin1 mtu 9000 netns far")
	l.run("ip link add lan mtu 9000 type bridge")
	l.run("ip addr add 10.9.1.1/24 dev lan")
	l.run("ip addr add 10.9.9.1/30 dev thin0")
	l.run("ip link set lan up")
	l.run("ip link set thin0 up")
	l.run("ip route add 10.9.2.0/24 via 10.9.9.2")
	l.run("ip netns exec far ip link add lan mtu 9000 type bridge")
	l.run("ip netns exec far ip addr add 10.9.2.1/24 dev lan")
	l.run("ip netns exec far ip addr add 10.9.9.2/30 dev thin1")
	l.run("ip netns exec far ip link set lan up")
	l.run("ip netns exec far ip link set thin1 up")
	l.run("ip netns exec far ip route add default via 10.9.9.1")
	l.run("tc qdisc add dev thin0 root tbf rate " + thin + " burst 128k latency 100ms")
	l.run("ip netns exec far tc qdisc add dev thin1 root tbf rate " + thin + " burst 128k latency 100ms")
	for _, ns := range []string{"", "ip netns exec far "} {
		l.run(ns + "sh -c echo${IFS}1>/proc/sys/net/ipv4/ip_forward")
	}
	dir := t.TempDir()
	l.network = &network{domain: "arbor.test", addr: "10.9.1.1:0", ca: filepath.Join(dir, "ca.pem"), dir: dir}
	l.start(t)
	return l
}

// run runs a command whose words have no spaces.
func (l *lab) run(command string) string {
	l.t.Helper()
	words := strings.Fields(command)
	out, err := exec.CommandContext(l.t.Context(), words[0], words[1:]...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v: %s", command, err, out)
	}
	return string(out)
}

// host adds a machine to a LAN, 1 or 2, whose agent spawn starts there.
func (l *lab) host(lan int, name string) (m *machine, there func(*exec.Cmd)) {
	l.t.Helper()
	l.hosts[lan-1]++
	router := ""
	if lan == 2 {
		router = "ip netns exec far "
	}
	l.run("ip netns add " + name)
	l.run(router + "ip link add " + name + " mtu 9000 type veth peer name eth0")
	l.run(router + "ip link set " + name + " master lan up")
	l.run(router + "ip link set eth0 netns " + name)
	l.run("ip netns exec " + name + " ip link set lo up")
	l.run("ip netns exec " + name + " ip link set eth0 mtu 9000 up")
	l.run(fmt.Sprintf("ip netns exec %s ip addr add 10.9.%d.%d/24 dev eth0", name, lan, 1+l.hosts[lan-1]))
	l.run(fmt.Sprintf("ip netns exec %s ip route add default via 10.9.%d.1", name, lan))
	m = l.machine(l.t, name)
	if l.account == nil {
		conf, err := config.Load(m.paths.Config)
		if err != nil {
			l.t.Fatal(err)
		}
		l.account = &conf.Account
	} else { // one person's, so that nobody has to subscribe to anybody: servers take few subscriptions a minute
		m.account(func(a *config.Account) { a.JID, a.PasswordFile = l.account.JID, l.account.PasswordFile })
	}
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	return m, func(cmd *exec.Cmd) {
		ip, err := exec.LookPath("ip")
		if err != nil {
			l.t.Fatal(err)
		}
		cmd.Path, cmd.Args = ip, []string{"ip", "netns", "exec", name, self}
	}
}

// carried is how many bytes have gone over the thin line from the first LAN to the second.
func (l *lab) carried() int64 {
	l.t.Helper()
	var links []struct {
		Stats struct {
			Tx struct{ Bytes int64 }
		} `json:"stats64"`
	}
	if err := json.Unmarshal([]byte(l.run("ip -s -j link show dev thin0")), &links); err != nil || len(links) != 1 {
		l.t.Fatalf("count bytes: %v", err)
	}
	return links[0].Stats.Tx.Bytes
}

// grove makes a machine in the first LAN and others in the second, in step, whose agents have seen what the lines are like.
func (l *lab) grove(far int) (a *machine, others []*machine) {
	l.t.Helper()
	a, there := l.host(1, "laptop")
	a.init(agent.InitOptions{})
	a.spawn(there)
	a.online(0)
	for i := range far {
		m, there := l.host(2, fmt.Sprint("far", i))
		m.join(a, agent.JoinOptions{})
		m.spawn(there)
		others = append(others, m)
	}
	all := append([]*machine{a}, others...)
	for _, m := range all {
		m.online(far)
	}
	first := noise(4 << 20)
	a.save("first.bin", first)
	for _, m := range others {
		m.has("first.bin", first)
	}
	settled(l.t, all...)
	return a, others
}

// TestThinLine has a large file saved in one LAN reach five machines of another: it crosses the line between once.
func TestThinLine(t *testing.T) {
	if !inLab(t) {
		return
	}
	const size = 64 << 20
	l := newLab(t, "80mbit")
	a, others := l.grove(5)
	large := noise(size)
	before, begun := l.carried(), time.Now()
	a.save("large.bin", large)
	for _, m := range others {
		m.has("large.bin", large)
	}
	took, crossed := time.Since(begun), float64(l.carried()-before)/size
	t.Logf("the line carried %.3f times the content; the last had it after %.2f times what one crossing takes",
		crossed, took.Seconds()/(size/10e6))
	if crossed > 1.03 {
		t.Errorf("the line carried the content %.2f times", crossed)
	}
}

// TestRelayDies kills the machine that takes a content over the thin line, with half of it there. The others go on from what
// they have: nothing crosses the line a second time, but what the dead one had not passed on yet.
func TestRelayDies(t *testing.T) {
	if !inLab(t) {
		return
	}
	const size = 48 << 20
	l := newLab(t, "80mbit")
	a, others := l.grove(3)
	large := noise(size)
	before := l.carried()
	a.save("large.bin", large)
	var relay *machine
	a.eventually("send half of it", func() error {
		if sent := l.carried() - before; sent < size/2 {
			return fmt.Errorf("%d bytes are sent", sent)
		}
		return nil
	})
	for _, m := range others {
		s, err := m.client().Status(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range s.Transfers {
			if row.Peer == a.name && row.State == status.TransferRunning {
				if relay != nil {
					t.Fatalf("%s and %s both get it from the %s", relay.name, m.name, a.name)
				}
				relay = m
			}
		}
	}
	if relay == nil {
		t.Fatal("nobody gets it over the line")
	}
	relay.kill()
	begun, left := time.Now(), size-(l.carried()-before)
	for _, m := range others {
		if m != relay {
			m.has("large.bin", large)
		}
	}
	crossed := float64(l.carried()-before) / size
	t.Logf("%s died; the line carried %.3f times the content, and the others had it %.1f s after what was left takes",
		relay.name, crossed, time.Since(begun).Seconds()-float64(left)/10e6)
	if crossed > 1.03+4.0/48 {
		t.Errorf("the line carried the content %.2f times", crossed)
	}
}
