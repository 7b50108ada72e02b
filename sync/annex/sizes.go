package annex

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/wanted"
)

// sizes are how many bytes of contents each repository has by the location logs of a commit of the git-annex branch.
type sizes struct {
	mu   sync.Mutex
	head gitrepo.Hash
	used map[string]int64 // by UUID; nil before anybody has asked
}

// Used gives how many bytes of contents each repository has by the location logs, by UUID. Contents of unknown size count nothing, as in
// git-annex. The first call reads all logs, the others what has changed.
func (r *Repo) Used(ctx context.Context) (map[string]int64, error) {
	s := &r.sizes
	s.mu.Lock()
	defer s.mu.Unlock()
	pending, err := listJournal(r.branch.journal) // before the branch: what git-annex commits meanwhile is there then
	if err != nil {
		return nil, err
	}
	head, err := r.branch.current()
	if err != nil {
		return nil, err
	}
	if s.used == nil || s.head != head {
		used := maps.Clone(s.used)
		if used == nil || r.count(ctx, used, s.head, head) != nil { // the commit may be gone, with a history that was rewritten
			used = make(map[string]int64)
			if err := r.count(ctx, used, gitrepo.Hash{}, head); err != nil {
				return nil, fmt.Errorf("count what repositories have: %w", err)
			}
		}
		s.head, s.used = head, used
	}
	used := maps.Clone(s.used)
	for name := range pending {
		if err := r.countJournalled(used, head, journalPath(name)); err != nil {
			return nil, fmt.Errorf("count what repositories have: %w", err)
		}
	}
	return used, nil
}

// count adds to the sizes what location logs say differently in two commits.
func (r *Repo) count(ctx context.Context, used map[string]int64, from, to gitrepo.Hash) error {
	changes, err := r.git.Diff(from, to)
	if err != nil {
		return fmt.Errorf("compare git-annex branch: %w", err)
	}
	for _, i := range r.git.PackOrder(len(changes), func(i int) gitrepo.Hash { return changes[i].New.Hash }) {
		k, ok := parseLogPath(changes[i].Path)
		if !ok {
			continue
		}
		var contents [2][]byte
		for v, log := range []gitrepo.Entry{changes[i].Old, changes[i].New} {
			if !log.Mode.IsRegular() {
				continue
			}
			if contents[v], err = r.branch.blob(log.Hash); err != nil {
				return err
			}
		}
		addSizes(used, k, contents[0], contents[1])
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// countJournalled adds to the sizes what a log in the journal says differently from the branch.
func (r *Repo) countJournalled(used map[string]int64, head gitrepo.Hash, path string) error {
	k, ok := parseLogPath(path)
	if !ok {
		return nil
	}
	h, err := r.branch.committed(head, path)
	if err != nil {
		return err
	}
	before, err := r.branch.blob(h)
	if err != nil {
		return err
	}
	after, _, err := r.branch.readBlob(path, h)
	if err != nil {
		return err
	}
	addSizes(used, k, before, after)
	return nil
}

// addSizes adds to the sizes what a version of a key's location log says differently from the one before.
func addSizes(used map[string]int64, k Key, before, after []byte) {
	size, known := k.Size()
	if !known {
		return
	}
	for v, content := range [][]byte{before, after} {
		log := parsePresenceLog(content)
		for _, uuid := range log.present() {
			used[uuid] += size * int64(2*v-1)
		}
	}
}

// use is Used as package wanted asks it.
func (r *Repo) use(ctx context.Context) (map[string]wanted.Use, error) {
	used, err := r.Used(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]wanted.Use, len(used))
	for uuid, n := range used {
		all[uuid] = wanted.Use{Now: n, Then: n}
	}
	return all, nil
}
