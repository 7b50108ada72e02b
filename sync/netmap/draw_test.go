package netmap_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/git-arbor/arbor/sync/netmap"
)

var labels = netmap.Labels{
	Node: func(id string) string { return id },
	Hop:  func(h netmap.Hop) string { return fmt.Sprintf("%.0f s", h.Seconds) },
}

// drawn is a plan with two holders, a chain and one that is missed.
func drawn() *netmap.Plan {
	return &netmap.Plan{
		Hops: []netmap.Hop{
			{From: "nas", To: "desktop", Seconds: 10},
			{From: "nas", To: "laptop", Seconds: 12},
			{From: "desktop", To: "phone", Seconds: 11},
			{From: "cloud", To: `t"v<&\`, Seconds: 3},
		},
		Unreachable: []string{"attic"},
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	want := strings.Join([]string{
		"cloud",
		"`-- t\"v<&\\     3 s",
		"nas",
		"|-- desktop    10 s",
		"|   `-- phone  11 s",
		"`-- laptop     12 s",
		"attic cannot be reached",
		"",
	}, "\n")
	if got := drawn().Text(labels); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDOT(t *testing.T) {
	t.Parallel()
	want := `digraph plan {
	rankdir=LR;
	node [shape=box];
	n0 [label="cloud", style=bold];
	n1 [label="t\"v<&\\"];
	n0 -> n1 [label="3 s"];
	n2 [label="nas", style=bold];
	n3 [label="desktop"];
	n4 [label="phone"];
	n3 -> n4 [label="11 s"];
	n2 -> n3 [label="10 s"];
	n5 [label="laptop"];
	n2 -> n5 [label="12 s"];
	n6 [label="attic", style=dashed];
}
`
	if got := drawn().DOT(labels); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSVG(t *testing.T) {
	t.Parallel()
	svg := drawn().SVG(labels)
	for _, want := range []string{
		`<svg xmlns="http://www.w3.org/2000/svg" width="408" height="178" viewBox="0 0 408 178" role="img">`,
		`<g class="holder"><title>nas</title><rect x="16" y="76" width="72" height="26" rx="5"/><text x="24" y="94">nas</text></g>`,
		`<g class="missed"><title>attic</title><rect x="16" y="136"`,
		`<title>t&#34;v&lt;&amp;\</title>`,
		`<text class="hop" x="124" y="25">3 s</text>`,
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %s in\n%s", want, svg)
		}
	}
	checkXML(t, svg)
}

func TestSVGIsWellFormed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		net, p := drawNetwork(t, 9)
		m, err := netmap.New(net)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := m.Plan(p)
		if err != nil {
			t.Fatal(err)
		}
		name := rapid.String().Draw(t, "name")
		checkXML(t, plan.SVG(netmap.Labels{
			Node: func(id string) string { return name + id },
			Hop:  func(netmap.Hop) string { return name },
		}))
	})
}

func checkXML(t rapid.TB, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
}
