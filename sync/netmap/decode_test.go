package netmap_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/git-arbor/arbor/sync/netmap"
)

const example = `{
  "schema": 1,
  "nodes": [{"id": "a"}, {"id": "b", "relay": true, "up": 1e8, "down": 2.5E+7, "site": "home\u0021"}],
  "sites": [{"id": "home!", "up": 5e6, "down": 1e7}],
  "edges": [{"from": "a", "to": "b", "cost": 100, "rate": 1e6, "rtt": 0.01}, {"to": "a", "from": "b"}],
  "holders": ["a"], "wanters": ["b"], "objective": "time", "size": 200000000
}`

func TestDecode(t *testing.T) {
	t.Parallel()
	net, p, err := netmap.Decode([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	wantNet := netmap.Network{
		Nodes: []netmap.Node{{ID: "a"}, {ID: "b", Relay: true, Up: 1e8, Down: 2.5e7, Site: "home!"}},
		Sites: []netmap.Site{{ID: "home!", Up: 5e6, Down: 1e7}},
		Edges: []netmap.Edge{{From: "a", To: "b", Cost: 100, Rate: 1e6, RTT: 0.01}, {From: "b", To: "a"}},
	}
	wantProblem := netmap.Problem{Holders: []string{"a"}, Wanters: []string{"b"}, Objective: netmap.Time, Size: 200e6}
	if d := cmp.Diff(wantNet, net) + cmp.Diff(wantProblem, p); d != "" {
		t.Error(d)
	}
	data, err := netmap.Encode(net, p)
	if err != nil {
		t.Fatal(err)
	}
	sameNet, sameProblem, err := netmap.Decode(data)
	if d := cmp.Diff(net, sameNet) + cmp.Diff(p, sameProblem); d != "" || err != nil {
		t.Errorf("encoded and decoded: %v %s", err, d)
	}
	_, p, err = netmap.Decode([]byte(`{}`))
	if err != nil || p.Objective != netmap.Time || p.Size != netmap.DefaultSize {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestDecodeNamesThePlace(t *testing.T) {
	t.Parallel()
	tests := []struct{ json, place, reason string }{
		{``, "line 1, column 1", "unexpected end"},
		{"{\n  \"nodes\": [}", "line 2, column 13", "invalid character '}'"},
		{`{} {}`, "line 1, column 4", "after top-level value"},
		{"{\"nodes\":\n\"\xff\"}", "line 2, column 2", "not UTF-8"},
		{`[]`, "", "want an object, not a list"},
		{`{"schema": 2}`, "schema", "only 1 is known"},
		{`{"objectve": "cost"}`, "objectve", "unknown field"},
		{`{"Nodes": []}`, "Nodes", "unknown field"},
		{`{"nodes": {}}`, "nodes", "want a list, not an object"},
		{`{"nodes": [1]}`, "nodes[0]", "want an object, not a number"},
		{`{"nodes": [], "nodes": []}`, "nodes", "twice"},
		{`{"nodes": [{"id": "a"}, {"id": 7}]}`, "nodes[1].id", "want a string, not a number"},
		{`{"nodes": [{"id": "a", "id": "b"}]}`, "nodes[0].id", "twice"},
		{`{"nodes": [{"id": "a", "relay": "yes"}]}`, "nodes[0].relay", "want true or false, not a string"},
		{`{"nodes": [{"id": "a", "up": null}]}`, "nodes[0].up", "want a number, not null"},
		{`{"nodes": [{"id": "a", "up": 0}]}`, "nodes[0].up", "0 is not a rate"},
		{`{"sites": [{"id": "s", "down": true}]}`, "sites[0].down", "want a number, not true or false"},
		{`{"edges": [{"from": "a", "to": "b", "cost": "1"}]}`, "edges[0].cost", "want a number, not a string"},
		{`{"edges": [{"from": "a", "to": "b", "cost": 1e999}]}`, "edges[0].cost", "too large"},
		{`{"edges": [{"from": "a", "to": "b", "weight": 1}]}`, "edges[0].weight", "unknown field"},
		{`{"edges": [{"from": "a", "to": "b"}], "objective": "cost"}`, "edges[0]", "no cost"},
		{`{"holders": "a"}`, "holders", "want a list, not a string"},
		{`{"holders": ["a", {}]}`, "holders[1]", "want a string, not an object"},
		{`{"wanters": [[]]}`, "wanters[0]", "want a string, not a list"},
		{`{"size": -1}`, "size", "-1 is not a number of bytes"},
		{`{"size": 1.5}`, "size", "1.5 is not a number of bytes"},
		{`{"size": 1e19}`, "size", "1e+19 is not a number of bytes"},
	}
	for _, tt := range tests {
		_, _, err := netmap.Decode([]byte(tt.json))
		checkError(t, tt.json, err, tt.place, tt.reason)
	}
}

func TestWrongNetworksAndProblems(t *testing.T) {
	t.Parallel()
	const ab = `"nodes": [{"id": "a"}, {"id": "b"}], "edges": [{"from": "a", "to": "b", "cost": 1}]`
	tests := []struct{ json, place, reason string }{
		{`{"nodes": [{}]}`, "nodes[0].id", "needs an id"},
		{`{"nodes": [{"id": "a"}, {"id": "b"}, {"id": "a"}]}`, "nodes[2]", `"a" is at nodes[0] already`},
		{`{"nodes": [{"id": "a", "site": "s"}]}`, "nodes[0].site", `unknown site "s"`},
		{`{"nodes": [{"id": "a", "up": -1}]}`, "nodes[0].up", "-1 is not a rate"},
		{`{"nodes": [{"id": "a", "down": 1e301}]}`, "nodes[0].down", "not a rate"},
		{`{"sites": [{}]}`, "sites[0].id", "needs an id"},
		{`{"sites": [{"id": "s"}, {"id": "s"}]}`, "sites[1]", `"s" is at sites[0] already`},
		{`{"sites": [{"id": "s", "up": -1}]}`, "sites[0].up", "not a rate"},
		{`{"nodes": [{"id": "a"}], "edges": [{"from": "a", "to": "x"}]}`, "edges[0].to", `unknown node "x"`},
		{`{"nodes": [{"id": "a"}], "edges": [{"from": "x", "to": "a"}]}`, "edges[0].from", `unknown node "x"`},
		{`{"nodes": [{"id": "a"}], "edges": [{"from": "a", "to": "a"}]}`, "edges[0]", "to itself"},
		{`{"nodes": [{"id": "a"}, {"id": "b"}], "edges": [{"from": "a", "to": "b", "cost": -0.5}]}`, "edges[0].cost", "-0.5 is not a cost"},
		{`{"nodes": [{"id": "a"}, {"id": "b"}], "edges": [{"from": "a", "to": "b", "rtt": -1}]}`, "edges[0].rtt", "-1 is not a round trip"},
		{`{"nodes": [{"id": "a"}, {"id": "b"}], "edges": [{"from": "a", "to": "b", "rate": -1}]}`, "edges[0].rate", "-1 is not a rate"},
		{
			`{"nodes": [{"id": "a"}, {"id": "b"}], "edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "a"}, {"from": "a", "to": "b"}]}`,
			"edges[2]", "is at edges[0] already",
		},
		{`{` + ab + `}`, "holders", "nobody holds"},
		{`{` + ab + `, "holders": ["c"]}`, "holders[0]", `unknown node "c"`},
		{`{` + ab + `, "holders": ["a", "a"]}`, "holders[1]", `"a" is at holders[0] already`},
		{`{` + ab + `, "holders": ["a"], "wanters": ["c"]}`, "wanters[0]", `unknown node "c"`},
		{`{` + ab + `, "holders": ["a"], "wanters": ["b", "b"]}`, "wanters[1]", `"b" is at wanters[0] already`},
		{`{` + ab + `, "holders": ["a"], "objective": "money"}`, "objective", `"money" is neither`},
	}
	for _, tt := range tests {
		net, p, err := netmap.Decode([]byte(tt.json))
		if err != nil {
			t.Errorf("%s: %v", tt.json, err)
			continue
		}
		m, err := netmap.New(net)
		if err == nil {
			_, err = m.Plan(p)
		}
		checkError(t, tt.json, err, tt.place, tt.reason)
	}
	// What JSON cannot say.
	nodes := []netmap.Node{{ID: "a"}, {ID: "b"}}
	for place, e := range map[string]netmap.Edge{
		"edges[0].cost": {From: "a", To: "b", Cost: math.NaN()},
		"edges[0].rtt":  {From: "a", To: "b", RTT: math.Inf(1)},
		"edges[0].rate": {From: "a", To: "b", Rate: math.NaN()},
	} {
		_, err := netmap.New(netmap.Network{Nodes: nodes, Edges: []netmap.Edge{e}})
		checkError(t, place, err, place, "is not a")
	}
	_, err := mustMap(t, netmap.Network{Nodes: nodes}).Plan(netmap.Problem{Holders: []string{"a"}, Objective: netmap.Time, Size: -1})
	checkError(t, "size", err, "size", "-1 bytes")
}

func checkError(t *testing.T, input string, err error, place, reason string) {
	t.Helper()
	e, ok := errors.AsType[*netmap.Error](err)
	if !ok || e.Place != place || !strings.Contains(e.Reason, reason) {
		t.Errorf("%s: error %v, want %q at %q", input, err, reason, place)
	}
}

func TestPlanAsJSON(t *testing.T) {
	t.Parallel()
	net, p, err := netmap.Decode([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	p.Size = 1e6
	out, err := json.Marshal(mustPlan(t, mustMap(t, net), p))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schema":1,"objective":"time","cost":100,"seconds":1.01,"edges":[{"from":"a","to":"b"}],"unreachable":[]}`
	if string(out) != want {
		t.Errorf("%s, want %s", out, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(`{"nodes":[{"id":"a"},{"id":"b"},{"id":"r","relay":true}],"edges":[{"from":"a","to":"r","cost":1e300},` +
		`{"from":"r","to":"b","cost":0,"rate":1e-9,"rtt":1e300}],"holders":["a"],"wanters":["b"],"objective":"cost","size":0}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		net, p, err := netmap.Decode(data)
		if err == nil {
			// Strict is stricter than encoding/json, never laxer.
			if !json.Valid(data) {
				t.Fatal("this is not JSON")
			}
			var m *netmap.Map
			if m, err = netmap.New(net); err == nil {
				var plan *netmap.Plan
				if plan, err = m.Plan(p); err == nil {
					checkTree(t, net, p, plan)
					if _, err := json.Marshal(plan); err != nil {
						t.Fatal(err)
					}
					return
				}
			}
		}
		if _, ok := errors.AsType[*netmap.Error](err); !ok {
			t.Fatalf("%T: %v", err, err)
		}
	})
}
