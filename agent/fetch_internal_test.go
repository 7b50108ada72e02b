package agent

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/link"
)

// TestFetchAfterPause has a cycle run, for another reason, before the pause after a failed fetch is over: the fetch is tried again all the same.
func TestFetchAfterPause(t *testing.T) {
	t.Parallel()
	c := &clone{agenda: newAgenda(), peers: newPeers(), log: slog.New(slog.DiscardHandler)}
	p := &peer{links: []link.Candidate{{}}, fetching: true, told: 1}
	c.peers.byID[p.id] = p
	c.agenda.in(taskRetry, 0)
	c.fetched(t.Context(), p.id, true, p.told, nil, errors.New("the folder is away"))
	if due := c.agenda.due(); !slices.Equal(due, []task{taskRetry}) {
		t.Fatalf("due is %v", due)
	}
	c.fetch()
	if p.fetching || !p.due || c.agenda.at[taskRetry].Before(p.notUntil.Add(-time.Millisecond)) {
		t.Errorf("fetching is %t, due is %t; tried again at %v, not before %v", p.fetching, p.due, c.agenda.at[taskRetry], p.notUntil)
	}
}
