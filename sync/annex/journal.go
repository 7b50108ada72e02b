package annex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// The journal holds whole new versions of logs that git-annex has not committed yet, one file for each. Readers must see them. When git-annex commits
// them they replace what the branch has, so nothing may be committed to the branch that a journal file does not know of: whoever commits,
// under the lock of the branch, commits the journal before anything else.

var (
	escapeJournalFile   = strings.NewReplacer("_", "__", "/", "_")
	unescapeJournalFile = strings.NewReplacer("__", "_", "_", "/")
)

// journalFile gives the name in the journal of a path in the git-annex branch.
func journalFile(path string) string { return escapeJournalFile.Replace(path) }

// journalPath is the inverse of journalFile.
func journalPath(name string) string { return unescapeJournalFile.Replace(name) }

// readJournal gives the journalled version of a log; nil when there is none. A last line that was not written completely is left out, as
// git-annex does.
func readJournal(dir, path string) ([]byte, error) {
	content, err := os.ReadFile(filepath.Join(dir, journalFile(path)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return content[:bytes.LastIndexByte(content, '\n')+1], nil
}

// listJournal gives the names of the files in the journal.
func listJournal(dir string) (map[string]bool, error) {
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	names := make(map[string]bool, len(list))
	for _, file := range list {
		names[file.Name()] = true
	}
	return names, nil
}

// commitJournal commits what is in the journal, in a commit of its own so that a crash before the files are gone does no harm. The branch is locked.
func (r *Repo) commitJournal(ctx context.Context) error {
	b := r.branch
	list, err := os.ReadDir(b.journal)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read journal: %w", err)
	}
	if len(list) == 0 {
		return nil
	}
	if err := b.refresh(); err != nil {
		return err
	}
	e := &edit{branch: b, files: make(map[string][]byte)}
	for _, file := range list {
		path := journalPath(file.Name())
		h, err := b.committed(b.head, path)
		if err != nil {
			return err
		}
		content, _, err := b.read(path)
		if err != nil {
			return err
		}
		if gitrepo.HashBlob(content) != h {
			e.write(path, content)
		}
	}
	if len(e.files) > 0 {
		if _, err := r.commitFiles(ctx, b.head, e.files); err != nil {
			return err
		}
	}
	for _, file := range list {
		if err := os.Remove(filepath.Join(b.journal, file.Name())); err != nil {
			return fmt.Errorf("empty journal: %w", err)
		}
	}
	return nil
}
