package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/sync/p2p"
)

// copyFinder knows, for any goroutine, which clones can prove to have a content.
type copyFinder struct {
	repo  *annex.Repo
	said  func(k annex.Key, logged []string) []string
	peers map[string]prover // by clone id
}

// prover is a peer that may prove to have a content.
type prover struct {
	name  string
	asked bool
	why   string // it is not asked
	cost  int
}

func (c *clone) copyFinder() copyFinder {
	f := copyFinder{repo: c.annex, said: c.want.whoHas, peers: make(map[string]prover)}
	for _, p := range c.peers.all() {
		who := prover{name: p.name, asked: c.answers(p), cost: costOf(p.linkKind)}
		if !who.asked {
			who.why = c.whyNot(p)
		}
		f.peers[p.id.clone] = who
	}
	for _, p := range c.remotes() {
		f.peers[p.id] = prover{name: p.Name, why: "not a machine of the grove"}
	}
	return f
}

// found is who may have a content.
type found struct {
	copyFinder
	trusted      []string          // their copies count unproven
	ask          []string          // theirs count when they are proven, the cheapest first
	others       map[string]string // theirs do not count, and why
	descriptions map[string]string
}

func (f copyFinder) find(ctx context.Context, k annex.Key) (found, error) {
	holders, err := f.repo.Holders(ctx, k, f.said(k, nil)...)
	if err != nil {
		return found{}, fmt.Errorf("look for other copies: %w", err)
	}
	res := found{copyFinder: f, trusted: holders.Trusted, others: make(map[string]string)}
	if res.descriptions, err = f.repo.Descriptions(ctx); err != nil {
		return res, fmt.Errorf("read descriptions: %w", err)
	}
	for _, id := range holders.Untrusted {
		res.others[id] = "untrusted"
	}
	for _, id := range holders.Provable {
		switch peer, known := f.peers[id]; {
		case peer.asked:
			res.ask = append(res.ask, id)
		case known:
			res.others[id] = peer.why
		default:
			res.others[id] = "not in the grove"
		}
	}
	slices.SortFunc(res.ask, func(a, b string) int { return cmp.Compare(f.peers[a].cost, f.peers[b].cost) })
	return res, nil
}

// name is what people call a clone.
func (f found) name(id string) string {
	return cmp.Or(f.peers[id].name, f.descriptions[id], id)
}

func (f found) names(ids []string) []string {
	names := []string{}
	for _, id := range ids {
		names = append(names, f.name(id))
	}
	slices.Sort(names)
	return names
}

// unproven names the clones that may have the content, and says why that does not count.
func (f found) unproven(asked *p2p.Locked) []string {
	names := []string{}
	for id, why := range f.others {
		names = append(names, f.name(id)+" ("+why+")")
	}
	for id, err := range asked.Failed {
		why := "it is not there, or is being dropped"
		switch {
		case errors.Is(err, p2p.ErrFailed):
		case errors.Is(err, link.ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
			why = "cannot be reached"
		default:
			why = err.Error()
		}
		names = append(names, f.name(id)+" ("+why+")")
	}
	slices.Sort(names)
	return names
}
