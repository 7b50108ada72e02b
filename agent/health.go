package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/link"
)

const (
	publishDelay = 50 * time.Millisecond  // changes within it make one vector
	recordDelay  = 300 * time.Millisecond // locations that come within it of each other make one commit
	recordLate   = 10 * time.Second       // at the latest
	gatherLate   = 15 * time.Second       // when a clone writes down itself what another should have written
	gatherDelay  = time.Second            // git-annex branches that come within it make one merge
	laggingDelay = 2 * time.Second
	saveDelay    = 5 * time.Second
	mergePause   = 25 * time.Millisecond
	movedDelay   = 5 * time.Millisecond // git needs it to move HEAD after the index
	retryDelay   = 100 * time.Millisecond
	showDelay    = 500 * time.Millisecond
)

// condition is how the clone is, for people.
type condition struct {
	halt     *halt
	failures int    // cycles in a row that failed
	problem  error  // why the last one did
	inTheWay string // a file that is being written, and that a change of a peer waits for
}

// halt is an error that only a person can end.
type halt struct{ code, text, hint string }

func (h *halt) Error() string { return h.text }

// hintedError carries the next step for a person.
type hintedError struct {
	error
	hint string
}

func hinted(err error, hint string) error { return &hintedError{err, hint} }

func (e *hintedError) Hint() string  { return e.hint }
func (e *hintedError) Unwrap() error { return e.error }

// hintOf finds what a person can do about an error.
func hintOf(err error) string {
	var h interface{ Hint() string }
	var unsupported *gitrepo.Unsupported
	var refused *annex.Refused
	switch {
	case errors.As(err, &h):
		return h.Hint()
	case errors.As(err, &unsupported):
		return unsupported.Hint
	case errors.As(err, &refused):
		return refused.Hint
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, annex.ErrNoRoom):
		return "make room on the disk; the agent goes on by itself"
	case errors.Is(err, fs.ErrPermission):
		return "make the file readable, or add it to .gitignore"
	case errors.Is(err, gitrepo.ErrIndexLocked):
		return "end the git command that holds index.lock; if none runs, remove .git/index.lock"
	case errors.Is(err, gitrepo.ErrNotRepository):
		return "git arbor init, or take the clone out of the configuration"
	case errors.Is(err, gitrepo.ErrVanished):
		return "mount or restore the folder"
	}
	return ""
}

func (c *clone) warn(code string, err error) { c.warnText(code, err.Error(), hintOf(err)) }

func (c *clone) warnText(code, text, hint string) {
	c.agent.store.Raise(status.Warning{Code: code, Text: text, Hint: hint, Clone: c.conf.Path})
}

func (c *clone) clear(code string) { c.agent.store.Clear(code, c.conf.Path) }

// noteVariants tells of the versions that a conflict has left side by side, whoever merged it, until they are gone.
func (c *clone) noteVariants(index []gitrepo.IndexEntry) {
	kept := make(map[string][]string)
	for _, e := range index {
		stem, rest, ok := strings.Cut(path.Base(e.Path), ".variant-")
		if !ok {
			continue
		}
		original := path.Join(path.Dir(e.Path), stem+path.Ext(rest))
		if e.Entry.IsZero() {
			c.clear("conflict " + original)
		} else {
			kept[original] = append(kept[original], e.Path)
		}
	}
	for original, variants := range kept {
		c.warnText("conflict "+original, fmt.Sprintf("%q was changed on two sides; both are kept, as %q", original, variants),
			"put what you want into one of them and delete the others")
	}
}

// settle draws the consequences of a cycle: it is tried again, later and later, until it succeeds.
func (c *clone) settle(err error) {
	c.condition.problem = err
	var h *halt
	switch {
	case err == nil:
		c.condition.failures = 0
		c.clear("cycle")
		return
	case errors.As(err, &h):
		c.condition.halt = h
		c.warnText(h.code, h.text, h.hint)
		return
	case errors.Is(err, gitrepo.ErrRefMoved):
		c.agenda.in(taskRetry, movedDelay) // the person was faster; the next cycle sees it
		return
	}
	c.condition.failures++
	c.log.Warn("cycle failed", "err", err, "failures", c.condition.failures)
	if c.condition.failures > 2 || !errors.Is(err, gitrepo.ErrIndexLocked) {
		c.warn("cycle", err)
	}
	c.agenda.in(taskRetry, min(retryDelay<<min(c.condition.failures, 8), 30*time.Second))
}

// report shows people how the clone is.
func (c *clone) report() {
	s := status.Clone{
		Name: c.conf.Name, Path: c.conf.Path, ID: c.id, Grove: c.grove.ID().String(), Mode: c.conf.Mode,
		Branch: trimBranch(c.side.branch), Head: hexOrEmpty(c.side.head), LastChange: c.side.changed,
	}
	spare := c.want.spares()
	s.Keys = status.Keys{
		Present: len(c.want.named) - len(c.want.missing), Wanted: len(c.want.named) - spare, Missing: len(c.want.missing) - spare,
		Paused: len(c.want.heldBack()), Dropped: c.want.away(), Unwanted: spare, Surplus: len(c.want.surplus) + c.want.dropping,
	}
	fetching := false
	inStep := true
	for _, p := range c.peers.all() {
		row := status.Peer{
			Device: p.id.device.String(), Name: p.name, Clone: p.id.clone, JID: p.bare, Online: p.online(),
			LastSeen: p.seen, Link: p.linkKind, RTT: p.rtt, Paused: c.want.paused.has(p.id.device),
			PausedThere: p.refuses,
		}
		h := p.vector.Heads[c.side.branch] // zero while the branch is unborn there
		row.Head = hexOrEmpty(gitrepo.Hash(h))
		row.InStep = gitrepo.Hash(h) == c.side.head && len(p.vector.Want) == 0
		fetching = fetching || p.fetching || len(p.links) > 0 && p.online() && c.lacks(p)
		inStep = inStep && (!p.online() || row.InStep)
		s.Peers = append(s.Peers, row)
	}
	s.State, s.Detail = c.word(fetching, inStep)
	c.agent.store.SetClone(s)
}

func (c *clone) word(fetching, inStep bool) (status.State, string) {
	switch {
	case c.condition.halt != nil:
		return status.StateHalted, c.condition.halt.text
	case !c.member():
		return status.StateHalted, "this device was removed from the grove"
	case errors.Is(c.condition.problem, gitrepo.ErrIndexLocked) && c.condition.failures <= 2:
		return status.StateCommitting, "after the person's git"
	case c.condition.problem != nil:
		return status.StateHalted, c.condition.problem.Error()
	case c.side.unfinished != "":
		return status.StateWaiting, "for the " + c.side.unfinished + " to be finished"
	case c.condition.inTheWay != "":
		return status.StateWaiting, fmt.Sprintf("for %q to be closed", c.condition.inTheWay)
	case len(c.side.unread) > 0:
		return status.StateWaiting, "for files that cannot be read"
	case len(c.side.pending)+len(c.side.settling)+len(c.side.adding)+len(c.side.staged) > 0 || c.side.audit && c.watch != nil:
		return status.StateCommitting, ""
	case len(c.peers.here) > 0:
		return status.StateMerging, trimBranch(slices.Min(slices.Collect(maps.Keys(c.peers.here))))
	case len(c.want.records)+len(c.want.told)+len(c.want.behind) > 0:
		return status.StateCommitting, "where contents are"
	case fetching:
		return status.StateFetching, ""
	case c.state.Paused:
		return status.StatePaused, "contents are not transferred"
	case len(c.want.missing) > len(c.want.heldBack())+c.want.away()+c.want.spares():
		return status.StateFetching, ""
	case len(c.want.heldBack()) > 0:
		return status.StatePaused, "transfers are paused"
	case len(c.peers.online()) == 0:
		return status.StateOffline, ""
	case !inStep:
		return status.StateFetching, "peers are catching up"
	}
	return status.StateInStep, ""
}

func trimBranch(ref string) string {
	if len(ref) > len(branchPrefix) {
		return ref[len(branchPrefix):]
	}
	return ""
}

// cameOnline greets a peer that was not there: what was said meanwhile, it has missed.
func (c *clone) cameOnline(ctx context.Context, p *peer) {
	if p.linkKind == link.KindNone {
		p.linkKind = ""
	}
	c.holdersChanged()
	c.want.online = append(c.want.online, p.id.clone)
	c.agenda.in(taskPublish, publishDelay)
	c.planProbe()
	c.agent.greetBack(ctx, p.bare)
	if v, err := c.vector(); err == nil { // in case the server kept an older one from us
		c.tell(ctx, v.Fit(c.id), []*peer{p})
	}
}
