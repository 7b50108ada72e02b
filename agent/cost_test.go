package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/config"
)

// tap counts the signals that the agents of a test have received, by who sent them and what they were.
type tap struct {
	slog.Handler
	*signalCount
}

type signalCount struct {
	mu   sync.Mutex
	from map[string]map[string]int
}

func (h tap) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "received" {
		var from, body string
		r.Attrs(func(a slog.Attr) bool {
			switch a.Key {
			case "from":
				from = a.Value.String()
			case "body":
				body = strings.TrimPrefix(a.Value.String(), "signal.")
			}
			return true
		})
		h.mu.Lock()
		if h.from[from] == nil {
			h.from[from] = make(map[string]int)
		}
		h.from[from][body]++
		h.mu.Unlock()
	}
	return h.Handler.Handle(ctx, r)
}

func (h tap) WithAttrs(attrs []slog.Attr) slog.Handler {
	return tap{h.Handler.WithAttrs(attrs), h.signalCount}
}

// take gives what was counted since it was last called.
func (c *signalCount) take() map[string]map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counted := c.from
	c.from = make(map[string]map[string]int)
	return counted
}

// TestLocationsCostLittle: what it costs a grove to know where contents are grows with the clones, not with their square, and
// not with the contents.
func TestLocationsCostLittle(t *testing.T) {
	const clones = 5
	n := newNetwork(t)
	count := &signalCount{from: make(map[string]map[string]int)}
	n.log = func(h slog.Handler) slog.Handler { return tap{h, count} }
	a := n.machine(t, "clone0")
	a.init(agent.InitOptions{})
	a.start()
	a.online(0)
	owner, err := config.Load(a.paths.Config)
	if err != nil {
		t.Fatal(err)
	}
	ms := []*machine{a}
	for i := 1; i < clones; i++ { // one person's, so that nobody has to subscribe to anybody
		m := n.machine(t, "clone"+strconv.Itoa(i))
		m.account(func(a *config.Account) { a.JID, a.PasswordFile = owner.Account.JID, owner.Account.PasswordFile })
		m.join(a, agent.JoinOptions{})
		m.start()
		ms = append(ms, m)
	}
	for _, m := range ms {
		m.online(clones - 1)
	}
	first := map[string]string{"first.bin": noise(200_000)}
	a.saveAll(first)
	only(t, first, ms...)
	located := func() {
		t.Helper()
		for _, m := range ms {
			m.eventually("agree where contents are", func() error {
				if ours, theirs := m.git("rev-parse", "git-annex"), a.git("rev-parse", "git-annex"); ours != theirs {
					return fmt.Errorf("it is at %.8s, %s at %.8s", ours, a.name, theirs)
				}
				for log := range strings.Lines(m.git("grep", "-c", " 1 ", "git-annex", "--", "*/*/*.log")) {
					if !strings.HasSuffix(strings.TrimSpace(log), ":"+strconv.Itoa(clones)) {
						return errors.New(log)
					}
				}
				return nil
			})
		}
	}
	located()
	for _, test := range []struct{ files, records, commits, announced int }{
		{1, clones, 3 * clones, 3},        // one record of each clone
		{50, 4 * clones, 10 * clones, 10}, // not one for each
	} {
		files := test.files
		before := a.git("rev-parse", "git-annex")
		count.take()
		more := make(map[string]string)
		for i := range files {
			more[fmt.Sprintf("%d/%02d.bin", files, i)] = noise(150_000)
		}
		a.saveAll(more)
		for _, m := range ms {
			for name, content := range more {
				m.has(name, content)
			}
		}
		settled(t, ms...)
		located()
		commits, _ := strconv.Atoi(a.git("rev-list", "--count", before+"..git-annex"))
		plain, _ := strconv.Atoi(a.git("rev-list", "--no-merges", "--count", before+"..git-annex"))
		t.Logf("%d files: %d commits on the git-annex branch, %d of them no merges", files, commits, plain)
		if plain > test.records || commits > test.commits {
			t.Errorf("more than %d records, or than %d commits", test.records, test.commits)
		}
		for from, sent := range count.take() {
			perPeer := func(body string) int { return sent[body] / (clones - 1) }
			t.Logf("%s: %d announcements to each peer, %d lists of contents, %d vectors", from, perPeer("Announce"), perPeer("Have"), perPeer("Vector"))
			if perPeer("Announce") > test.announced || perPeer("Have") > files {
				t.Errorf("more than %d announcements", test.announced)
			}
		}
	}
}
