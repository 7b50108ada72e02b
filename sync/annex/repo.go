package annex

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// ErrNotAnnex says that a repository has never been used with git-annex.
var ErrNotAnnex = errors.New("not a git-annex repository")

// Refused says why Arbor does not touch a repository's annex, and what a person can do about it.
type Refused struct {
	What string
	Hint string
}

func (e *Refused) Error() string { return e.What }

// A Repo is the annex of one clone. Its methods may be called from any goroutine; those that write to the git-annex branch wait for
// each other, and for a git-annex that runs at the same time.
type Repo struct {
	git      *gitrepo.Repo
	dir      string // .git/annex
	uuid     string
	perms    permissions
	attrs    *attributes
	branch   *branch
	blocks   *blockLists
	sizes    sizes
	promises promises
	drafts   drafts
	branchMu sync.Mutex // one writer of the branch at a time, also where locks belong to the process

	bothLayouts bool // there may be objects in either layout
}

// Open opens the annex of git. It is ErrNotAnnex when there is none, and *Refused when there is one that Arbor would not keep sound.
func Open(ctx context.Context, git *gitrepo.Repo) (*Repo, error) {
	if err := refuseAdjusted(ctx, git); err != nil {
		return nil, err
	}
	return OpenToServe(ctx, git)
}

// OpenToServe is Open for those that serve contents and commit nothing to the branch that is checked out: it may be an adjusted one.
func OpenToServe(ctx context.Context, git *gitrepo.Repo) (*Repo, error) {
	uuid, version := git.Config("annex.uuid"), git.Config("annex.version")
	if uuid == "" && version == "" {
		return nil, ErrNotAnnex
	}
	if !isUUID(uuid) || version == "" {
		return nil, &Refused{
			What: fmt.Sprintf("git-annex is half set up here: annex.uuid is %q and annex.version is %q", uuid, version),
			Hint: "git arbor init (or git annex init) completes it",
		}
	}
	if err := refuse(git); err != nil {
		return nil, err
	}
	return open(ctx, git)
}

// open opens an annex without a look at what is refused.
func open(ctx context.Context, git *gitrepo.Repo) (*Repo, error) {
	r := &Repo{
		git:    git,
		dir:    filepath.Join(git.GitDir(), "annex"),
		uuid:   git.Config("annex.uuid"),
		perms:  sharedPermissions(git.Config("core.sharedrepository")),
		attrs:  newAttributes(git),
		branch: openBranch(git, filepath.Join(git.GitDir(), "annex")),
		blocks: newBlockLists(),
	}
	var err error
	r.bothLayouts, err = r.hasBothLayouts()
	if err := cmp.Or(err, r.sweepTmp(), r.refuseTuned(ctx)); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Close ends the git process that the repository keeps. Nothing may use r any more.
func (r *Repo) Close() error {
	r.DropDrafts(func(Key) bool { return false })
	r.drafts.copying.Wait()
	return r.attrs.close()
}

// UUID gives the name of this clone: annex.uuid.
func (r *Repo) UUID() string { return r.uuid }

// refuse says what about the configuration Arbor cannot keep sound.
func refuse(git *gitrepo.Repo) error {
	switch version := git.Config("annex.version"); version {
	case "", "8", "9", "10":
	default:
		return &Refused{
			What: fmt.Sprintf("annex.version is %s; versions 8 to 10 are known", version),
			Hint: "run git annex upgrade, or use a newer git arbor",
		}
	}
	for _, setting := range []struct{ key, hint string }{
		{"annex.pidlock", "run git config --unset annex.pidlock where the file system has locks"},
		{"annex.crippledfilesystem", "move the clone to a file system with symbolic links and permissions"},
		{"annex.private", "run git config --unset annex.private"},
	} {
		if git.ConfigBool(setting.key, false) {
			return &Refused{What: setting.key + " is set", Hint: setting.hint}
		}
	}
	for _, key := range []string{
		"annex.freezecontent-command", "annex.thawcontent-command",
		"annex.tune.objecthashlower", "annex.tune.objecthash1", "annex.tune.branchhash1",
	} {
		if git.Config(key) != "" {
			return &Refused{What: key + " is set", Hint: "this repository needs git-annex itself"}
		}
	}
	if git.Bare() {
		return nil
	}
	return refuseWorkTree(git)
}

// refuseAdjusted refuses a branch that git-annex derives from another, to which commits would have to be taken back.
func refuseAdjusted(ctx context.Context, git *gitrepo.Repo) error {
	ref, _, err := git.Head(ctx)
	if err != nil {
		return fmt.Errorf("read HEAD: %w", err)
	}
	return RefuseBranch(ref)
}

// Adjusted says whether a reference is a branch that `git annex adjust` has made of another: its commits are not to be shared.
func Adjusted(ref string) bool { return strings.HasPrefix(ref, "refs/heads/adjusted/") }

// RefuseBranch is *Refused for a branch that cannot be kept in step while it is checked out.
func RefuseBranch(ref string) error {
	if !Adjusted(ref) {
		return nil
	}
	name := strings.TrimPrefix(ref, "refs/heads/")
	of, _, _ := strings.Cut(strings.TrimPrefix(name, "adjusted/"), "(")
	return &Refused{What: "the adjusted branch " + name + " is checked out", Hint: "run git checkout " + of}
}

// refuseWorkTree refuses a work tree in which files cannot be replaced at once, or that cannot have links.
func refuseWorkTree(git *gitrepo.Repo) error {
	if !git.ConfigBool("core.symlinks", true) {
		return &Refused{What: "core.symlinks is false", Hint: "move the clone to a file system with symbolic links"}
	}
	var work, meta unix.Stat_t
	if err := unix.Stat(git.Dir(), &work); err != nil {
		return &os.PathError{Op: "stat", Path: git.Dir(), Err: err}
	}
	if err := unix.Stat(git.GitDir(), &meta); err != nil {
		return &os.PathError{Op: "stat", Path: git.GitDir(), Err: err}
	}
	if work.Dev != meta.Dev {
		return &Refused{
			What: "the work tree and " + git.GitDir() + " are on different file systems",
			Hint: "move both to the same one",
		}
	}
	return nil
}

// refuseTuned refuses a clone whose hash directories are not the usual ones.
func (r *Repo) refuseTuned(ctx context.Context) error {
	log, err := r.valueLog(ctx, "difference.log", uuidLogFormat)
	if err != nil {
		return err
	}
	if value, ok := log.get(r.uuid); ok && value != "" {
		return &Refused{
			What: "the repository was made with tuned hash directories (" + value + ")",
			Hint: "this repository needs git-annex itself",
		}
	}
	return nil
}

// isUUID says whether s has the form of a UUID. git-annex takes any word for one; a path or an option must not become one.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}

// ObjectPath gives the path of the key's object: where it is, in either layout, else where it would be placed.
func (r *Repo) ObjectPath(k Key) (path string, present bool) {
	mixed := !r.git.Bare()
	preferred := r.objectPath(k, mixed)
	if isObject(preferred) {
		return preferred, true
	}
	if r.bothLayouts {
		if path := r.objectPath(k, !mixed); isObject(path) {
			return path, true
		}
	}
	return preferred, false
}

func isObject(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

func (r *Repo) objectPath(k Key, mixed bool) string {
	dirs := k.HashDirLower()
	if mixed {
		dirs = k.HashDirMixed()
	}
	name := k.File()
	return r.dir + "/objects/" + dirs + name + "/" + name
}

// hasBothLayouts says whether there may be objects in the layout that is not that of the repository: it was bare, or it was not, when they
// were placed. New ones do not come.
func (r *Repo) hasBothLayouts() (bool, error) {
	entries, err := os.ReadDir(filepath.Join(r.dir, "objects"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("list objects: %w", err)
	}
	length := len("aB")
	if r.git.Bare() {
		length = len("abc")
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.IsDir() && len(e.Name()) != length }), nil
}

// Has says whether the content of the key is here.
func (r *Repo) Has(k Key) bool {
	_, present := r.ObjectPath(k)
	return present
}

// Bad says whether git annex fsck has put content of the key aside because it was not right.
func (r *Repo) Bad(k Key) bool {
	_, err := os.Lstat(filepath.Join(r.dir, "bad", k.File()))
	return err == nil
}

// TmpPath gives the path at which the content of the key is received. What is there already may be continued; git-annex uses the same file.
func (r *Repo) TmpPath(k Key) string { return filepath.Join(r.dir, "tmp", k.File()) }

// Keys calls fn for each key whose content is here, in no order. It stops at fn's first error and gives it back.
func (r *Repo) Keys(fn func(Key) error) error {
	top := filepath.Join(r.dir, "objects")
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil || !d.IsDir() || strings.Count(rel, string(filepath.Separator)) < 2 {
			return err
		}
		k, err := ParseKeyFile(d.Name())
		if err != nil {
			return fs.SkipDir
		}
		st, err := os.Lstat(filepath.Join(path, d.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fs.SkipDir
		case err != nil:
			return err
		case st.Mode().IsRegular():
			if err := fn(k); err != nil {
				return err
			}
		}
		return fs.SkipDir
	})
	if err != nil {
		return fmt.Errorf("list keys: %w", err)
	}
	return nil
}

// permissions are what core.sharedRepository asks for below .git/annex, beside what the umask allows.
type permissions struct {
	shared bool        // a directory of an object is not sealed, since others must remove what is in it
	dirs   fs.FileMode // added to directories
	files  fs.FileMode // added to files that nobody writes
}

// sharedPermissions reads core.sharedRepository as git does.
func sharedPermissions(value string) permissions {
	switch strings.ToLower(value) {
	case "", "umask", "false", "0", "no", "off":
		return permissions{}
	case "group", "true", "1", "yes", "on":
		return permissions{shared: true, dirs: fs.ModeSetgid | 0o070, files: 0o040}
	case "all", "world", "everybody", "2":
		return permissions{shared: true, dirs: fs.ModeSetgid | 0o075, files: 0o044}
	}
	mode, err := strconv.ParseUint(value, 8, 9)
	if err != nil {
		return permissions{}
	}
	bits := fs.FileMode(mode) & 0o066
	return permissions{shared: true, dirs: fs.ModeSetgid | bits | bits>>2&0o011, files: bits & 0o044}
}

// workPath gives the path in the file system of a file of the work tree.
func (r *Repo) workPath(path string) string {
	return filepath.Join(r.git.Dir(), filepath.FromSlash(path))
}

// isDotfile says whether a part of the path begins with a dot: git-annex keeps such files in git unless told otherwise.
func isDotfile(path string) bool {
	return slices.ContainsFunc(strings.Split(path, "/"), func(part string) bool { return strings.HasPrefix(part, ".") })
}
