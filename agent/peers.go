package agent

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/grove"
	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/xmpp/signal"
)

// peerID names a peer: a clone on a device.
type peerID struct {
	device grove.DeviceID
	clone  string
}

// String is the key of a peer in the state file.
func (id peerID) String() string { return id.device.String() + "/" + id.clone }

func parsePeerID(s string) (peerID, bool) {
	device, clone, ok := strings.Cut(s, "/")
	id, err := grove.ParseDeviceID(device)
	return peerID{id, clone}, ok && err == nil && clone != ""
}

// peer is another clone of the grove, as its signals tell.
type peer struct {
	id       peerID
	name     string // of its device
	remote   string // its references are under refs/remotes/<remote>/
	jid      string // full JID of its agent; "" while it is offline
	bare     string // bare JID
	vector   signal.Vector
	told     int // how often it has told where its branches are
	links    []link.Candidate
	keys     map[annex.Key]bool // contents it said it has
	seen     time.Time
	linkKind string        // of the newest link to it; link.KindNone when none could be made
	rtt      time.Duration // of that link
	edge     signal.Edge   // what was last told of getting contents from it
	probed   bool          // a probe was sent that way
	refuses  bool          // it says that it exchanges no contents with this clone; only while it is online
	late     bool          // it has not written down where contents are, and said nothing since

	fetching bool
	failures int           // fetches in a row that failed
	notUntil time.Time     // no fetch before
	asked    time.Time     // when the member log was last asked for
	askedFor signal.Digest // which one that was
	due      bool          // a fetch is wanted, whatever the heads say
	fetched  signal.Digest // of the references that the newest due fetch was for
	partial  gitrepo.Hash  // the newest head that was fetched because not all it needs was here
}

func (p *peer) online() bool { return p.jid != "" }

// reachable reports whether it is worth trying to get something from the peer.
func (p *peer) reachable() bool { return p.online() || len(p.links) > 0 }

// peers are the other clones, and what has arrived from them.
type peers struct {
	byID map[peerID]*peer
	// here has, for each reference, the commits that are complete in this clone and not yet merged, and who brought them.
	here map[string]map[gitrepo.Hash]string
	told *signal.Vector // what all were told last

	shown  map[peerID]bool // who has sent anything since the last presence that was received as a whole
	veiled bool            // and whether something came that no key here opens
}

func newPeers() peers {
	return peers{
		byID: make(map[peerID]*peer), here: make(map[string]map[gitrepo.Hash]string), shown: make(map[peerID]bool),
	}
}

// all returns the peers in an order that is always the same.
func (ps *peers) all() []*peer {
	return slices.SortedFunc(maps.Values(ps.byID), func(a, b *peer) int {
		return cmp.Or(cmp.Compare(a.name, b.name), bytes.Compare(a.id.device[:], b.id.device[:]), cmp.Compare(a.id.clone, b.id.clone))
	})
}

// online returns the peers whose agents are announced.
func (ps *peers) online() []*peer {
	return slices.DeleteFunc(ps.all(), func(p *peer) bool { return !p.online() })
}

// arrived notes that the commit and all it needs are here.
func (ps *peers) arrived(ref string, h gitrepo.Hash, from string) {
	if ps.here[ref] == nil {
		ps.here[ref] = make(map[gitrepo.Hash]string)
	}
	ps.here[ref][h] = from
}

// heads returns the commits that wait to be merged into ref, in the order in which everybody merges them.
func (ps *peers) heads(ref string) []gitrepo.Hash {
	return slices.SortedFunc(maps.Keys(ps.here[ref]), func(a, b gitrepo.Hash) int { return bytes.Compare(a[:], b[:]) })
}

// from names who brought what waits to be merged into ref.
func (ps *peers) from(ref string) string {
	var names []string
	for _, name := range ps.here[ref] {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (ps *peers) integrated(ref string, h gitrepo.Hash) {
	delete(ps.here[ref], h)
	if len(ps.here[ref]) == 0 {
		delete(ps.here, ref)
	}
}

// find returns the peer, made known on its first signal.
func (ps *peers) find(id peerID, m grove.Member, taken func(string) bool) *peer {
	p := ps.byID[id]
	if p == nil {
		p = &peer{id: id, keys: make(map[annex.Key]bool), remote: ps.remoteName(id, m.Name, taken)}
		ps.byID[id] = p
	}
	p.name, p.bare = m.Name, m.JID
	return p
}

// remoteName makes the name under which the references of a peer are kept. It is the device's name where that is free.
func (ps *peers) remoteName(id peerID, name string, taken func(string) bool) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, name)
	name = strings.Trim(name, "-")
	used := func(n string) bool {
		return n == "" || taken(n) || slices.ContainsFunc(ps.all(), func(p *peer) bool { return p.remote == n })
	}
	if used(name) {
		name = strings.TrimPrefix(name+"-"+id.clone[:min(8, len(id.clone))], "-")
	}
	if used(name) {
		name += "-" + id.device.Short()
	}
	return name
}
