package agent_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/sync/annex"
)

// labVariable says how many megabytes the large file of a lab has, as make lab sets it. Then the machine is taken to be fast
// enough for the lines, and there are bounds on times; otherwise on bytes only.
const labVariable = "ARBOR_TEST_LAB"

// labSize gives the size of a lab's file, which is small where nothing else is asked for.
func labSize(t *testing.T, usual int) (size int, timed bool) {
	t.Helper()
	s := os.Getenv(labVariable)
	if s == "" {
		return usual, false
	}
	mb, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", labVariable, err)
	}
	return mb * 1e6, true
}

// host gives a host a machine, whose agent spawn starts there.
func (l *lab) host(name string) (m *machine, there func(*exec.Cmd)) {
	l.t.Helper()
	// What every kernel has: that it is another on this one must not help.
	l.run("ip", "netns", "exec", name, "sh", "-c", "echo reno >/proc/sys/net/ipv4/tcp_congestion_control")
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
	ip, err := exec.LookPath("ip")
	if err != nil {
		l.t.Fatal(err)
	}
	return m, func(cmd *exec.Cmd) { cmd.Path, cmd.Args = ip, []string{"ip", "netns", "exec", name, self} }
}

// grove makes machines that have the same, each invited by the one before. Their agents have seen what the lines are like, and
// agree on it.
func (l *lab) grove(names ...string) []*machine {
	l.t.Helper()
	var ms []*machine
	for i, name := range names {
		m, there := l.host(name)
		if i == 0 {
			m.init(agent.InitOptions{})
		} else {
			m.join(ms[i-1], agent.JoinOptions{})
		}
		m.spawn(there)
		m.online(i)
		ms = append(ms, m)
	}
	for _, m := range ms {
		m.online(len(names) - 1)
	}
	first := noise(8 << 20)
	ms[0].save("first.bin", first)
	for _, m := range ms[1:] {
		m.has("first.bin", first)
	}
	ms[0].eventually("draw the same map as the others", func() error {
		var drawn []byte
		for _, m := range ms {
			reply, err := m.client().Map(l.t.Context(), control.MapRequest{Clone: m.dir, File: "first.bin"})
			if err != nil {
				return err
			}
			if drawn != nil && !bytes.Equal(reply.Problem, drawn) {
				return fmt.Errorf("the map is\n%s, that of %s is\n%s", drawn, m.name, reply.Problem)
			}
			drawn = reply.Problem
		}
		return nil
	})
	return ms
}

// spread saves a file of this size on the first machine, and gives how long after that each of the others had it.
func spread(ms []*machine, size int) []time.Duration {
	ms[0].t.Helper()
	content := noise(size)
	ms[0].save("large.bin", content)
	begun := time.Now()
	others := ms[1:]
	took := make([]time.Duration, len(others))
	ms[0].eventually("have everybody get the file", func() error {
		var missing error
		for i, m := range others {
			if took[i] > 0 {
				continue
			}
			// Only whole files are given to the work tree.
			if st, err := os.Stat(m.path("large.bin")); err == nil && st.Size() == int64(size) {
				took[i] = time.Since(begun)
			} else {
				missing = cmp.Or(missing, fmt.Errorf("%s has not", m.name))
			}
		}
		return missing
	})
	for _, m := range others {
		m.has("large.bin", content)
	}
	return took
}

// once checks that what a line has carried is a content once: within 3 %, or, where it is small, what agents tell each other
// meanwhile.
func once(t *testing.T, what string, carried int64, size int) {
	t.Helper()
	if float64(carried) > float64(size)+max(0.03*float64(size), 768e3) {
		t.Errorf("%s carried the content %.3f times", what, float64(carried)/float64(size))
	}
}

// copies has hosts get size bytes from the laptop, all at once, each over a TCP connection of its own with the congestion
// control that is named: the least that everyone getting a file from its source costs, and with one host, what a line can do. It
// gives how long that took, and how long the slowest connection took to be made, which is a round trip.
func (l *lab) copies(congestion string, size int, to ...string) (took, roundTrip time.Duration) {
	l.t.Helper()
	var source net.Listener
	l.in(laptop, func() (err error) {
		source, err = net.Listen("tcp", l.nodes[laptop].addrs[0].Addr().String()+":0")
		return err
	})
	stop := background(l.t, func(ctx context.Context) error {
		var sends sync.WaitGroup
		defer sends.Wait()
		defer context.AfterFunc(ctx, func() { source.Close() })()
		for {
			conn, err := source.Accept()
			if err != nil {
				return err
			}
			sends.Go(func() {
				defer conn.Close()
				if err := setCongestion(conn.(*net.TCPConn), congestion); err != nil {
					l.t.Errorf("send by %s: %v", congestion, err)
				}
				block := []byte(noise(1 << 20))
				for left := size; left > 0; left -= len(block) {
					if _, err := conn.Write(block[:min(left, len(block))]); err != nil {
						return // the receiver counts
					}
				}
			})
		}
	})
	defer stop()
	begun := time.Now()
	conns := make([]net.Conn, len(to))
	for i, host := range to {
		l.in(host, func() (err error) {
			dialled := time.Now()
			conns[i], err = net.Dial("tcp", source.Addr().String())
			roundTrip = max(roundTrip, time.Since(dialled))
			return err
		})
	}
	var all sync.WaitGroup
	for _, conn := range conns {
		all.Go(func() {
			defer conn.Close()
			if n, err := io.Copy(io.Discard, conn); err != nil || n != int64(size) {
				l.t.Errorf("%d of %d bytes came: %v", n, size, err)
			}
		})
	}
	all.Wait()
	return time.Since(begun), roundTrip
}

// setCongestion chooses the algorithm that a connection sends by. Not every kernel has each.
func setCongestion(conn *net.TCPConn, name string) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	return errors.Join(raw.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
	}), err)
}

// watchObjects checks whatever appears among the annexed objects of a machine, as soon as it does, against the hash in its name.
// What is returned stops it and gives how many it has seen.
func watchObjects(m *machine) (stop func() int) {
	dir := m.path(".git/annex/objects")
	proven := make(map[string]bool)
	look := func() error {
		return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() || proven[path] {
				return err
			}
			if err := prove(path); err != nil {
				return fmt.Errorf("%s: visible as an object: %w", m.name, err)
			}
			proven[path] = true
			return nil
		})
	}
	end := background(m.t, func(ctx context.Context) error {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			if err := look(); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	})
	return func() int {
		end()
		return len(proven)
	}
}

// prove checks a file whose name is an annex key.
func prove(path string) error {
	k, err := annex.ParseKeyFile(filepath.Base(path))
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	v := k.Verifier()
	if _, err := io.Copy(v, f); err != nil {
		return err
	}
	return v.Check()
}
