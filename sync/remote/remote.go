package remote

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

// Kind is how the contents of a remote are reached.
type Kind int

const (
	// Plain is a git repository whose contents, if it has any, cannot be reached.
	Plain Kind = iota
	// SSH is a git repository on a host that has git-annex-shell, as far as is known before Identify.
	SSH
	// Path is a git repository on this machine.
	Path
	// Directory is git-annex's special remote of that type, without encryption and chunks.
	Directory
	// Program is everything that the git-annex program alone knows to reach.
	Program
)

func (k Kind) String() string {
	return [...]string{"plain", "ssh", "path", "directory", "program"}[k]
}

// git-annex's costs (Config/Cost.hs).
const (
	costLocal     = 100
	costAlmost    = 175
	costNetwork   = 200
	costVeryHigh  = 1000
	costEncrypted = 50 // is added
)

// A Remote is one place as git's configuration of this clone and the git-annex branch describe it.
type Remote struct {
	Name string
	UUID string // "" while it is unknown: Identify
	Kind Kind
	Cost float64 // git-annex's: 100 is this machine, 200 the network, or what a person has set
	URL  string  // where its contents are, of one that is a git repository

	Read, Write bool // contents may be got from there, put there
	Prove       bool // it can be asked to prove that it has contents
	Fetch, Push bool // git's branches may be fetched, pushed

	git        *gitrepo.Repo
	repo       *annex.Repo
	place      place
	shell      string // git-annex-shell there
	sshOptions []string
}

// List gives the remotes of git's configuration, the cheapest first. Special remotes that are not enabled in this clone are not among them.
// repo is nil in a clone without an annex, whose remotes have no contents. Nothing is dialled.
func List(ctx context.Context, git *gitrepo.Repo, repo *annex.Repo) ([]*Remote, error) {
	var specials map[string]map[string]string
	if repo != nil {
		var err error
		if specials, err = repo.RemoteConfigs(ctx); err != nil {
			return nil, fmt.Errorf("list remotes: %w", err)
		}
	}
	var remotes []*Remote
	for name, config := range git.ConfigSections("remote") {
		special := specials[cmp.Or(config["annex-config-uuid"], config["annex-uuid"])]
		if strings.HasPrefix(name, "-") || config["url"] == "" && special == nil {
			continue
		}
		r := &Remote{Name: name, UUID: config["annex-uuid"], git: git, repo: repo}
		if err := r.configure(ctx, config, special, specials); err != nil {
			return nil, fmt.Errorf("list remotes: %s: %w", name, err)
		}
		remotes = append(remotes, r)
	}
	slices.SortFunc(remotes, func(a, b *Remote) int {
		return cmp.Or(cmp.Compare(a.Cost, b.Cost), cmp.Compare(a.Name, b.Name))
	})
	return remotes, nil
}

// configure says what git's configuration and remote.log say of a remote.
func (r *Remote) configure(ctx context.Context, config, special map[string]string, specials map[string]map[string]string) error {
	flag := func(name string, def bool) bool { return r.git.ConfigBool("remote."+r.Name+"."+name, def) }
	r.Cost = costNetwork
	kind := special["type"]
	synced := flag("annex-sync", true)
	if config["url"] != "" {
		if err := r.locate(ctx, config); err != nil {
			return err
		}
		r.Fetch = synced && flag("annex-pull", true)
		r.Push = synced && flag("annex-push", true) && !flag("annex-readonly", false)
	}
	parent := specials[special["sameas-uuid"]]
	encryption := cmp.Or(special["encryption"], parent["encryption"], "none")
	writable, lockable := true, true
	if special != nil && kind != "git" {
		exported := special["exporttree"] == "yes" || special["importtree"] == "yes"
		writable = !exported && kind != "httpalso" && kind != "web"
		r.Kind = Program
		if kind == "directory" && encryption == "none" && !exported && parent == nil && (special["chunk"] == "" || special["chunk"] == "0") && special["chunksize"] == "" {
			r.Kind, r.place.dir = Directory, config["annex-directory"]
		}
		r.Cost = specialCost(kind)
	} else if r.Kind == Plain && r.UUID != "" {
		r.Kind, writable = Program, !strings.HasPrefix(r.URL, "http") // what git-annex reads over HTTP
		lockable = false                                              // git-annex has no command that locks contents there
	}
	// As in git-annex, the price of encryption is added to a cost that a person has set, too.
	for _, set := range []string{special["cost"], config["annex-cost"]} {
		if c, err := strconv.ParseFloat(set, 64); err == nil && c >= 0 && c < 1e9 {
			r.Cost = c
		}
	}
	if encryption != "none" {
		r.Cost += costEncrypted
	}
	r.Read = r.repo != nil && r.Kind != Plain && !flag("annex-ignore", false) && r.UUID != r.repo.UUID()
	r.Prove = r.Read && lockable
	r.Write = r.Read && writable && synced && !flag("annex-readonly", false) // what is there already can be got, as with git annex get
	return nil
}

// specialCost is the cost of a special remote for which nothing is set. What an external one says itself, git-annex keeps as annex-cost.
func specialCost(kind string) float64 {
	switch kind {
	case "directory":
		return costLocal
	case "adb":
		return costAlmost
	case "glacier", "tor", "p2p":
		return costVeryHigh
	}
	return costNetwork
}

// locate says where the contents of a git repository are.
func (r *Remote) locate(ctx context.Context, config map[string]string) error {
	r.URL = config["annexurl"]
	if r.URL == "" {
		r.URL = config["url"]
		if len(r.git.ConfigSections("url")) > 0 {
			// Only git knows its rules for url.<base>.insteadOf.
			out, err := r.git.Program(ctx, "git", "ls-remote", "--get-url", "--", r.Name).Output()
			if err != nil {
				return fmt.Errorf("ask git for the URL: %w", err)
			}
			r.URL = string(bytes.TrimSuffix(out, []byte("\n")))
		}
	}
	var ok bool
	if r.place, ok = parsePlace(r.URL); !ok {
		if strings.HasPrefix(r.URL, "tor-annex::") || strings.HasPrefix(r.URL, "p2p-annex::") {
			r.Cost = costVeryHigh
		}
		return nil
	}
	r.Kind, r.Cost = SSH, costNetwork
	if r.place.host == "" {
		r.Kind, r.Cost = Path, costLocal
		if !filepath.IsAbs(r.place.dir) {
			r.place.dir = filepath.Join(r.git.Dir(), r.place.dir)
		}
	}
	r.shell = cmp.Or(config["annex-shell"], "git-annex-shell")
	r.sshOptions = strings.Fields(cmp.Or(config["annex-ssh-options"], r.git.Config("annex.ssh-options")))
	return nil
}
