package agent

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/watch"
)

// person is what the person does in the clone, as far as the actor has seen it.
type person struct {
	branches   map[string]gitrepo.Hash       // all that peers share
	fresh      bool                          // branches were not read yet
	begun      bool                          // a move of the branch may have been begun and not ended
	resume     gitrepo.Hash                  // the commit whose files were being written when the agent died
	halfway    step                          // of a check-out that has written files while the branch has not moved
	steps      map[string]steps              // the commits that we moved each branch over while it was not checked out
	synced     map[string]gitrepo.Hash       // git-annex's copies of branches that were looked at
	branch     string                        // full name of the branch HEAD points to; "" when detached
	head       gitrepo.Hash                  // its commit; zero while unborn
	pending    map[string]bool               // settled paths, to be looked at
	settling   map[string]bool               // paths we wait for until nobody writes to them
	adding     map[string]bool               // huge files that are being taken into the annex
	added      map[string]addition           // those that were
	staged     map[string]bool               // paths of changes that only the index has yet, or that git-annex is about
	vanished   map[string]time.Time          // since when annexed files are missing that git-annex may be about to replace
	unread     map[string]int                // paths that could not be read, and how often that was tried
	audited    map[string]bool               // paths that git status has found to differ, or would
	audit      bool                          // compare everything, for an event may have been missed
	known      map[string]gitrepo.Stat       // files as last read or written by us
	unwritten  map[string]gitrepo.IndexEntry // what the index is yet to know of files that are as HEAD has them
	unfinished string                        // a merge or rebase of the person's
	moved      bool                          // a reference may have moved
	gone       int                           // files that were missing when commit last looked
	goneSince  time.Time                     // since when it is that many
	mergeSince time.Time                     // since when a merge waits for more heads
	accept     bool                          // the person said that the mass deletion is meant
	changed    time.Time                     // when something was last taken in or checked out
}

func newPerson() person {
	return person{
		fresh: true, begun: true, audit: true, moved: true,
		branches: make(map[string]gitrepo.Hash), steps: make(map[string]steps), synced: make(map[string]gitrepo.Hash),
		pending: make(map[string]bool), settling: make(map[string]bool), staged: make(map[string]bool),
		vanished: make(map[string]time.Time),
		audited:  make(map[string]bool), unread: make(map[string]int),
		adding: make(map[string]bool), added: make(map[string]addition), known: make(map[string]gitrepo.Stat),
		unwritten: make(map[string]gitrepo.IndexEntry),
	}
}

// watched takes one event of a watcher.
func (c *clone) watched(ctx context.Context, e watch.Event) {
	switch e.Kind {
	case watch.Settled:
		for _, p := range e.Paths {
			delete(c.side.settling, p)
			for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
				delete(c.side.settling, dir) // it has become a folder
			}
			c.touched(p)
		}
	case watch.Refs:
		c.side.moved = c.side.moved || len(e.Paths) == 0 || slices.ContainsFunc(e.Paths, func(p string) bool { return !c.isPeerRef(p) })
		if slices.ContainsFunc(e.Paths, func(p string) bool { return p == "config" && c.git.ConfigChanged() || strings.HasPrefix(p, "info/") }) {
			c.reload(ctx)
		}
	case watch.Rescan:
		c.side.audit, c.side.moved = true, true
		c.clear("clone-lost")
	case watch.Lost:
		c.warnText("clone-lost", fmt.Sprintf("%s cannot be seen: %v", path.Join(c.conf.Path, e.Dir), e.Err),
			"mount or restore the folder; nothing in it is taken for deleted")
	case watch.Limited:
		if e.Missing == 0 {
			c.clear("watch-limit")
			return
		}
		c.warnText("watch-limit", fmt.Sprintf("%d of %d folders are only looked at slowly", e.Missing, e.Watched+e.Missing), e.Reason)
	}
}

// touched notes that a path is to be looked at, unless it is as we left it: our own writes come back as events.
func (c *clone) touched(p string) {
	if name := path.Base(p); name == ".gitignore" {
		c.watch.Reconsider(strings.TrimSuffix(path.Dir(p), "."))
	}
	st, err := c.git.Stat(p)
	if known, ok := c.side.known[p]; ok && err == nil && st == known {
		return
	}
	c.side.pending[p] = true
}

func (c *clone) reload(ctx context.Context) {
	if err := c.git.ReloadConfig(ctx); err != nil {
		c.log.Warn("reload git config", "err", err)
	}
	if c.annex == nil && c.git.Config("annex.uuid") != "" && c.git.Config("annex.version") != "" {
		c.jobs.Go(func() error { return errNowAnnex })
		return
	}
	c.listRemotes()
}

// look reads what the person moved: HEAD, its branch, and the other references.
func (c *clone) look(ctx context.Context) error {
	if c.side.moved {
		c.side.moved = false
		if err := c.smudged(ctx); err != nil {
			return fmt.Errorf("read smudge log: %w", err)
		}
		if err := c.lookAtContents(ctx); err != nil {
			return err
		}
		c.side.unfinished = c.git.Unfinished()
		branch, head, err := c.git.Head(ctx)
		if err != nil {
			return fmt.Errorf("read HEAD: %w", err)
		}
		if err := annex.RefuseBranch(branch); err != nil {
			c.side.moved = true
			return err
		}
		if c.side.begun && c.side.unfinished == "" {
			if head, err = c.finishMove(ctx, branch, head); err != nil {
				return err
			}
		}
		if branch != c.side.branch || head != c.side.head {
			if err := c.takeBack(ctx); err != nil {
				return err
			}
			if err := c.followHead(ctx, branch, head); err != nil {
				return err
			}
		}
		if err := c.followBranches(ctx); err != nil {
			return err
		}
		if err := c.followSynced(ctx); err != nil {
			return err
		}
		c.branchesMoved()
		c.agenda.in(taskPublish, publishDelay) // other branches and tags are part of the vector
	}
	if c.side.audit && c.watch != nil && c.side.unfinished == "" {
		paths, err := c.git.Status(ctx)
		if err != nil {
			return fmt.Errorf("compare work tree: %w", err)
		}
		c.side.audit = false
		for _, p := range paths {
			c.side.audited[p] = true
			delete(c.side.known, p)
		}
		c.whenSettled(paths)
	}
	return nil
}

// whenSettled has paths looked at when nobody writes to them any more; at once where a folder took the place of a file,
// for folders do not settle.
func (c *clone) whenSettled(paths []string) {
	for _, p := range paths {
		if st, err := c.git.Stat(p); err == nil && st.IsDir() {
			c.side.pending[p] = true
		} else {
			c.side.settling[p] = true
		}
	}
	c.watch.Settle(paths...)
}

// afterWriter reports whether somebody has a file open for writing, and has it looked at when that is over.
func (c *clone) afterWriter(p string) bool {
	if !c.watch.Writing(p) {
		return false
	}
	c.whenSettled([]string{p})
	return true
}

// followHead takes in that the person committed, reset, or checked out another branch.
func (c *clone) followHead(ctx context.Context, branch string, head gitrepo.Hash) error {
	old := c.side.head
	sameBranch := branch == c.side.branch
	if !sameBranch && !c.git.Bare() {
		var err error
		if head, err = c.movedUnder(ctx, branch, head); err != nil {
			return err
		}
	}
	c.side.branch, c.side.head = branch, head
	c.lookAtStaged()
	if !sameBranch {
		old = gitrepo.Hash{}
		if c.queue != nil {
			c.queue.Cancel(slices.Collect(maps.Keys(c.want.missing))...)
		}
		c.want.forgetNames()
		clear(c.want.missing)
		clear(c.want.spare)
		clear(c.want.behind)
	}
	if err := c.collect(ctx); err != nil {
		return err
	}
	if sameBranch && branch != "" && !head.IsZero() {
		c.announce(ctx, branch, old, head)
	}
	return c.wantFrom(ctx, old, head)
}

// commit takes in what the person saved.
func (c *clone) commit(ctx context.Context) error {
	if c.watch == nil || len(c.side.pending) == 0 || c.side.branch == "" {
		return nil
	}
	if c.git.ConfigChanged() { // the event of which may come after that of a file which was saved later
		c.reload(ctx)
	}
	paths := slices.Sorted(maps.Keys(c.side.pending))
	index := c.indexStamp()
	snap, added, err := c.snapshot(ctx, paths)
	if err != nil {
		return fmt.Errorf("read work tree: %w", err)
	}
	if err := c.holdStaged(&snap); err != nil {
		return err
	}
	if err := c.undisturbed(ctx, index); err != nil { // last, for the person's git may have gone to another branch and back
		return err
	}
	c.holdReplaced(paths, &snap)
	if c.moreToGo(snap.Changes) {
		return nil
	}
	if err := c.refuseMassDeletion(snap.Changes); err != nil {
		return err
	}
	if err := c.smudged(ctx); err != nil {
		return fmt.Errorf("read smudge log: %w", err)
	}
	clear(c.side.pending)
	c.skipped(paths, snap.Skipped)
	c.remember(snap.Index)
	c.emptied(snap)
	if len(snap.Changes) == 0 {
		return c.refreshIndex(ctx, snap)
	}
	old := c.side.head
	head, err := c.git.NewCommit(ctx, gitrepo.NewCommit{
		Parents: parents(old), Base: old, Changes: snap.Changes, Message: message(c.conf.Name, snap.Changes),
	})
	if err == nil {
		err = c.intend(head, true)
	}
	if err != nil {
		c.lookAgain(snap.Changes)
		return fmt.Errorf("commit: %w", err)
	}
	c.hook("before", change{Old: hexOrEmpty(old), New: head.String(), Paths: changedPaths(snap.Changes)})
	c.log.Debug("committed", "commit", head, "changes", len(snap.Changes))
	// Peers may have the commit before we have moved to it (DESIGN §11): its objects are whole, and its bytes are those of
	// a settled file. Should we die now, we move to it when we are back; should its objects be lost, they give them back.
	// What does not fit a signal they fetch: that they find only after we have moved.
	pack := c.pack(ctx, old, head)
	if pack != nil {
		c.announceWith(ctx, pack, c.side.branch, old, head, added)
	}
	if err := c.moveTo(ctx, c.git, gitrepo.Advance{New: head, Index: snap.Index, Held: snap.Held, Reason: "commit"}); err != nil {
		// The person moved the branch. What we announced is brought together with that, or is from now on like a commit of a
		// peer; the files are looked at again, against the new head.
		c.side.begun = true
		c.peers.arrived(c.side.branch, head, "")
		c.lookAgain(snap.Changes)
		return err
	}
	if pack == nil {
		c.announceWith(ctx, nil, c.side.branch, old, head, added)
	}
	c.hook("after", change{Old: hexOrEmpty(old), New: head.String(), Paths: changedPaths(snap.Changes)})
	return c.wantFrom(ctx, old, head, added...)
}

// lookAgain has changes that did not get into the branch looked at again.
func (c *clone) lookAgain(changes []gitrepo.Change) {
	for _, p := range changedPaths(changes) {
		c.side.pending[p] = true
	}
}

// skipped has paths that could not be read, or changed meanwhile, looked at again: later and later, and the person is told.
func (c *clone) skipped(looked, skipped []string) {
	for _, p := range looked {
		if !slices.Contains(skipped, p) {
			delete(c.side.unread, p)
		}
	}
	worst := 0
	skipped = slices.DeleteFunc(skipped, func(p string) bool { return c.side.adding[p] || c.afterWriter(p) })
	for _, p := range skipped {
		c.side.unread[p]++
		worst = max(worst, c.side.unread[p])
	}
	switch {
	case len(skipped) > 0:
		c.agenda.in(taskUnread, min(retryDelay<<min(worst, 8), 15*time.Second))
		if worst >= 4 {
			c.warnText("unreadable", fmt.Sprintf("%q cannot be read", skipped[0]), "make it readable, or add it to .gitignore")
		}
	case len(c.side.unread) == 0:
		c.clear("unreadable")
	}
}

// advancer is the repository, or its index lock while we hold it.
type advancer interface {
	Advance(ctx context.Context, a gitrepo.Advance) error
}

// moveTo makes a.New the commit of the branch that is checked out, together with the index.
func (c *clone) moveTo(ctx context.Context, git advancer, a gitrepo.Advance) error {
	a.Ref, a.Old, a.Reason = c.side.branch, c.side.head, "arbor: "+a.Reason
	if err := git.Advance(ctx, a); err != nil {
		c.side.moved = true
		return fmt.Errorf("move %s: %w", c.side.branch, err)
	}
	c.forgetIntent()
	c.remember(a.Index)
	c.noteVariants(a.Index)
	c.log.Debug("moved", "ref", c.side.branch, "commit", a.New)
	c.side.head = a.New
	c.side.changed = time.Now()
	c.agenda.in(taskPublish, publishDelay)
	return nil
}

// remember notes the stat of files that are as we read or wrote them, so that their events are not news.
func (c *clone) remember(index []gitrepo.IndexEntry) {
	for _, e := range index {
		if e.Entry.IsZero() || e.Stat == (gitrepo.Stat{}) {
			delete(c.side.known, e.Path)
		} else {
			c.side.known[e.Path] = e.Stat
		}
	}
}

func parents(h gitrepo.Hash) []gitrepo.Hash {
	if h.IsZero() {
		return nil
	}
	return []gitrepo.Hash{h}
}

func hexOrEmpty(h gitrepo.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}

func changedPaths(changes []gitrepo.Change) []string {
	paths := make([]string, len(changes))
	for i, ch := range changes {
		paths[i] = ch.Path
	}
	return paths
}

// message is the commit message for changes: what `git log --oneline` shows to a person who looks for a file.
func message(name string, changes []gitrepo.Change) string {
	verb := func(ch gitrepo.Change) string {
		switch {
		case ch.Old.IsZero():
			return "add"
		case ch.New.IsZero():
			return "delete"
		}
		return "change"
	}
	first := fmt.Sprintf("%s: %s %q", name, verb(changes[0]), changes[0].Path)
	if plain := changes[0].Path; !strings.ContainsFunc(plain, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
		first = fmt.Sprintf("%s: %s %s", name, verb(changes[0]), plain)
	}
	if len(changes) > 1 {
		first += fmt.Sprintf(" and %d more", len(changes)-1)
	}
	return first + "\n"
}
