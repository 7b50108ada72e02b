package annex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/wanted"
)

// Large says whether a file of this size in bytes is to be annexed, as annex.largefiles and annex.dotfiles say: in git's configuration, else
// in .gitattributes, else for all clones in config.log. Where nothing is said, all files are but those with a dot in front, as `git annex add`
// does. *Refused when the expression is not understood, or asks for what only a program knows that is not installed.
func (r *Repo) Large(ctx context.Context, path string, size int64) (bool, error) {
	large, configured, err := r.largeByRule(ctx, r.candidate(ctx, path, size))
	if err != nil || configured {
		return large, err
	}
	if isDotfile(path) {
		entry, err := r.headEntry(ctx, path)
		if err != nil {
			return false, err
		}
		_, annexed := EntryKey(r.git, entry)
		return annexed, nil
	}
	return true, nil
}

// largeByRule is what annex.largefiles says of a file; configured is false when it says nothing.
func (r *Repo) largeByRule(ctx context.Context, f *wanted.File) (large, configured bool, err error) {
	if isDotfile(f.Path) {
		value, _, err := r.setting(ctx, "annex.dotfiles")
		if on, isBool := parseBool(value); err != nil || !isBool || !on {
			return false, false, err
		}
	}
	text, from := r.git.Config("annex.largefiles"), "git config"
	if text == "" {
		attrs, err := r.attrs.of(ctx, f.Path)
		if err != nil {
			return false, false, err
		}
		text, from = attrs.largefiles, "gitattributes"
	}
	if text == "" {
		if text, _, err = r.Setting(ctx, "annex.largefiles"); err != nil {
			return false, false, err
		}
		from = "git annex config"
	}
	rule, err := wanted.ParseLargeFiles(text)
	if err != nil {
		return false, false, &Refused{
			What: fmt.Sprintf("annex.largefiles in %s: %v", from, err),
			Hint: "git annex help matching-expression describes the expressions",
		}
	}
	if rule.IsZero() {
		return false, false, nil
	}
	large, err = rule.Match(f)
	return large, true, err
}

// AddUnlocked says whether a new annexed file is to be a pointer in git (and ordinary content in the work tree) rather than a symbolic link:
// annex.addunlocked.
func (r *Repo) AddUnlocked(ctx context.Context, path string, size int64) (bool, error) {
	text, from, err := r.setting(ctx, "annex.addunlocked")
	if err != nil {
		return false, err
	}
	if on, isBool := parseBool(text); isBool || text == "" {
		return on, nil
	}
	rule, err := wanted.ParseLargeFiles(text)
	if err != nil {
		return false, &Refused{
			What: fmt.Sprintf("annex.addunlocked in %s: %v", from, err),
			Hint: "git annex help matching-expression describes the expressions",
		}
	}
	return rule.Match(r.candidate(ctx, path, size))
}

// headEntry gives what the current commit has at path; the zero Entry when it has nothing there.
func (r *Repo) headEntry(ctx context.Context, path string) (gitrepo.Entry, error) {
	_, head, err := r.git.Head(ctx)
	if err != nil {
		return gitrepo.Entry{}, err
	}
	return r.entryOf(head, path)
}

// entryOf is headEntry where the current commit is known, which is zero when there is none.
func (r *Repo) entryOf(head gitrepo.Hash, path string) (gitrepo.Entry, error) {
	if head.IsZero() {
		return gitrepo.Entry{}, nil
	}
	entry, err := r.git.Entry(head, path)
	if err != nil && !errors.Is(err, gitrepo.ErrNotFound) {
		return gitrepo.Entry{}, fmt.Errorf("look for %s in HEAD: %w", path, err)
	}
	return entry, nil
}

// EntryKey gives the key of an entry of a commit or of the index that is an annexed file: a pointer, or a link to an object. git need not
// have an annex itself.
func EntryKey(git *gitrepo.Repo, e gitrepo.Entry) (Key, bool) {
	switch {
	case e.Mode.IsRegular():
		content, err := git.Blob(e.Hash, MaxPointerSize)
		if err != nil {
			return Key{}, false
		}
		return ParsePointer(content)
	case e.Mode == gitrepo.ModeSymlink:
		target, err := git.Blob(e.Hash, maxLinkTarget)
		if err != nil {
			return Key{}, false
		}
		return ParseLink(string(target))
	}
	return Key{}, false
}

// FilesOf gives the paths of a commit's files that have one of the keys, by key and in path order.
func (r *Repo) FilesOf(ctx context.Context, commit gitrepo.Hash, keys map[Key]bool) (map[Key][]string, error) {
	files := make(map[Key][]string)
	err := r.git.Files(commit, func(path string, e gitrepo.Entry) error {
		if k, ok := EntryKey(r.git, e); ok && keys[k] {
			files[k] = append(files[k], path)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("look for annexed files: %w", err)
	}
	return files, nil
}

// candidate is a file of the work tree that may be added.
func (r *Repo) candidate(ctx context.Context, path string, size int64) *wanted.File {
	return withMagic(ctx, &wanted.File{Path: path, Size: size}, func() ([]byte, error) {
		f, err := os.Open(r.workPath(path))
		if err != nil {
			return nil, fmt.Errorf("look into file: %w", err)
		}
		defer func() { _ = f.Close() }()
		head, err := io.ReadAll(io.LimitReader(f, magicBytes))
		if err != nil {
			return nil, fmt.Errorf("look into file: %w", err)
		}
		return head, nil
	})
}

// parseBool reads a boolean as git's configuration has it.
func parseBool(s string) (on, ok bool) {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "1":
		return true, true
	case "false", "no", "off", "0":
		return false, true
	}
	return false, false
}
