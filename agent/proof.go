package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/sync/p2p"
)

// copyFinder knows, for any goroutine, which places can prove to have a content.
type copyFinder struct {
	repo    *annex.Repo
	said    func(k annex.Key, logged []string) []string
	provers map[string]prover // by id
}

// prover is a peer, or a remote, that may prove to have a content.
type prover struct {
	name   string
	remote bool
	why    string // it is not asked; "" when it is
	cost   int
}

func (c *clone) copyFinder() copyFinder {
	f := copyFinder{repo: c.annex, said: c.want.whoHas, provers: make(map[string]prover)}
	for _, p := range c.peers.all() {
		who := prover{name: p.name, cost: costOf(p.linkKind)}
		if !c.answers(p) {
			who.why = c.whyNot(p)
		}
		f.provers[p.id.clone] = who
	}
	for id, p := range c.places {
		peer, isPeer := f.provers[id]
		switch {
		case p.Prove && (!isPeer || peer.why != ""): // which can also be a peer whose agent is off
			f.provers[id] = prover{name: cmp.Or(peer.name, p.Name), remote: true, cost: int(p.Cost)}
		case !isPeer && p.Read:
			f.provers[id] = prover{name: p.Name, why: "a remote that cannot lock contents"}
		case !isPeer:
			f.provers[id] = prover{name: p.Name, why: "a remote that is not read from"}
		}
	}
	return f
}

// found is who may have a content.
type found struct {
	copyFinder
	trusted      []string          // their copies count unproven
	ask, remotes []string          // theirs count when they are proven, the cheapest first
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
		switch who, known := f.provers[id]; {
		case !known:
			res.others[id] = "not in the grove"
		case who.why != "":
			res.others[id] = who.why
		case who.remote:
			res.remotes = append(res.remotes, id)
		default:
			res.ask = append(res.ask, id)
		}
	}
	cheapest := func(a, b string) int { return cmp.Compare(f.provers[a].cost, f.provers[b].cost) }
	slices.SortFunc(res.ask, cheapest)
	slices.SortFunc(res.remotes, cheapest)
	return res, nil
}

// name is what people call a clone.
func (f found) name(id string) string {
	return cmp.Or(f.provers[id].name, f.descriptions[id], id)
}

func (f found) names(ids []string) []string {
	names := []string{}
	for _, id := range ids {
		names = append(names, f.name(id))
	}
	slices.Sort(names)
	return names
}

// unproven names the places that may have the content, and says why that does not count.
func (f found) unproven(asked *p2p.Locked) []string {
	names := []string{}
	for id, why := range f.others {
		names = append(names, f.name(id)+" ("+why+")")
	}
	for id, err := range asked.Failed {
		why := "it is not there, or is being dropped"
		switch {
		case errors.Is(err, p2p.ErrFailed):
		case errors.Is(err, link.ErrUnreachable), errors.Is(err, gitrepo.ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
			why = "cannot be reached"
		default:
			why = err.Error()
		}
		names = append(names, f.name(id)+" ("+why+")")
	}
	slices.Sort(names)
	return names
}
