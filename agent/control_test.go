package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
)

// TestSlowTimerAlone has no XMPP server for good: the slow timer brings all over, over links.
func TestSlowTimerAlone(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	ms := n.grove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.save("before", "1")
	only(t, map[string]string{"before": "1"}, a, b)
	for _, m := range ms {
		m.configure("\n[sync]\ninterval = \"1s\"\n")
	}
	n.stop()
	a.session(status.SessionOffline)
	b.session(status.SessionOffline)
	large := noise(300_000)
	a.save("of the laptop", "x")
	a.save("large.bin", large)
	b.save("of the desktop", "y")
	b.has("of the laptop", "x")
	b.has("large.bin", large)
	a.has("of the desktop", "y")
	b.eventually("have the same", func() error {
		if x, y := a.git("rev-parse", "HEAD"), b.git("rev-parse", "HEAD"); x != y {
			return fmt.Errorf("%s and %s", x, y)
		}
		return nil
	})
}

// TestHooksAreTold has the person's programs write down their environment.
func TestHooksAreTold(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	out := func(m *machine) string { return filepath.Join(m.home, "told") }
	for _, m := range ms {
		line := "env | grep ^ARBOR_ | sort > " + out(m) + ".$ARBOR_EVENT.new && pwd >> " + out(m) + ".$ARBOR_EVENT.new && mv " + out(m) + ".$ARBOR_EVENT.new " + out(m) + ".$ARBOR_EVENT"
		m.configure(fmt.Sprintf("\n[hooks]\nbefore = %q\nafter = %q\n", line, line))
	}
	a.save("some file", "1\n")
	only(t, map[string]string{"some file": "1\n"}, a, b)
	head := a.git("rev-parse", "HEAD")
	for _, m := range ms {
		peer := ""
		if m == b {
			peer = "laptop"
		}
		for _, event := range []string{"before", "after"} {
			m.eventually("run the hook "+event, func() error {
				got, err := os.ReadFile(out(m) + "." + event)
				if err != nil {
					return err
				}
				for _, want := range []string{
					"ARBOR_EVENT=" + event, "ARBOR_CLONE=" + m.name, "ARBOR_CLONE_PATH=" + m.dir, "ARBOR_PEER=" + peer, "ARBOR_OLD=",
					"ARBOR_NEW=" + head, "ARBOR_PATHS=some file", "ARBOR_PATHS_TRUNCATED=", m.dir,
				} {
					if !slices.Contains(strings.Split(string(got), "\n"), want) {
						return fmt.Errorf("%q is not in %s", want, got)
					}
				}
				return nil
			})
		}
	}
}

// TestSyncWaits has Sync with Wait return only when the other has the same, and Pause hold back contents alone.
func TestSyncWaits(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	for round := range 5 {
		want := fmt.Sprintf("round %d\n", round)
		a.save("note", want)
		if err := a.client().Notify(t.Context(), control.NotifyRequest{Clone: a.dir}); err != nil {
			t.Fatal(err)
		}
		reply, err := a.client().Sync(t.Context(), control.SyncRequest{Clone: a.dir, Wait: true})
		if err != nil || !reply.InStep || reply.Peers != 1 {
			t.Fatalf("round %d: sync says %+v, %v", round, reply, err)
		}
		if got, err := os.ReadFile(b.path("note")); err != nil || string(got) != want {
			t.Fatalf("round %d: sync returned, and the desktop has %q (%v)", round, got, err)
		}
	}
	if err := b.client().Pause(t.Context(), control.PauseRequest{}); err != nil {
		t.Fatal(err)
	}
	b.stop()
	b.start()
	b.online(1)
	large := noise(300_000)
	a.save("large.bin", large)
	a.save("note", "while paused\n")
	b.has("note", "while paused\n")
	b.eventually("have the pointer", func() error {
		got, err := os.ReadFile(b.path("large.bin"))
		if err == nil && !strings.HasPrefix(string(got), "/annex/objects/") {
			err = fmt.Errorf("it holds %.40q", got)
		}
		return err
	})
	b.eventually("be paused", func() error {
		c, err := b.clone()
		if err == nil && c.State != status.StatePaused {
			err = fmt.Errorf("it is %s", c.State)
		}
		return err
	})
	if reply, err := b.client().Sync(t.Context(), control.SyncRequest{Clone: b.dir, Wait: true}); err != nil || reply.InStep {
		t.Errorf("sync while paused: %+v, %v", reply, err)
	}
	if err := b.client().Resume(t.Context(), control.PauseRequest{}); err != nil {
		t.Fatal(err)
	}
	b.has("large.bin", large)
	settled(t, a, b)
}

// TestWritersAtWork has one file kept open for long while a peer changes it, and a log that never rests.
func TestWritersAtWork(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	a.save("open.txt", "one\ntwo\nthree\n")
	a.save("log", "")
	only(t, map[string]string{"open.txt": "one\ntwo\nthree\n", "log": ""}, a, b)
	f, err := os.OpenFile(b.path("open.txt"), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("four\n"); err != nil {
		t.Fatal(err)
	}
	a.save("open.txt", "ONE\ntwo\nthree\n")
	a.save("other", "1\n")
	b.eventually("hear of the change", func() error {
		c, err := b.clone()
		if err == nil && c.State != status.StateWaiting {
			err = fmt.Errorf("it is %s (%s)", c.State, c.Detail)
		}
		return err
	})
	if _, err := f.WriteString("five\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, m := range ms {
		m.has("open.txt", "ONE\ntwo\nthree\nfour\nfive\n")
		m.has("other", "1\n")
	}
	settled(t, a, b)

	lines := ""
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i := range 60 {
		<-tick.C // a program that writes twenty times a second
		line := fmt.Sprintf("line %d\n", i)
		lines += line
		f, err := os.OpenFile(a.path("log"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(line); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if i == 30 {
			b.save("meanwhile", "2\n")
		}
	}
	a.has("meanwhile", "2\n")
	b.has("log", lines)
	settled(t, a, b)
	if n := a.git("rev-list", "--count", "HEAD", "--", "log"); len(n) > 2 {
		t.Errorf("%s commits of a log of 60 lines", n)
	} else {
		t.Logf("%s commits of a log of 60 lines", n)
	}
}

// TestTransferIsResumed restarts the agent that receives, and then the one that sends, in the middle of a large file.
func TestTransferIsResumed(t *testing.T) {
	t.Parallel()
	ms := newGrove(t, agent.InitOptions{}, "laptop", "desktop")
	a, b := ms[0], ms[1]
	b.configure("\n[limits]\ndown = \"4M\"\nlan = true\n")
	large := noise(20 << 20)
	a.save("large.bin", large)
	restarted := int64(0)
	for _, victim := range []*machine{b, a} {
		b.eventually("be in the middle", func() error {
			s, err := b.client().Status(t.Context(), 0)
			if err != nil {
				return err
			}
			for _, row := range s.Transfers {
				if row.Bytes < restarted {
					return fmt.Errorf("it began again at %d bytes, after %d", row.Bytes, restarted)
				}
				if row.Bytes > restarted+4<<20 {
					restarted = row.Bytes
					return nil
				}
			}
			return fmt.Errorf("transfers are %+v", s.Transfers)
		})
		victim.stop()
		victim.start()
	}
	b.has("large.bin", large)
	settled(t, a, b)
}

// TestServerForgets has the server restart while signals are under way, over and over.
func TestServerForgets(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	ms := n.grove(t, agent.InitOptions{Plain: true}, "laptop", "desktop")
	want := make(map[string]string)
	for round := range 4 {
		for i, m := range ms {
			name := fmt.Sprintf("%s %d", m.name, round)
			want[name] = noise(20_000 * i)
			m.save(name, want[name])
		}
		n.stop()
		for _, m := range ms {
			name := fmt.Sprintf("%s %d, alone", m.name, round)
			want[name] = name
			m.save(name, name)
		}
		n.start(t)
	}
	only(t, want, ms...)
}
