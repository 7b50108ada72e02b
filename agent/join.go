package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/grove"
	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/xmpp"
)

const (
	joinTimeout = 60 * time.Second // for an answer
	joinAgain   = 5 * time.Second  // a request or its answer may be lost
)

// Join takes up an invitation: it has this device admitted to the grove, clones the repository over a link to the
// inviter, and puts the clone into the configuration. The agent need not run, and may.
func Join(ctx context.Context, opt JoinOptions) (res JoinResult, err error) {
	inv, err := grove.ParseInvitation(opt.URI)
	if err != nil {
		return res, hinted(err, "copy the whole line that git arbor invite printed, in quotes")
	}
	conf, err := config.Load(opt.Paths.Config)
	if err != nil {
		return res, err
	}
	device, err := grove.LoadDevice(opt.Paths.State)
	if err != nil {
		return res, fmt.Errorf("load device key: %w", err)
	}
	dir, err := filepath.Abs(opt.Dir)
	if err != nil {
		return res, fmt.Errorf("find folder: %w", err)
	}
	made, err := emptyDir(dir)
	if err != nil {
		return res, err
	}
	defer func() {
		if err != nil && made {
			os.RemoveAll(dir) // only what was made here
		}
	}()
	say := opt.Progress
	if say == nil {
		say = func(string) {}
	}
	reply, err := askToJoin(ctx, conf.Account, device, inv, opt.Log, say)
	if err != nil {
		return res, err
	}
	g, err := grove.Join(grovesDir(opt.Paths), device, reply.Grove, reply.Log, time.Now())
	if err != nil {
		return res, fmt.Errorf("take over the member log: %w", err)
	}
	say("cloning")
	git, err := gitrepo.Init(ctx, dir, opt.Bare)
	if err != nil {
		return res, fmt.Errorf("make repository: %w", err)
	}
	defer git.Close()
	from, ok := g.Member(inv.Inviter)
	if !ok {
		return res, errors.New("the member log does not have the inviter")
	}
	p := newPeers()
	remote := p.remoteName(peerID{inv.Inviter, reply.Clone}, from.Name, func(string) bool { return false })
	if err := fetchAll(ctx, conf, device, from, reply, git, remote, opt.Log); err != nil {
		return res, fmt.Errorf("clone from %s: %w", from.Name, err)
	}
	if err := git.SetConfig(ctx, configGrove, reply.Grove.String()); err != nil {
		return res, err
	}
	name := cloneName(opt.Name, dir)
	if res.Annex, err = joinAnnex(ctx, git, remote, name); err != nil {
		return res, err
	}
	if res.Clone, err = ensureCloneID(ctx, git); err != nil {
		return res, err
	}
	if err := checkOutFirst(ctx, git, remote); err != nil {
		return res, err
	}
	res.Path, res.Grove = git.Dir(), reply.Grove.String()
	return res, config.AddClone(opt.Paths.Config, config.Clone{Path: res.Path, Mode: modeOr(opt.Mode), Name: name})
}

// askToJoin sends the request and waits for the inviter's answer, on a session of its own beside a running agent's.
func askToJoin(ctx context.Context, acc config.Account, device *grove.Device, inv grove.Invitation, log *slog.Logger, say func(string)) (reply grove.JoinReply, err error) {
	opt, err := sessionOptions(acc, resource(device)+"-join")
	if err != nil {
		return reply, err
	}
	opt.Log = log
	client, err := xmpp.New(opt)
	if err != nil {
		return reply, err
	}
	request, err := inv.SealRequest(device, selfMember(device, acc))
	if err != nil {
		return reply, fmt.Errorf("make join request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	g, sctx := errgroup.WithContext(ctx)
	g.Go(func() error { return client.Run(sctx) })
	g.Go(func() error {
		defer cancel()
		reply, err = awaitReply(sctx, client, acc, inv, request, say)
		return err
	})
	_ = g.Wait() // err says it
	if errors.Is(err, context.DeadlineExceeded) {
		err = hinted(errors.New("no answer from "+inv.JID), "the agent there must run, and the invitation be unused and less than ten minutes old")
	}
	return reply, err
}

func awaitReply(ctx context.Context, client *xmpp.Client, acc config.Account, inv grove.Invitation, request []byte, say func(string)) (grove.JoinReply, error) {
	again := time.NewTicker(joinAgain)
	defer again.Stop()
	online := false
	var offline error // why there is no session
	ask := func() {
		say("asking " + inv.JID)
		_ = client.SendNormal(ctx, inv.JID+"/"+inv.Resource, xmpp.Payload{Tag: inv.Tag(), Data: request}) // asked again soon
	}
	for {
		select {
		case <-ctx.Done():
			if !online && offline != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return grove.JoinReply{}, hinted(errors.New("log in as "+acc.JID+": "+offline.Error()), "is the network up, and the server? git arbor doctor")
			}
			return grove.JoinReply{}, context.Cause(ctx)
		case <-again.C:
			if online {
				ask()
			}
		case e := <-client.Events():
			switch e := e.(type) {
			case xmpp.Online:
				online = true
				ask()
			case xmpp.Offline:
				online, offline = false, e.Err
				if r := e.Reason; r == xmpp.ReasonNotAuthorized || r == xmpp.ReasonPassword || r == xmpp.ReasonHostUnknown || r == xmpp.ReasonCertificate {
					return grove.JoinReply{}, hinted(fmt.Errorf("log in as %s: %s: %w", acc.JID, r, e.Err), "git arbor account "+acc.JID)
				}
			case xmpp.Message:
				reply, err := inv.OpenReply(bareJID(e.From), request, e.Payload.Data)
				if e.Payload.Tag != inv.Tag() || err != nil {
					continue // not the inviter's
				}
				if reply.Refused != "" {
					return grove.JoinReply{}, hinted(fmt.Errorf("%s refuses: the invitation is %s", inv.JID, reply.Refused), "ask for a new one: git arbor invite")
				}
				if len(reply.Log) == 0 {
					return grove.JoinReply{}, errors.New("the member log of the grove is too large to be joined")
				}
				return reply, nil
			}
		}
	}
}

// fetchAll brings the inviter's branches to refs/remotes.
func fetchAll(ctx context.Context, conf *config.Config, device *grove.Device, from grove.Member, reply grove.JoinReply, git *gitrepo.Repo, remote string, log *slog.Logger) error {
	node, err := link.New(link.Options{
		Device: device, Trusted: func(id grove.DeviceID) bool { return id == from.Device }, Listen: []string{":0"}, Log: log,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return node.Run(ctx) })
	g.Go(func() error {
		defer cancel()
		var cands []link.Candidate
		for _, l := range reply.Links {
			cands = append(cands, link.Candidate(l))
		}
		_, err := fetchRefs(ctx, git, remote, func(ctx context.Context) (*p2p.Client, error) {
			conn, err := node.Dial(ctx, from.Device, cands, link.ServiceP2P, nil)
			if err != nil {
				return nil, err
			}
			return p2p.NewClient(ctx, conn, p2p.ClientOptions{
				Self: "00000000-0000-0000-0000-000000000000", Token: reply.Clone,
				Limits: newLimits(conf.Limits, time.Now()).link(from.Device, from.Name, conn.LAN()),
			})
		})
		if err != nil {
			return err
		}
		return context.Canceled
	})
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// joinAnnex gives the new clone an annex when the repository has one.
func joinAnnex(ctx context.Context, git *gitrepo.Repo, remote, name string) (bool, error) {
	if _, err := git.Ref("refs/remotes/" + remote + "/git-annex"); errors.Is(err, gitrepo.ErrNotFound) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	r, err := annex.Init(ctx, git, name)
	if err != nil {
		return false, fmt.Errorf("make annex: %w", err)
	}
	return true, r.Close()
}

// checkOutFirst makes the inviter's branches the clone's, and checks one out. Contents come later: pointers stand for
// them.
func checkOutFirst(ctx context.Context, git *gitrepo.Repo, remote string) error {
	prefix := "refs/remotes/" + remote + "/"
	refs, err := git.Refs(ctx, prefix)
	if err != nil {
		return err
	}
	head, _, err := git.Head(ctx)
	if err != nil {
		return err
	}
	branches := make(map[string]gitrepo.Hash)
	for name, h := range refs {
		if ref := branchPrefix + strings.TrimPrefix(name, prefix); shared(ref) {
			branches[ref] = h
		}
	}
	if len(branches) == 0 {
		return nil // nothing was ever committed
	}
	if _, ok := branches[head]; !ok {
		head = mainBranch(branches)
		if err := git.SetHead(ctx, head); err != nil {
			return err
		}
	}
	var updates []gitrepo.RefUpdate
	for ref, h := range branches {
		if ref != head || git.Bare() {
			updates = append(updates, gitrepo.RefUpdate{Name: ref, New: h})
		}
	}
	if err := git.UpdateRefs(ctx, updates, "arbor: join"); err != nil || git.Bare() {
		return err
	}
	lock, err := git.LockIndex(ctx)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	out, err := lock.Checkout(ctx, gitrepo.Hash{}, branches[head], gitrepo.CheckoutOptions{})
	if err != nil {
		return fmt.Errorf("check out: %w", err)
	}
	if n := len(out.Dirty) + len(out.Blocked); n > 0 {
		return fmt.Errorf("check out: %d files are in the way", n)
	}
	return lock.Advance(ctx, gitrepo.Advance{Ref: head, New: branches[head], Index: out.Index, Reason: "arbor: join"})
}

// mainBranch guesses which branch people mean.
func mainBranch(branches map[string]gitrepo.Hash) string {
	for _, ref := range []string{branchPrefix + "main", branchPrefix + "master"} {
		if _, ok := branches[ref]; ok {
			return ref
		}
	}
	return slices.Min(slices.Collect(maps.Keys(branches)))
}
