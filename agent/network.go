package agent

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/sync/netmap"
	"github.com/git-arbor/arbor/xmpp/signal"
)

// fairSample is after how many bytes the rate of a transfer tells something of the link.
const fairSample = 4 << 20

// maxEdges is how many edges a vector takes.
const maxEdges = 256

// smallRTT is the round trip, in microseconds, below which it makes no difference to a plan.
const smallRTT = 2000

// planFrom is the size, in bytes, from which contents travel along a plan. Smaller ones are there before a plan would help.
const planFrom = 1 << 20

// What a link is taken to be as long as nobody has measured it: bytes a second, and seconds. They are the same everywhere, for all
// agents must draw the same map.
var assumed = map[string]struct{ rate, rtt float64 }{
	link.KindHost:     {1e9, 1e-4},
	link.KindLAN:      {5e7, 1e-3},
	link.KindStatic:   {2e6, 5e-2},
	link.KindDialBack: {2e6, 5e-2},
	kindRemote:        {2e6, 1e-1},
	kindDrive:         {1e8, 1e-3},
}

// costOf is what getting content over a kind of link costs, in git-annex's numbers.
func costOf(kind string) int {
	switch kind {
	case link.KindHost:
		return 100
	case link.KindLAN:
		return 150
	case link.KindNone:
		return 1000
	}
	return 200
}

// edge is what this clone tells the others of getting contents from a peer. What was told stays until it is plainly wrong: a
// plan must not flap.
func (c *clone) edge(p *peer) signal.Edge {
	told := p.edge
	kind := cmp.Or(p.linkKind, guessKind(p.links, c.agent.candidates()))
	if p.refuses || c.want.paused.has(p.id.device) {
		kind = link.KindNone
	}
	e := signal.Edge{
		From: p.id.clone, Kind: kind, Cost: uint64(costOf(kind)),
		Rate: uint64(round(c.want.rateFrom(p.id.clone))), RTT: uint64(round(float64(p.rtt / time.Microsecond))),
	}
	if told.Kind == e.Kind && told.Cost == e.Cost {
		if near(told.Rate, e.Rate, 1.5) {
			e.Rate = told.Rate
		}
		if near(told.RTT, e.RTT, 2) || told.RTT > 0 && max(told.RTT, e.RTT) < smallRTT {
			e.RTT = told.RTT
		}
	}
	p.edge = e
	return e
}

// edges are those from all peers that can be reached, the cheapest first.
func (c *clone) edges() []signal.Edge {
	var all []signal.Edge
	for _, p := range c.peers.all() {
		if p.reachable() {
			all = append(all, c.edge(p))
		}
	}
	slices.SortFunc(all, func(a, b signal.Edge) int {
		return cmp.Or(cmp.Compare(a.Cost, b.Cost), cmp.Compare(a.From, b.From))
	})
	all = append(c.remoteEdges(), all...)
	return all[:min(len(all), maxEdges)]
}

// near reports whether two measures differ by less than a factor.
func near(a, b uint64, factor float64) bool {
	x, y := float64(min(a, b)), float64(max(a, b))
	return y < factor*x
}

// round keeps two digits.
func round(x float64) float64 {
	if x < 1 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(x))-1)
	return math.Round(x/unit) * unit
}

// kindOf says what kind of link it is. Between two on the same host it does not matter which address was the first to answer, an address of another LAN
// may be reached too, and a peer that dials back be near.
func kindOf(conn *link.Conn, sameHost bool) string {
	switch {
	case sameHost:
		return link.KindHost
	case conn.LAN():
		return link.KindLAN
	case conn.Kind == link.KindLAN:
		return link.KindStatic
	}
	return conn.Kind
}

// guessKind says what kind of link there would be to a peer that offers these addresses.
func guessKind(theirs, ours []link.Candidate) string {
	kind := link.KindStatic
	for _, a := range theirs {
		for _, b := range ours {
			switch {
			case a.Kind == link.KindHost && b.Kind == link.KindHost && a.HostID == b.HostID:
				return link.KindHost
			case a.Kind == link.KindLAN && b.Kind == link.KindLAN && sameNetwork(a.Addr, b.Addr):
				kind = link.KindLAN
			}
		}
	}
	return kind
}

// sameNetwork guesses by the usual sizes of networks.
func sameNetwork(a, b string) bool {
	x, errX := netip.ParseAddrPort(a)
	y, errY := netip.ParseAddrPort(b)
	if errX != nil || errY != nil || x.Addr().Is4() != y.Addr().Is4() {
		return false
	}
	bits := 64
	if x.Addr().Is4() {
		bits = 24
	}
	network, err := x.Addr().Prefix(bits)
	return err == nil && network.Contains(y.Addr())
}

// redraw takes in what has changed of the map.
func (c *clone) redraw() error {
	c.want.redraw = false
	if edges := c.edges(); !slices.Equal(edges, c.want.edges) {
		c.want.edges = edges
		c.agenda.in(taskPublish, publishDelay)
	}
	changed, err := c.want.redrawn(c.id, c.network(), c.places)
	c.want.refresh, c.want.replan = c.want.refresh || changed, c.want.replan || changed
	return err
}

// network is the map as all have told it: the clones that can be reached, and what each says of getting contents from the others.
func (c *clone) network() netmap.Network {
	told := map[string][]signal.Edge{c.id: c.edges()}
	for _, p := range c.peers.all() {
		if p.reachable() {
			told[p.id.clone] = p.vector.Edges
		}
	}
	return drawMap(told)
}

// drawMap makes the map of what clones, by their ids, have told. Clones that are on one host or LAN are a site, named by the
// first of them. Nobody knows what a line carries: what was seen of its fastest edge is taken for it.
func drawMap(told map[string][]signal.Edge) netmap.Network {
	d := drawing{told: told, above: make(map[string]string), edges: make(map[[2]string]signal.Edge)}
	for to, edges := range told {
		for _, e := range edges {
			d.draw(to, e)
		}
	}
	for to := range told { // where an agent tells of none, or not of this one yet
		for from := range told {
			d.add(from, to, signal.Edge{Kind: link.KindStatic, Cost: uint64(costOf(link.KindStatic))})
		}
	}
	return d.network()
}

// drawing is a map in the making.
type drawing struct {
	told  map[string][]signal.Edge
	above map[string]string         // by clone, another of its site with a smaller id
	edges map[[2]string]signal.Edge // by both ends
}

// site names that of a clone, or what else is in no other's.
func (d *drawing) site(id string) string {
	for d.above[id] != "" {
		id = d.above[id]
	}
	return id
}

// draw takes in what a clone has told of one edge.
func (d *drawing) draw(teller string, e signal.Edge) {
	_, clone := d.told[e.From+e.To]
	switch {
	case e.Kind == kindGit:
	case e.Kind == kindRemote, e.Kind == kindDrive:
		if !clone && e.To != "" {
			d.add(teller, e.To, e)
		} else if !clone {
			d.add(e.From, teller, e)
		}
	case clone && e.To == "":
		if d.add(e.From, teller, e) && (e.Kind == link.KindHost || e.Kind == link.KindLAN) {
			if a, b := d.site(e.From), d.site(teller); a != b {
				d.above[max(a, b)] = min(a, b)
			}
		}
	}
}

// add adds an edge, unless there is one already.
func (d *drawing) add(from, to string, e signal.Edge) bool {
	ends := [2]string{from, to}
	if _, there := d.edges[ends]; there || from == to {
		return false
	}
	d.edges[ends] = e
	return true
}

// network is the drawing as everybody draws it: in order, and with the capacities that the edges show.
func (d *drawing) network() (n netmap.Network) {
	nodes, sites := make(map[string]*netmap.Node), make(map[string]*netmap.Site)
	place := func(id, site string) *netmap.Node {
		if nodes[id] == nil {
			nodes[id] = &netmap.Node{ID: id, Site: site}
		}
		if sites[nodes[id].Site] == nil {
			sites[nodes[id].Site] = &netmap.Site{ID: nodes[id].Site}
		}
		return nodes[id]
	}
	for id := range d.told {
		place(id, d.site(id))
	}
	for _, ends := range slices.SortedFunc(maps.Keys(d.edges), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		told := d.edges[ends]
		if told.Kind == link.KindNone {
			continue
		}
		e := mapEdge(ends[0], ends[1], told)
		n.Edges = append(n.Edges, e)
		if told.Kind == kindDrive { // at a clone, and nothing that a line could carry: it is where the first clone is that tells of it
			clone := e.From
			if told.To == "" {
				clone = e.To
			}
			place(e.From, d.site(clone))
			place(e.To, d.site(clone))
			continue
		}
		from, to := place(e.From, d.site(e.From)), place(e.To, d.site(e.To))
		from.Up, to.Down = max(from.Up, e.Rate), max(to.Down, e.Rate)
		if from.Site != to.Site {
			sites[from.Site].Up, sites[to.Site].Down = max(sites[from.Site].Up, e.Rate), max(sites[to.Site].Down, e.Rate)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(nodes)) {
		n.Nodes = append(n.Nodes, *nodes[id])
	}
	for _, id := range slices.Sorted(maps.Keys(sites)) {
		n.Sites = append(n.Sites, *sites[id])
	}
	return n
}

func mapEdge(from, to string, e signal.Edge) netmap.Edge {
	usual, ok := assumed[e.Kind]
	if !ok {
		usual = assumed[link.KindStatic]
	}
	edge := netmap.Edge{From: from, To: to, Cost: float64(e.Cost), Rate: float64(e.Rate), RTT: float64(e.RTT) / 1e6}
	if e.Rate == 0 {
		edge.Rate = usual.rate
	}
	if e.RTT == 0 {
		edge.RTT = usual.rtt
	}
	return edge
}
