package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/grove"
)

// Init makes a repository the first clone of a new grove, and puts it into the configuration. What is there already,
// a repository, its settings, an annex, is kept. It may be called again after it was interrupted.
func Init(ctx context.Context, opt InitOptions) (InitResult, error) {
	conf, err := config.Load(opt.Paths.Config)
	if err != nil {
		return InitResult{}, err
	}
	if conf.Account.JID == "" {
		return InitResult{}, hinted(errors.New("no Jabber account is configured"), "git arbor account you@example.org")
	}
	dir, err := filepath.Abs(opt.Dir)
	if err != nil {
		return InitResult{}, fmt.Errorf("find folder: %w", err)
	}
	git, made, err := openOrInit(ctx, dir, opt.Bare)
	if err != nil {
		return InitResult{}, err
	}
	defer git.Close()
	name := cloneName(opt.Name, dir)
	res := InitResult{Path: git.Dir()}
	if res.Annex, err = prepareAnnex(ctx, git, name, made && !opt.Plain); err != nil {
		return InitResult{}, err
	}
	if res.Clone, err = ensureCloneID(ctx, git); err != nil {
		return InitResult{}, err
	}
	device, err := grove.LoadDevice(opt.Paths.State)
	if err != nil {
		return InitResult{}, fmt.Errorf("load device key: %w", err)
	}
	if res.Grove = git.Config(configGrove); res.Grove == "" {
		g, err := grove.Found(grovesDir(opt.Paths), device, selfMember(device, conf.Account), time.Now())
		if err != nil {
			return InitResult{}, fmt.Errorf("found grove: %w", err)
		}
		res.Grove = g.ID().String()
		if err := git.SetConfig(ctx, configGrove, res.Grove); err != nil {
			return InitResult{}, err
		}
	}
	return res, config.AddClone(opt.Paths.Config, config.Clone{Path: res.Path, Mode: modeOr(opt.Mode), Name: name})
}

func grovesDir(p config.Paths) string { return filepath.Join(p.State, "groves") }

func modeOr(mode string) string {
	if mode == "" {
		return config.ModeAuto
	}
	return mode
}

func cloneName(name, dir string) string {
	if name == "" {
		return filepath.Base(dir)
	}
	return name
}

// openOrInit opens the repository at dir, or makes one there. made reports whether it has no commit yet.
func openOrInit(ctx context.Context, dir string, bare bool) (git *gitrepo.Repo, made bool, err error) {
	git, err = gitrepo.Open(ctx, dir)
	if errors.Is(err, gitrepo.ErrNotRepository) || errors.Is(err, fs.ErrNotExist) {
		git, err = gitrepo.Init(ctx, dir, bare)
	}
	if err != nil {
		return nil, false, err
	}
	_, head, err := git.Head(ctx)
	if err != nil {
		git.Close()
		return nil, false, err
	}
	return git, head.IsZero(), nil
}

// prepareAnnex opens the annex of a repository, or makes one when asked to.
func prepareAnnex(ctx context.Context, git *gitrepo.Repo, name string, make bool) (bool, error) {
	r, err := annex.Open(ctx, git)
	if errors.Is(err, annex.ErrNotAnnex) {
		if !make {
			return false, nil
		}
		r, err = annex.Init(ctx, git, name)
	}
	if err != nil {
		return false, fmt.Errorf("prepare annex: %w", err)
	}
	return true, r.Close()
}

// ensureCloneID gives a clone without an annex an id of its own.
func ensureCloneID(ctx context.Context, git *gitrepo.Repo) (string, error) {
	if id := cloneID(git); id != "" {
		return id, nil
	}
	id := newUUID()
	return id, git.SetConfig(ctx, configClone, id)
}

// newUUID makes a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// emptyDir makes dir, or checks that it holds nothing. made reports whether it was made.
func emptyDir(dir string) (made bool, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, os.MkdirAll(dir, 0o777)
	}
	if err != nil {
		return false, fmt.Errorf("look into %s: %w", dir, err)
	}
	if len(entries) > 0 {
		return false, hinted(fmt.Errorf("%s is not empty", dir), "name a folder that is empty or does not exist")
	}
	return false, nil
}
