package annex

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

const (
	// branchRef is the branch with the logs.
	branchRef = "refs/heads/git-annex"
	// ownRef keeps the newest commit that Arbor has made there, against git's garbage collection. What it holds is put back should somebody
	// overwrite the branch. Its last part keeps `git annex unused` from taking it for a branch with files.
	ownRef = "refs/arbor/git-annex"
)

// branch reads the logs of the git-annex branch and keeps what it has read until the branch changes.
type branch struct {
	git     *gitrepo.Repo
	journal string // directory

	mu        sync.Mutex // guards what follows
	head      gitrepo.Hash
	locations map[Key][]string    // by the logs in head; read when asked for
	lists     map[string][]string // the values of locations: many keys are in the same places
}

func openBranch(git *gitrepo.Repo, annexDir string) *branch {
	return &branch{
		git:       git,
		journal:   filepath.Join(annexDir, "journal"),
		locations: make(map[Key][]string),
		lists:     make(map[string][]string),
	}
}

// current gives the commit of the branch; zero when there is none.
func (b *branch) current() (gitrepo.Hash, error) { return b.ref(branchRef) }

func (b *branch) ref(name string) (gitrepo.Hash, error) {
	h, err := b.git.Ref(name)
	if err != nil && !errors.Is(err, gitrepo.ErrNotFound) {
		return gitrepo.Hash{}, fmt.Errorf("read git-annex branch: %w", err)
	}
	return h, nil
}

// refresh makes the cache be that of the branch as it is now, forgetting only the keys whose logs changed. b.mu is held.
func (b *branch) refresh() error {
	head, err := b.current()
	if err != nil || head == b.head {
		return err
	}
	if len(b.locations) > 0 {
		keys, err := b.changedKeys(b.head, head)
		if err != nil {
			// What the cache was read from may be gone: the history was rewritten, and git has collected its garbage.
			clear(b.locations)
		}
		for _, k := range keys {
			delete(b.locations, k)
		}
	}
	b.head = head
	return nil
}

// Changed gives the keys whose location logs differ between two commits of the git-annex branch.
func (r *Repo) Changed(from, to gitrepo.Hash) ([]Key, error) { return r.branch.changedKeys(from, to) }

// changedKeys is Repo.Changed.
func (b *branch) changedKeys(from, to gitrepo.Hash) ([]Key, error) {
	changes, err := b.git.Diff(from, to)
	if err != nil {
		return nil, fmt.Errorf("compare git-annex branch: %w", err)
	}
	var keys []Key
	for _, c := range changes {
		if k, ok := parseLogPath(c.Path); ok {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// parseLogPath gives the key whose location log is at path.
func parseLogPath(path string) (Key, bool) {
	name, ok := strings.CutSuffix(path[strings.LastIndexByte(path, '/')+1:], ".log")
	if !ok {
		return Key{}, false
	}
	k, err := ParseKeyFile(strings.Clone(name)) // the key outlives the path
	return k, err == nil && k.logPath() == path
}

// committed gives the hash of a log in a commit of the branch; zero when it has none.
func (b *branch) committed(commit gitrepo.Hash, path string) (gitrepo.Hash, error) {
	if commit.IsZero() {
		return gitrepo.Hash{}, nil
	}
	entry, err := b.git.Entry(commit, path)
	if errors.Is(err, gitrepo.ErrNotFound) || err == nil && !entry.Mode.IsRegular() {
		return gitrepo.Hash{}, nil
	}
	if err != nil {
		return gitrepo.Hash{}, fmt.Errorf("read git-annex branch: %w", err)
	}
	return entry.Hash, nil
}

// blob gives the content of a log; nil for the zero hash.
func (b *branch) blob(h gitrepo.Hash) ([]byte, error) {
	if h.IsZero() {
		return nil, nil
	}
	content, err := b.git.Blob(h, maxLogSize)
	if err != nil {
		return nil, fmt.Errorf("read git-annex branch: %w", err)
	}
	return content, nil
}

// read gives a log as git-annex sees it or soon will: the version in the branch, merged with one that is in the journal. journalled says that there is
// one. b.mu is held and the cache is fresh.
func (b *branch) read(path string) (content []byte, journalled bool, err error) {
	h, err := b.committed(b.head, path)
	if err != nil {
		return nil, false, err
	}
	return b.readBlob(path, h)
}

// readBlob is read where the version in the branch is known.
func (b *branch) readBlob(path string, h gitrepo.Hash) (content []byte, journalled bool, err error) {
	pending, err := readJournal(b.journal, path)
	if err != nil {
		return nil, false, err
	}
	content, err = b.blob(h)
	if err != nil || pending == nil {
		return content, pending != nil, err
	}
	merged, _ := unionMerge([][]byte{content, pending})
	return merged, true, nil
}

// BranchHead gives the commit of the git-annex branch; zero when there is none.
func (r *Repo) BranchHead() (gitrepo.Hash, error) { return r.branch.current() }

// Locations gives the UUIDs of the repositories that have the content of the key, as the location log says, sorted. The slice is shared:
// callers must not change it.
func (r *Repo) Locations(ctx context.Context, k Key) ([]string, error) {
	b := r.branch
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(); err != nil {
		return nil, err
	}
	if uuids, known := b.locations[k]; known {
		pending, err := readJournal(b.journal, k.logPath())
		if err != nil || pending == nil {
			return uuids, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	content, journalled, err := b.read(k.logPath())
	if err != nil {
		return nil, fmt.Errorf("read locations of %s: %w", k, err)
	}
	return b.locate(k, content, !journalled), nil
}

// locate reads the location log of a key; keep says that it is all of the branch's. b.mu is held.
func (b *branch) locate(k Key, content []byte, keep bool) []string {
	log := parsePresenceLog(content)
	uuids := b.intern(log.present())
	if keep {
		b.locations[k] = uuids
	}
	return uuids
}

// LocationsOf gives what Locations gives for each of the keys. It looks at the branch and the journal once, and reads in the order of the branch.
func (r *Repo) LocationsOf(ctx context.Context, keys []Key) ([][]string, error) {
	b := r.branch
	b.mu.Lock()
	defer b.mu.Unlock()
	// The journal first: what git-annex commits from it meanwhile is in the branch then.
	pending, err := listJournal(b.journal)
	if err != nil {
		return nil, err
	}
	if err := b.refresh(); err != nil {
		return nil, err
	}
	found := make([][]string, len(keys))
	unread := make(map[string][]int) // by the paths of the logs
	for i, k := range keys {
		uuids, known := b.locations[k]
		if found[i] = uuids; known && len(pending) == 0 {
			continue
		}
		if path := k.logPath(); !known || pending[journalFile(path)] {
			unread[path] = append(unread[path], i)
		}
	}
	if len(unread) == 0 {
		return found, nil
	}
	paths := slices.Sorted(maps.Keys(unread))
	logs, err := b.git.Entries(b.head, paths)
	if err != nil {
		return nil, fmt.Errorf("read git-annex branch: %w", err)
	}
	for _, at := range b.git.PackOrder(len(paths), func(i int) gitrepo.Hash { return logs[i].Hash }) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		path := paths[at]
		k := keys[unread[path][0]]
		uuids, err := b.readLocations(k, path, logs[at], pending[journalFile(path)])
		if err != nil {
			return nil, fmt.Errorf("read locations of %s: %w", k, err)
		}
		for _, i := range unread[path] {
			found[i] = uuids
		}
	}
	return found, nil
}

// readLocations reads the log of a key whose entry in the branch is known. b.mu is held.
func (b *branch) readLocations(k Key, path string, log gitrepo.Entry, pending bool) (uuids []string, err error) {
	var h gitrepo.Hash
	if log.Mode.IsRegular() {
		h = log.Hash
	}
	var content []byte
	if pending {
		content, pending, err = b.readBlob(path, h)
	} else {
		content, err = b.blob(h)
	}
	if err != nil {
		return nil, err
	}
	return b.locate(k, content, !pending), nil
}

// Moved gives the keys whose content has come here, or has gone from here, between two commits of the git-annex branch, as the location logs say.
func (r *Repo) Moved(from, to gitrepo.Hash) (came, gone []Key, err error) {
	b := r.branch
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(); err != nil {
		return nil, nil, err
	}
	changes, err := b.git.Diff(from, to)
	if err != nil {
		return nil, nil, fmt.Errorf("compare git-annex branch: %w", err)
	}
	for _, i := range b.git.PackOrder(len(changes), func(i int) gitrepo.Hash { return changes[i].New.Hash }) {
		c := changes[i]
		k, ok := parseLogPath(c.Path)
		if !ok {
			continue
		}
		before, err := b.logged(k, c.Old, false)
		if err != nil {
			return nil, nil, err
		}
		after, err := b.logged(k, c.New, to == b.head)
		if err != nil {
			return nil, nil, err
		}
		switch had, has := slices.Contains(before, r.uuid), slices.Contains(after, r.uuid); {
		case has && !had:
			came = append(came, k)
		case had && !has:
			gone = append(gone, k)
		}
	}
	return came, gone, nil
}

// logged reads a version of the location log of a key; keep says that it is that of the branch as it is now. b.mu is held.
func (b *branch) logged(k Key, log gitrepo.Entry, keep bool) ([]string, error) {
	if !log.Mode.IsRegular() {
		return nil, nil
	}
	content, err := b.blob(log.Hash)
	if err != nil {
		return nil, err
	}
	return b.locate(k, content, keep), nil
}

// intern gives the one list equal to uuids. b.mu is held.
func (b *branch) intern(uuids []string) []string {
	name := strings.Join(uuids, "\n")
	list, ok := b.lists[name]
	if !ok {
		list = uuids
		b.lists[name] = list
	}
	return list
}

// readLog gives a log; nil when there is none.
func (r *Repo) readLog(ctx context.Context, path string) ([]byte, error) {
	b := r.branch
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := b.refresh(); err != nil {
		return nil, err
	}
	content, _, err := b.read(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return content, nil
}

// valueLog reads a log of newest values.
func (r *Repo) valueLog(ctx context.Context, path string, format valueFormat) (valueLog, error) {
	content, err := r.readLog(ctx, path)
	if err != nil {
		return valueLog{}, err
	}
	return parseValueLog(content, format), nil
}
