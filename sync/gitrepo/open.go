package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Repo is one open repository. Reading objects and references, UpdateRefs, Ignored, Fetch and Serve may be called
// from any goroutine; Snapshot, Checkout, Merge and Advance belong to the one actor that owns the clone.
type Repo struct {
	dir    string
	gitDir string
	bare   bool
	rootID fileID
	gitID  fileID

	confMu sync.Mutex
	conf   configuration

	objects objectStore
	refs    refReader

	updatersMu sync.Mutex
	updaters   map[string]*updater // by reflog message

	attrs  attributes
	ignore ignoreRules
	index  indexCache

	touched time.Time // when another wrote the index that our last one took the place of
}

// fileID identifies a file or directory beyond its name.
type fileID struct{ dev, ino uint64 }

// Open opens the repository whose work tree (or bare repository) is dir. It returns ErrNotRepository, or an
// *Unsupported, for what it cannot work with.
func Open(ctx context.Context, dir string) (*Repo, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	r := &Repo{dir: abs, gitDir: filepath.Join(abs, ".git")}
	st, err := os.Lstat(r.gitDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if !isGitDir(abs) {
			return nil, fmt.Errorf("open %s: %w", abs, ErrNotRepository)
		}
		r.gitDir, r.bare = abs, true
	case err != nil:
		return nil, fmt.Errorf("open repository: %w", err)
	case st.Mode().IsRegular():
		return nil, &Unsupported{
			What: ".git is a file: a linked work tree, a submodule or a separate git directory",
			Hint: "use the main clone",
		}
	case !st.IsDir():
		return nil, &Unsupported{What: ".git is not a directory", Hint: "use a plain clone"}
	case !isGitDir(r.gitDir):
		return nil, fmt.Errorf("open %s: %w", abs, ErrNotRepository)
	}
	if r.rootID, err = identify(r.dir); err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	if r.gitID, err = identify(r.gitDir); err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	if err := r.recoverLocks(); err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	if err := r.ReloadConfig(ctx); err != nil {
		return nil, err
	}
	if err := r.supported(); err != nil {
		return nil, err
	}
	if err := r.objects.open(r.gitDir); err != nil {
		return nil, err
	}
	r.refs.gitDir = r.gitDir
	r.ignore.start = func() (*child, error) {
		return r.startChild("check-ignore", "--no-index", "-z", "--stdin", "--verbose", "--non-matching")
	}
	r.attrs.start = func() (*child, error) {
		return r.startChild(append([]string{"check-attr", "-z", "--stdin"}, conversionAttributes...)...)
	}
	if !r.bare {
		if err := r.recoverAdvance(ctx); err != nil {
			r.Close()
			return nil, err
		}
		if err := r.recoverStaging(ctx); err != nil {
			r.Close()
			return nil, err
		}
	}
	return r, nil
}

// Init makes a new repository at dir, which is created if needed, and opens it. Its branch is init.defaultBranch
// where a person has set it, else main.
func Init(ctx context.Context, dir string, bare bool) (*Repo, error) {
	args := []string{"init", "--quiet"}
	if bare {
		args = append(args, "--bare")
	}
	get := exec.CommandContext(ctx, "git", "config", "init.defaultBranch")
	get.Env = gitEnv()
	if out, err := get.Output(); err != nil || strings.TrimSpace(string(out)) == "" {
		args = append(args, "--initial-branch=main")
	}
	args = append(args, "--", dir)
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = gitEnv()
	if _, err := run(ctx, cmd, nil, args); err != nil {
		return nil, fmt.Errorf("make repository: %w", err)
	}
	return Open(ctx, dir)
}

// Close ends the long-lived git processes and closes files. Nobody may use r any more.
func (r *Repo) Close() error {
	r.updatersMu.Lock()
	for _, c := range r.updaters {
		c.stop()
	}
	r.updaters = nil
	r.updatersMu.Unlock()
	r.attrs.close()
	r.ignore.close()
	return errors.Join(r.objects.flush(), r.objects.packs.close())
}

// Dir is the top of the work tree; of a bare repository, the repository itself. Absolute, no symbolic links.
func (r *Repo) Dir() string { return r.dir }

// GitDir is the absolute path of .git (or of the bare repository).
func (r *Repo) GitDir() string { return r.gitDir }

// Bare reports whether there is no work tree.
func (r *Repo) Bare() bool { return r.bare }

// Vanished returns an error wrapping ErrVanished when the top of the work tree or .git is not the directory
// (device and inode) that Open saw: a disk was unmounted, a folder moved or replaced.
func (r *Repo) Vanished() error {
	for _, d := range []struct {
		path string
		id   fileID
	}{{r.dir, r.rootID}, {r.gitDir, r.gitID}} {
		id, err := identify(d.path)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrVanished, err)
		}
		if id != d.id {
			return fmt.Errorf("%w: %s is another directory now", ErrVanished, d.path)
		}
	}
	return nil
}

func isGitDir(dir string) bool {
	for _, name := range []string{"objects", "refs"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || !st.IsDir() {
			return false
		}
	}
	_, err := os.Lstat(filepath.Join(dir, "HEAD"))
	return err == nil
}

// supported refuses what the engine does not know how to keep safe: see engine.md §1.2 for what each would lose.
func (r *Repo) supported() error {
	switch v := r.Config("core.repositoryformatversion"); v {
	case "", "0", "1":
	default:
		return &Unsupported{What: "repository format " + v, Hint: "use a clone made by git with its default format"}
	}
	for key, value := range r.conf.values {
		if err := supportedKey(key, value); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(filepath.Join(r.gitDir, "shallow")); err == nil {
		return &Unsupported{What: "the clone is shallow", Hint: "run: git fetch --unshallow"}
	}
	if _, err := os.Lstat(filepath.Join(r.gitDir, "commondir")); err == nil {
		return &Unsupported{What: "the git directory of a linked work tree", Hint: "use the main clone"}
	}
	if r.bare {
		return nil
	}
	return supportedIndex(filepath.Join(r.gitDir, "index"))
}

func supportedKey(key, value string) error {
	on := parseBool(value, true)
	switch {
	case key == "extensions.objectformat":
		if value != "sha1" {
			return &Unsupported{What: value + " objects", Hint: "use a clone with sha1 objects"}
		}
	case key == "extensions.refstorage":
		if value != "files" {
			return &Unsupported{What: value + " references", Hint: "run: git refs migrate --ref-format=files"}
		}
	case key == "extensions.preciousobjects", key == "extensions.noop", key == "extensions.noop-v1":
	case key == "extensions.partialclone",
		strings.HasPrefix(key, "remote.") && strings.HasSuffix(key, ".promisor") && on:
		return &Unsupported{What: "the clone is partial", Hint: "make a full clone"}
	case key == "extensions.worktreeconfig":
		if on {
			return &Unsupported{What: "extension worktreeConfig (sparse checkout or work-tree configuration)", Hint: "run: git sparse-checkout disable; git config --unset extensions.worktreeConfig"}
		}
	case strings.HasPrefix(key, "extensions."):
		return &Unsupported{What: "extension " + strings.TrimPrefix(key, "extensions."), Hint: "use a clone without it"}
	case key == "core.sparsecheckout" && on:
		return &Unsupported{What: "the checkout is sparse", Hint: "run: git sparse-checkout disable"}
	case key == "core.splitindex" && on:
		return &Unsupported{What: "the index is split", Hint: "run: git config core.splitIndex false; git update-index --no-split-index"}
	case key == "core.worktree":
		return &Unsupported{What: "core.worktree is set", Hint: "run: git config --unset core.worktree"}
	}
	return nil
}
