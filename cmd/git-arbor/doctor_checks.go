package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/xmpp"
)

// The oldest git that has all that is used: 2.38 brought merge-tree --write-tree.
const (
	gitMajor = 2
	gitMinor = 38
)

// lowSpace is when a file system counts as nearly full, in bytes.
const lowSpace = 1 << 30

// lowWatches is fewer folders than a person with some repositories is likely to have.
const lowWatches = 65536

func checkGit(ctx context.Context) finding {
	out, err := exec.CommandContext(ctx, "git", "version").Output()
	if err != nil {
		return finding{Result: resultFail, Detail: "git does not run: " + err.Error(), Hint: "install git"}
	}
	version := strings.TrimPrefix(strings.TrimSpace(string(out)), "git version ")
	if !gitIsNew(version) {
		return finding{
			Result: resultFail, Detail: "git is version " + version,
			Hint: fmt.Sprintf("install git %d.%d or newer", gitMajor, gitMinor),
		}
	}
	return finding{Result: resultOK, Detail: version}
}

func gitIsNew(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	x, err := strconv.Atoi(major)
	if err != nil {
		return false
	}
	y, err := strconv.Atoi(minor)
	return err == nil && (x > gitMajor || x == gitMajor && y >= gitMinor)
}

func checkGitAnnex(ctx context.Context) finding {
	out, err := exec.CommandContext(ctx, "git-annex", "version", "--raw").Output()
	if err != nil {
		return finding{Result: resultOK, Detail: "not installed, and not needed"}
	}
	return finding{Result: resultOK, Detail: strings.TrimSpace(string(out))}
}

func checkState(dir string) finding {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return finding{Result: resultOK, Detail: dir + " does not exist yet"}
	}
	if err != nil {
		return failed(err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return finding{Result: resultFail, Detail: "others may look into " + dir + ", where this machine's key is", Hint: "chmod 700 " + dir}
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return finding{Result: resultFail, Detail: dir + " cannot be written: " + err.Error(), Hint: "make it yours: chown"}
	}
	return space(dir)
}

// space tells how much room is left on the file system of dir.
func space(dir string) finding {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return failed(fmt.Errorf("look at the file system of %s: %w", dir, err))
	}
	free := int64(stat.Bavail * uint64(stat.Bsize))
	f := finding{Result: resultOK, Detail: fmt.Sprintf("%s, %s free", dir, size(free))}
	if free < lowSpace {
		f.Result, f.Hint = resultWarn, "make room on the disk"
	}
	return f
}

// checkWatches looks at how many folders may be watched (inotify(7)). Other systems have no such limit.
func checkWatches() finding {
	const path = "/proc/sys/fs/inotify/max_user_watches"
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return finding{Result: resultOK, Detail: "no limit known"}
	}
	if err != nil {
		return failed(err)
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return failed(fmt.Errorf("read %s: %w", path, err))
	}
	f := finding{Result: resultOK, Detail: fmt.Sprintf("%d folders can be watched", limit)}
	if limit < lowWatches {
		f.Result, f.Hint = resultWarn, "sudo sysctl fs.inotify.max_user_watches=524288"
	}
	return f
}

// checkLogin logs in beside the running agent, as another resource that nobody is told of.
func (a *app) checkLogin(ctx context.Context, account *config.Account) finding {
	if account.JID == "" {
		return finding{Result: resultFail, Detail: "there is no account", Hint: "git arbor account JID"}
	}
	roots, err := account.RootCAs()
	if err != nil {
		return failed(err)
	}
	client, err := xmpp.New(xmpp.Options{
		JID: account.JID, Password: account.Password, Resource: "arbor-doctor-" + rand.Text()[:8],
		Server: account.Server, DirectTLS: account.DirectTLS, RootCAs: roots, Priority: -1,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return failed(err)
	}
	running, stop := context.WithCancel(ctx)
	var session sync.WaitGroup
	session.Go(func() { _ = client.Run(running) }) // it ends with running, and says why by events
	defer session.Wait()
	result := finding{Result: resultFail, Detail: "no answer", Hint: "is the network up?"}
	told := false
	for event := range client.Events() {
		if told {
			continue
		}
		switch e := event.(type) {
		case xmpp.Online:
			result = finding{Result: resultOK, Detail: "logged in as " + account.JID}
		case xmpp.Offline:
			result = finding{Result: resultFail, Detail: fmt.Sprintf("%s: %v", e.Reason, e.Err), Hint: cmp.Or(hintOf(e.Err), loginHint(e.Reason, account))}
		default:
			continue
		}
		told = true
		stop()
	}
	stop()
	return result
}

func loginHint(reason xmpp.Reason, account *config.Account) string {
	switch reason {
	case xmpp.ReasonNotAuthorized, xmpp.ReasonPassword:
		return "git arbor account " + account.JID
	case xmpp.ReasonHostUnknown:
		return "is the address right? " + account.JID
	case xmpp.ReasonCertificate:
		return "for a server with an authority of its own, set ca_file in [account]"
	default:
		return "is the network up, and the server?"
	}
}

func checkClone(ctx context.Context, path string) finding {
	repo, err := gitrepo.Open(ctx, path)
	if err != nil {
		return failed(err)
	}
	defer repo.Close()
	if _, err := annex.Open(ctx, repo); err != nil && !errors.Is(err, annex.ErrNotAnnex) {
		return failed(err)
	}
	if what := repo.Unfinished(); what != "" {
		return finding{Result: resultWarn, Detail: "a " + what + " is unfinished", Hint: "finish or abort it; syncing waits for that"}
	}
	return space(path)
}
