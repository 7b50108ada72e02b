package annex

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

const (
	// repositoryVersion is the annex.version that is written.
	repositoryVersion = "10"
	// noAnnexFile in the top of a work tree says that the repository wants no annex.
	noAnnexFile = ".noannex"
)

// defaultSettings are those of a repository that has never been annexed before.
var defaultSettings = []struct{ name, value string }{
	{"annex.largefiles", "largerthan=100kb"},
	{"annex.addunlocked", "true"},
}

// Init makes an annex in git that git-annex accepts, or completes one that was begun, and opens it. description names the clone for people;
// "" lets the clone be named by its user, host and directory. Where no clone that git knows of has an annex yet, the repository gets Arbor's
// defaults: files above 100 kB are annexed, unlocked.
func Init(ctx context.Context, git *gitrepo.Repo, description string) (*Repo, error) {
	if err := cmp.Or(refuse(git), refuseAdjusted(ctx, git)); err != nil {
		return nil, err
	}
	if !git.Bare() {
		if _, err := os.Lstat(filepath.Join(git.Dir(), noAnnexFile)); err == nil {
			return nil, &Refused{What: "the repository has a file " + noAnnexFile, Hint: "it asks for no annex; remove it, or leave the repository a plain one"}
		}
	}
	uuid := git.Config("annex.uuid")
	if uuid == "" {
		uuid = newUUID()
	} else if !isUUID(uuid) {
		return nil, &Refused{What: "annex.uuid is " + strconv.Quote(uuid), Hint: "run git config --unset annex.uuid, and then this again"}
	}
	// git-annex takes a repository with one of the two for a broken one, so these come first and together; all that follows can be done again.
	for _, setting := range []struct{ key, value string }{
		{"annex.uuid", uuid},
		{"annex.version", cmp.Or(git.Config("annex.version"), repositoryVersion)},
	} {
		if err := git.SetConfig(ctx, setting.key, setting.value); err != nil {
			return nil, fmt.Errorf("initialise annex: %w", err)
		}
	}
	r, err := open(ctx, git)
	if err != nil {
		return nil, err
	}
	if err := r.complete(ctx, description); err != nil {
		return nil, errors.Join(fmt.Errorf("initialise annex: %w", err), r.Close())
	}
	return r, nil
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// complete makes what of an annex is still missing.
func (r *Repo) complete(ctx context.Context, description string) error {
	if err := r.makeDirs(filepath.Join(r.dir, "journal")); err != nil {
		return err
	}
	if err := r.makeSentinal(); err != nil {
		return err
	}
	if err := r.makeBranch(ctx, description); err != nil {
		return err
	}
	if r.git.Bare() {
		return nil
	}
	return r.ConfigureFilter(ctx)
}

// makeSentinal makes the file by which git-annex tells whether inode numbers still mean what they did, and notes its own: inode, size, seconds and
// decimals of its modification time. The name is spelt as git-annex spells it.
func (r *Repo) makeSentinal() error {
	path := filepath.Join(r.dir, "sentinal")
	if _, err := os.Lstat(path + ".cache"); err == nil {
		return nil
	}
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	seconds, nanoseconds := st.Mtim.Unix()
	decimals := strings.TrimRight(fmt.Sprintf("%09d", nanoseconds), "0")
	return replaceFile(path+".cache", fmt.Appendf(nil, "%d %d %d %s", st.Ino, st.Size, seconds, decimals))
}

// makeBranch makes the git-annex branch from those of the remotes that git knows of, or a new one, and describes this clone in it.
func (r *Repo) makeBranch(ctx context.Context, description string) error {
	head, err := r.branch.current()
	if err != nil {
		return err
	}
	fresh := false
	if head.IsZero() {
		refs, err := r.git.Refs(ctx, "refs/remotes/")
		if err != nil {
			return err
		}
		maps.DeleteFunc(refs, func(name string, _ gitrepo.Hash) bool { return !strings.HasSuffix(name, "/git-annex") })
		heads := slices.Collect(maps.Values(refs))
		if _, err := r.Merge(ctx, heads); err != nil {
			return err
		}
		fresh = len(heads) == 0
	}
	if err := r.refuseTuned(ctx); err != nil {
		return err
	}
	_, err = r.commit(ctx, func(e *edit) error {
		if fresh {
			for _, setting := range defaultSettings {
				if err := e.setValue(configLog, configLogFormat, setting.name, setting.value); err != nil {
					return err
				}
			}
		}
		content, err := e.read(uuidLog)
		if err != nil {
			return err
		}
		log := parseValueLog(content, uuidLogFormat)
		if _, described := log.get(r.uuid); described && description == "" {
			return nil
		}
		log.set(r.uuid, cmp.Or(oneLine(description), defaultDescription(r.git.Dir())), time.Now())
		e.write(uuidLog, log.bytes())
		return nil
	})
	return err
}

// oneLine makes a description fit on a line of a log.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// defaultDescription names a clone as git-annex does: user@host:directory.
func defaultDescription(dir string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	name := ""
	if u, err := user.Current(); err == nil {
		name = u.Username + "@"
		if rel, err := filepath.Rel(u.HomeDir, dir); err == nil && filepath.IsLocal(rel) {
			dir = "~/" + filepath.ToSlash(rel)
		}
	}
	return oneLine(name + host + ":" + dir)
}

// ConfigureFilter makes git run the annex's filter: git-annex where that is installed, else git-arbor. It leaves the command of somebody's choice
// alone as long as there is such a program.
func (r *Repo) ConfigureFilter(ctx context.Context) error {
	commands := [][2]string{{"filter.annex.process", "git-arbor filter-process"}}
	if _, err := exec.LookPath("git-annex"); err == nil {
		commands = [][2]string{
			{"filter.annex.smudge", "git-annex smudge -- %f"},
			{"filter.annex.clean", "git-annex smudge --clean -- %f"},
			{"filter.annex.process", "git-annex filter-process"},
		}
	}
	if !runnable(r.git.Config("filter.annex.process")) {
		for _, c := range commands {
			if err := r.git.SetConfig(ctx, c[0], c[1]); err != nil {
				return fmt.Errorf("configure filter: %w", err)
			}
		}
	}
	path := filepath.Join(r.git.GitDir(), "info", "attributes")
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("configure filter: %w", err)
	}
	if bytes.Contains(content, []byte("filter=annex")) {
		return nil
	}
	if err := replaceFile(path, append(content, "\n* filter=annex\n"...)); err != nil {
		return fmt.Errorf("configure filter: %w", err)
	}
	return nil
}

// runnable says whether the program of a command line is installed.
func runnable(command string) bool {
	program, _, _ := strings.Cut(command, " ")
	_, err := exec.LookPath(strings.Trim(program, `'"`))
	return err == nil
}

// replaceFile gives a file new content, at once and durably.
func replaceFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	tmp, err := createTemp(filepath.Dir(path), ".new", 0o666)
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return syncFile(filepath.Dir(path))
}
