package annex

import (
	"bytes"
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

// sortTransitions gives all transitions that old, which may be zero, and the heads went through together; those of them that went through all; and
// those that did not. refused names heads that were left out, because what their history went through is not known here.
func (b *branch) sortTransitions(old gitrepo.Hash, heads []gitrepo.Hash) (all transitions, done, behind []gitrepo.Hash, refused, err error) {
	own, err := b.transitions(old)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	all = slices.Clone(own)
	logs := map[gitrepo.Hash]transitions{old: own}
	for _, h := range heads {
		log, err := b.transitions(h)
		if err != nil {
			return nil, nil, nil, nil, err
		}
		if !slices.Equal(log, own) && (!log.known() || !own.known()) {
			refused = &Refused{
				What: fmt.Sprintf("the git-annex branch at %s and the one here do not share the same rewritings of history", h),
				Hint: "run git annex merge, which knows what was forgotten and why",
			}
			continue
		}
		logs[h] = log
		all = append(all, log...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for h, log := range logs {
		switch {
		case h.IsZero():
		case slices.Equal(log, all):
			done = append(done, h)
		default:
			behind = append(behind, h)
		}
	}
	return all, done, behind, refused, nil
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

// ForgettingHere says whether git-annex is about to rewrite the history of the branch of this clone.
func (r *Repo) ForgettingHere() (bool, error) {
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
