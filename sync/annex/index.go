package annex

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// indexReader knows what git's index has. It is read once: a filter process lives no longer than the git that started it, and that git writes its
// index last of all.
type indexReader struct {
	dir     string
	entries map[string]gitrepo.Entry
}

// entry gives what the index has at path; the zero Entry when it has nothing there, or a conflict.
func (x *indexReader) entry(ctx context.Context, path string) (gitrepo.Entry, error) {
	if x.entries == nil {
		cmd := exec.CommandContext(ctx, "git", "ls-files", "--stage", "-z")
		cmd.Dir = x.dir
		cmd.Env = gitEnv()
		list, err := cmd.Output()
		if err != nil {
			return gitrepo.Entry{}, fmt.Errorf("read index: %w", err)
		}
		x.entries = parseStage(list)
	}
	return x.entries[path], nil
}

// parseStage reads the output of git ls-files --stage -z: mode, hash and stage before a tab, then the path.
func parseStage(list []byte) map[string]gitrepo.Entry {
	entries := make(map[string]gitrepo.Entry)
	for record := range bytes.SplitSeq(list, []byte{0}) {
		info, path, ok := strings.Cut(string(record), "\t")
		fields := strings.Fields(info)
		if !ok || len(fields) != 3 || fields[2] != "0" {
			continue
		}
		mode, err := strconv.ParseUint(fields[0], 8, 32)
		if err != nil {
			continue
		}
		if h, err := gitrepo.ParseHash(fields[1]); err == nil {
			entries[path] = gitrepo.Entry{Mode: gitrepo.Mode(mode), Hash: h}
		}
	}
	return entries
}

// gitEnv is the environment of every git that is started here.
func gitEnv() []string {
	return append(os.Environ(), "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C", "GIT_TERMINAL_PROMPT=0")
}
