package agent_test

import (
	"fmt"
	"testing"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/sync/netmap"
)

// TestLabCloud takes the line away by which a laptop reaches two machines at home. What all still reach is the XMPP server, and the laptop
// and one of the others a directory and a bare repository, which stand for a cloud: commits and contents go through these.
func TestLabCloud(t *testing.T) {
	if !inLab(t) {
		return
	}
	l := newLab(t, topology{
		lans:  map[string][]string{"home": {"desktop", "nas"}},
		lines: []line{{a: server, b: laptop}, {a: server, b: "desktop"}, {a: server, b: "nas"}, {a: laptop, b: "home"}},
	})
	ms := l.grove(laptop, "desktop", "nas")
	a, b, c := ms[0], ms[1], ms[2]
	cloud, origin := t.TempDir(), t.TempDir()
	a.try("init", "-q", "--bare", origin)
	a.try("annex", "initremote", "cloud", "type=directory", "directory="+cloud, "encryption=none")
	a.try("remote", "add", "origin", origin)
	b.eventually("know the cloud", func() error {
		_, err := b.tryGit("annex", "enableremote", "cloud", "directory="+cloud)
		return err
	})
	b.try("remote", "add", "origin", origin)
	settled(t, ms...)
	l.ip(l.nodes["home"], "link set laptop down\n")

	large, text, back := noise(5<<20), noise(60_000), noise(2<<20) // the text is in git, and too large for a signal
	a.save("large.bin", large)
	a.save("text", text)
	for _, m := range ms[1:] {
		m.has("large.bin", large)
		m.has("text", text)
	}
	c.save("back.bin", back)
	a.has("back.bin", back)
	b.has("back.bin", back)
	settled(t, ms...)
	a.sound()
}

// TestLabMove carries a laptop from one LAN to another, between which there is a line: the others measure anew what it is to them.
func TestLabMove(t *testing.T) {
	if !inLab(t) {
		return
	}
	l := newLab(t, topology{
		lans:  map[string][]string{"home": {laptop, "desktop"}, "office": {laptop}},
		lines: []line{{a: server, b: "home"}, {a: server, b: "office"}, {a: "home", b: "office", mbit: 80}},
	})
	l.ip(l.nodes["office"], "link set "+laptop+" down\n")
	ms := l.grove(laptop, "desktop")
	a, b := ms[0], ms[1]
	cost := func(want float64) {
		t.Helper()
		for _, m := range ms {
			m.eventually(fmt.Sprintf("draw a map of edges that cost %g", want), func() error {
				reply, err := m.client().Map(t.Context(), control.MapRequest{Clone: m.dir})
				if err != nil {
					return err
				}
				n, _, err := netmap.Decode(reply.Problem)
				if err != nil {
					return err
				}
				for _, e := range n.Edges {
					if e.Cost != want {
						return fmt.Errorf("the map is %s", reply.Problem)
					}
				}
				return nil
			})
		}
	}
	cost(150)
	l.ip(l.nodes[laptop], "link set home down\nroute replace default via 10.9.2.1\n")
	l.ip(l.nodes["office"], "link set "+laptop+" up\n")
	l.ip(l.nodes["home"], "route replace 10.9.2.2 via 10.8.3.2\n")
	l.ip(l.nodes[server], "route replace 10.9.2.2 via 10.8.2.2\n")
	content := noise(6 << 20)
	a.save("moved.bin", content)
	b.has("moved.bin", content)
	cost(200)
	settled(t, ms...)
}
