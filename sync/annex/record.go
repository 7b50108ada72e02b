package annex

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// maxRetries is how often a commit is begun again when somebody moved the branch without git-annex's lock (a push, a fetch).
const maxRetries = 20

// A Location is the news that a repository has the content of a key, or has it no more.
type Location struct {
	Key     Key
	UUID    string
	Present bool
	// Told is when the repository itself has said so, by its own clock, for news that somebody else writes down: what the log says of the same
	// second or of a later one stands. It is zero for what is written by whoever knows it.
	Told time.Time
}

// Record writes all locations, in their order, to the location log in one commit of the git-annex branch and gives the branch's commit, which is
// the old one when nothing is news. It is ErrForgetting while git-annex rewrites the branch. It leaves out news of what is not named by a UUID.
func (r *Repo) Record(ctx context.Context, locations []Location) (gitrepo.Hash, error) {
	return r.commit(ctx, func(e *edit) error {
		now := time.Now()
		byLog := make(map[string][]Location, len(locations))
		for _, l := range locations {
			if path := l.Key.logPath(); isUUID(l.UUID) {
				byLog[path] = append(byLog[path], l)
			}
		}
		for _, path := range slices.Sorted(maps.Keys(byLog)) {
			content, err := e.read(path)
			if err != nil {
				return err
			}
			log := parsePresenceLog(content)
			news := false
			for _, l := range byLog[path] {
				s := missing
				if l.Present {
					s = present
				}
				switch {
				case l.Told.IsZero():
					news = log.set(l.UUID, s, now) || news
				case !log.saysSince(l.UUID, l.Told):
					news = log.set(l.UUID, s, l.Told) || news
				}
			}
			if news {
				e.write(path, log.bytes())
			}
		}
		return nil
	})
}

// edit is a set of new versions of logs on top of one commit of the branch.
type edit struct {
	branch *branch
	files  map[string][]byte
}

// read gives a log.
func (e *edit) read(path string) ([]byte, error) {
	if content, ok := e.files[path]; ok {
		return content, nil
	}
	content, _, err := e.branch.read(path)
	return content, err
}

func (e *edit) write(path string, content []byte) { e.files[path] = content }

// commit makes one commit of what change writes, under the lock that keeps git-annex from the branch, and moves the branch to it if it still is
// what was read. change is called again when it is not.
func (r *Repo) commit(ctx context.Context, change func(*edit) error) (gitrepo.Hash, error) {
	unlock, err := r.lockBranch(ctx)
	if err != nil {
		return gitrepo.Hash{}, err
	}
	defer unlock()
	b := r.branch
	b.mu.Lock()
	defer b.mu.Unlock()
	return retryMoved(func() (gitrepo.Hash, error) {
		if err := r.settle(ctx); err != nil {
			return gitrepo.Hash{}, err
		}
		if err := b.refresh(); err != nil {
			return gitrepo.Hash{}, err
		}
		e := &edit{branch: b, files: make(map[string][]byte)}
		if err := change(e); err != nil || len(e.files) == 0 {
			return b.head, err
		}
		return r.commitFiles(ctx, b.head, e.files)
	})
}

// settle brings into the branch what must be there before anything else is committed.
func (r *Repo) settle(ctx context.Context) error {
	if forgetting, err := r.forgettingHere(); err != nil || forgetting {
		return cmp.Or(err, ErrForgetting)
	}
	if err := r.commitJournal(ctx); err != nil {
		return err
	}
	return r.putBackOwn(ctx)
}

// retryMoved calls attempt again as long as somebody moves the branch under it.
func retryMoved(attempt func() (gitrepo.Hash, error)) (gitrepo.Hash, error) {
	for range maxRetries {
		h, err := attempt()
		if !errors.Is(err, gitrepo.ErrRefMoved) {
			return h, err
		}
	}
	return gitrepo.Hash{}, fmt.Errorf("commit to git-annex branch: %w", gitrepo.ErrRefMoved)
}

// commitFiles makes one commit of files on top of old and moves the branch to it.
func (r *Repo) commitFiles(ctx context.Context, old gitrepo.Hash, files map[string][]byte) (gitrepo.Hash, error) {
	c := gitrepo.NewCommit{Base: old, Message: "update"}
	if !old.IsZero() {
		c.Parents = []gitrepo.Hash{old}
	}
	head, err := r.writeCommit(ctx, c, files)
	if err != nil {
		return gitrepo.Hash{}, err
	}
	return head, r.moveBranch(ctx, old, head, "arbor: update")
}

// writeCommit writes a commit of files durably; nil removes one.
func (r *Repo) writeCommit(ctx context.Context, c gitrepo.NewCommit, files map[string][]byte) (gitrepo.Hash, error) {
	for path, content := range files {
		if content == nil {
			c.Changes = append(c.Changes, gitrepo.Change{Path: path})
			continue
		}
		h, err := r.git.WriteBlob(content)
		if err != nil {
			return gitrepo.Hash{}, fmt.Errorf("commit to git-annex branch: %w", err)
		}
		c.Changes = append(c.Changes, gitrepo.Change{Path: path, New: gitrepo.Entry{Mode: gitrepo.ModeFile, Hash: h}})
	}
	h, err := r.git.NewCommit(ctx, c)
	if err != nil {
		return gitrepo.Hash{}, fmt.Errorf("commit to git-annex branch: %w", err)
	}
	if err := r.git.Sync(); err != nil {
		return gitrepo.Hash{}, fmt.Errorf("commit to git-annex branch: %w", err)
	}
	return h, nil
}

// lockBranch keeps git-annex, and other writers in this process, from the branch and the journal until unlock.
func (r *Repo) lockBranch(ctx context.Context) (unlock func(), err error) {
	r.branchMu.Lock()
	lock, err := waitLock(ctx, filepath.Join(r.dir, "journal.lck"), true)
	if err != nil {
		r.branchMu.Unlock()
		return nil, fmt.Errorf("lock git-annex branch: %w", err)
	}
	return func() {
		lock.unlock()
		r.branchMu.Unlock()
	}, nil
}

// OwnHead gives the newest commit of the branch that Arbor has made; zero when there is none.
func (r *Repo) OwnHead() (gitrepo.Hash, error) { return r.branch.ref(ownRef) }

// moveBranch moves the branch, and with it the reference that remembers what was written. It wraps gitrepo.ErrRefMoved when the branch is not at
// old any more.
func (r *Repo) moveBranch(ctx context.Context, old, head gitrepo.Hash, reason string) error {
	own, err := r.branch.ref(ownRef)
	if err != nil {
		return err
	}
	updates := []gitrepo.RefUpdate{{Name: branchRef, New: head, Old: old}}
	if own != head {
		updates = append(updates, gitrepo.RefUpdate{Name: ownRef, New: head, Old: own})
	}
	if err := r.git.UpdateRefs(ctx, updates, reason); err != nil {
		return fmt.Errorf("move git-annex branch: %w", err)
	}
	return nil
}
