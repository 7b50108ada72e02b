package annex

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/wanted"
)

// Transitions are rewritings of the git-annex branch that all clones are to follow (`git annex forget`): Annex/Branch.hs handleTransitions and
// Annex/Branch/Transitions.hs. A branch that went through fewer of them than another is merged with it by content alone: its lines count, but for
// those that were to be forgotten, and its history does not become part of the merge.

// transitionsLog says which transitions a git-annex branch has been through: lines of NAME CLOCK.
const transitionsLog = "transitions.log"

// The transitions that are known.
const (
	forgetGitHistory  = "ForgetGitHistory"
	forgetDeadRemotes = "ForgetDeadRemotes"
)

// transitions are the lines of a transitions.log, sorted.
type transitions []string

// transitions reads the log of a commit; the zero hash has none.
func (b *branch) transitions(commit gitrepo.Hash) (transitions, error) {
	h, err := b.committed(commit, transitionsLog)
	if err != nil {
		return nil, err
	}
	content, err := b.blob(h)
	if err != nil {
		return nil, err
	}
	return transitions(slices.Compact(slices.Sorted(logLines(content)))), nil
}

// known says whether each of the transitions can be followed.
func (t transitions) known() bool {
	return !slices.ContainsFunc(t, func(line string) bool {
		name, stamp, _ := strings.Cut(line, " ")
		_, ok := parseClock(stamp)
		return !ok || name != forgetGitHistory && name != forgetDeadRemotes
	})
}

// forgetsDead says whether repositories that are dead are to be forgotten.
func (t transitions) forgetsDead() bool {
	return slices.ContainsFunc(t, func(line string) bool { return strings.HasPrefix(line, forgetDeadRemotes+" ") })
}

// histories are commits of the branch that are to be merged, by what their histories went through.
type histories struct {
	all     transitions    // of all together
	done    []gitrepo.Hash // those that went through all of them
	behind  []gitrepo.Hash
	refused error // names one that is left out, because it is not known here what its history went through
}

// histories sorts old, which may be zero, and heads.
func (b *branch) histories(old gitrepo.Hash, heads []gitrepo.Hash) (histories, error) {
	own, err := b.transitions(old)
	if err != nil {
		return histories{}, err
	}
	hs := histories{all: slices.Clone(own)}
	logs := map[gitrepo.Hash]transitions{old: own}
	for _, h := range heads {
		log, err := b.transitions(h)
		if err != nil {
			return histories{}, err
		}
		if !slices.Equal(log, own) && (!log.known() || !own.known()) {
			hs.refused = &Refused{
				What: fmt.Sprintf("the git-annex branch at %s and the one here do not share the same rewritings of history", h),
				Hint: "run git annex merge, which knows what was forgotten and why",
			}
			continue
		}
		logs[h] = log
		hs.all = append(hs.all, log...)
	}
	slices.Sort(hs.all)
	hs.all = slices.Compact(hs.all)
	for h, log := range logs {
		switch {
		case h.IsZero():
		case slices.Equal(log, hs.all):
			hs.done = append(hs.done, h)
		default:
			hs.behind = append(hs.behind, h)
		}
	}
	return hs, nil
}

// Superseded says whether the history of the git-annex branch at a commit was rewritten here since (`git annex forget`): what is in it counts when it is
// merged, but it never becomes a part of the branch here.
func (r *Repo) Superseded(head gitrepo.Hash) (bool, error) {
	current, err := r.branch.current()
	if err != nil {
		return false, err
	}
	own, err := r.branch.transitions(current)
	if err != nil {
		return false, err
	}
	theirs, err := r.branch.transitions(head)
	if err != nil {
		return false, err
	}
	more := func(line string) bool { return !slices.Contains(own, line) }
	return !slices.Equal(own, theirs) && !slices.ContainsFunc(theirs, more), nil
}

// ErrForgetting says that git-annex is about to rewrite the history of its branch: wait for that.
var ErrForgetting = errors.New("git annex forget is at work")

// forgettingPatience is how long git-annex is given to rewrite the history of its branch once it has noted that it will. It takes a second for
// 100,000 keys; but it may have been killed.
const forgettingPatience = 30 * time.Second

// Forgetting says whether the git-annex branch at a commit is about to be rewritten: `git annex forget` notes that in transitions.log, on top of the
// history that is to go, before it makes the new one. Who merged that commit would take it for rewritten, and so keep the old history.
func (r *Repo) Forgetting(head gitrepo.Hash) (bool, error) {
	if head.IsZero() {
		return false, nil
	}
	c, err := r.git.Commit(head)
	if err != nil {
		return false, fmt.Errorf("read git-annex branch: %w", err)
	}
	now, err := r.branch.transitions(head)
	if err != nil || len(now) == 0 {
		return false, err
	}
	for _, parent := range c.Parents {
		before, err := r.branch.transitions(parent)
		if err != nil {
			return false, err
		}
		if !slices.Equal(before, now) {
			return true, nil
		}
	}
	return false, nil
}

// forgettingHere says whether git-annex is about to rewrite the history of the branch of this clone.
func (r *Repo) forgettingHere() (bool, error) {
	st, err := os.Lstat(filepath.Join(r.branch.journal, journalFile(transitionsLog)))
	if err == nil && time.Since(st.ModTime()) < forgettingPatience {
		return true, nil
	}
	head, err := r.branch.ref(branchRef)
	if err != nil {
		return false, err
	}
	forgetting, err := r.Forgetting(head)
	if err != nil || !forgetting {
		return false, err
	}
	c, err := r.git.Commit(head)
	return err == nil && time.Since(c.Committer.When) < forgettingPatience, err
}

// Follow gives the commit of the git-annex branch. When git-annex has forgotten its history since something was written here, what there is of that history
// is merged first, and left alone by git-annex then. It is ErrForgetting while git-annex rewrites the branch.
func (r *Repo) Follow(ctx context.Context) (gitrepo.Hash, error) {
	if forgetting, err := r.forgettingHere(); err != nil || forgetting {
		return gitrepo.Hash{}, cmp.Or(err, ErrForgetting)
	}
	head, err := r.branch.current()
	if err != nil {
		return gitrepo.Hash{}, err
	}
	own, err := r.branch.ref(ownRef)
	if err != nil || own.IsZero() || own == head {
		return head, err
	}
	if old, err := r.Superseded(own); err != nil || !old {
		return head, err
	}
	return r.commit(ctx, func(*edit) error { return nil })
}

// dropDead takes the lines of dead repositories out of the log at path, as far as git-annex does.
func dropDead(path string, content []byte, dead map[string]bool) []byte {
	at := uuidField(path)
	if at < 0 || len(dead) == 0 {
		return content
	}
	return bytes.Join(slices.DeleteFunc(slices.Collect(bytes.Lines(content)), func(line []byte) bool {
		fields := strings.Fields(string(line))
		if at >= len(fields) {
			return false
		}
		uuid, _, _ := strings.Cut(fields[at], ":") // what is behind it belongs to the value
		return dead[uuid]
	}), nil)
}

// uuidField says which word of a log's lines names the repository that the line is about; -1 where git-annex forgets no line.
func uuidField(path string) int {
	switch name := path[strings.LastIndexByte(path, '/')+1:]; {
	case slices.Contains([]string{
		uuidLog, remoteLog, groupLog, preferredLog, requiredLog, "schedule.log", "activity.log", "difference.log", "multicast.log",
	}, path):
		return 0
	case !strings.Contains(path, "/"):
		return -1
	case strings.HasSuffix(name, ".log.rmt"), strings.HasSuffix(name, ".log.cid"), strings.HasSuffix(name, ".log.cnk"), strings.HasSuffix(name, ".log.rmet"):
		return 1
	case strings.HasSuffix(name, ".log"):
		return 2
	}
	return -1
}

// forgetIndex removes git-annex's own index of the branch, which still has what was forgotten: git-annex would merge it into the branch. It makes a new
// one from the branch. Nothing is lost: what is in the index is in the branch or in the journal. The branch is locked.
func (r *Repo) forgetIndex() error {
	for _, name := range []string{"index", "index.lck"} { // in this order: an index without the second is merged
		if err := os.Remove(filepath.Join(r.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget index of git-annex branch: %w", err)
		}
	}
	return nil
}

// writeForgotten writes the union of done and behind, each independent and in the order of their hashes, without what the transitions forget. Its parents
// are done alone, or none; where it would be just one of them, that is it.
func (r *Repo) writeForgotten(ctx context.Context, all transitions, done, behind []gitrepo.Hash) (gitrepo.Hash, error) {
	var base gitrepo.Hash
	if len(done) > 0 {
		base = done[0]
	}
	var dead map[string]bool
	if all.forgetsDead() {
		var err error
		if dead, err = r.branch.deadIn(slices.Concat(done, behind)); err != nil {
			return gitrepo.Hash{}, err
		}
	}
	files, newest, err := r.union(base, slices.Concat(done, behind), dead)
	if err != nil {
		return gitrepo.Hash{}, err
	}
	head, err := r.writeMerge(ctx, done, files, newest)
	if err != nil || len(done) != 1 {
		return head, err
	}
	was, err := r.git.Commit(base)
	if err != nil {
		return gitrepo.Hash{}, err
	}
	if is, err := r.git.Commit(head); err != nil || is.Tree == was.Tree {
		return base, err
	}
	return head, nil
}

// deadIn gives the repositories that are dead by the trust.log of all commits together.
func (b *branch) deadIn(commits []gitrepo.Hash) (map[string]bool, error) {
	versions := make([][]byte, len(commits))
	for i, c := range commits {
		h, err := b.committed(c, trustLog)
		if err != nil {
			return nil, err
		}
		if versions[i], err = b.blob(h); err != nil {
			return nil, err
		}
	}
	content, _ := unionMerge(versions)
	log := parseValueLog(content, uuidLogFormat)
	dead := make(map[string]bool)
	for _, line := range log.lines {
		dead[line.subject] = parseTrust(line.value) == wanted.Dead
	}
	return dead, nil
}
