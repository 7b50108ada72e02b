package watch

import (
	"log/slog"
	"strings"
	"time"
)

// refsTiming: git renames references into place, so nothing has to be held back; a rebase or a fetch changes many at once.
var refsTiming = timing{
	edge:       5 * time.Millisecond,
	maxWait:    20 * time.Millisecond,
	hold:       5 * time.Millisecond,
	backupHold: 5 * time.Millisecond,
	busyRetry:  100 * time.Millisecond,
	errorRetry: 5 * time.Second,
	quiet:      20 * time.Millisecond,
	sweepMin:   time.Minute,
	sweepMax:   time.Minute,
	recent:     time.Minute,
	maxRecent:  64,
	maxPending: 100_000,
}

// NewRefs prepares a Watcher of what a git directory says about its references and its unfinished business: HEAD,
// refs/**, packed-refs, MERGE_HEAD and its kin, rebase-*, sequencer, config, info/*. Lock files and the index are left
// out. Its events are of Kind Refs (paths relative to gitDir, coalesced for about 5 ms), Rescan, Lost and Limited.
func NewRefs(gitDir string, log *slog.Logger) (*Watcher, error) {
	return newWatcher(Options{Root: gitDir, Ignored: areNoRefs, Log: log}, Refs, "HEAD", false, refsTiming)
}

func areNoRefs(paths ...string) []bool {
	no := make([]bool, len(paths))
	for i, p := range paths {
		p, dir := strings.CutSuffix(p, "/")
		no[i] = isNoRef(p, dir)
	}
	return no
}

// isNoRef reports whether a path in the git directory says nothing about references or unfinished operations. The names
// are those of gitrepository-layout(5) and of git's wt-status.c, which tells unfinished operations by them.
func isNoRef(p string, dir bool) bool {
	if !dir && strings.HasSuffix(p, ".lock") {
		return true
	}
	top, _, below := strings.Cut(p, "/")
	switch top {
	case "refs", "rebase-merge", "rebase-apply", "sequencer":
		return false
	case "info":
		return below && p != "info/exclude" && p != "info/attributes"
	case "HEAD", "packed-refs", "config", "shallow",
		"MERGE_HEAD", "MERGE_MODE", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "BISECT_LOG", "BISECT_START":
		return dir
	default:
		return true
	}
}
