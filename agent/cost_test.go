package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/config"
)

// tap counts the stanzas that the agents of a test hand to their server, by what they carry.
type tap struct {
	slog.Handler
	*stanzas
}

type stanzas struct {
	mu   sync.Mutex
	sent map[string]int
}

func (h tap) Handle(ctx context.Context, r slog.Record) error {
	switch r.Message {
	case "published":
		h.add("Vector", 1) // the server spreads it
	case "told":
		body, peers := "", 0
		r.Attrs(func(a slog.Attr) bool {
			switch a.Key {
			case "body":
				body = strings.TrimPrefix(a.Value.String(), "signal.")
			case "peers":
				peers = int(a.Value.Int64())
			}
			return true
		})
		h.add(body, peers)
	}
	return h.Handler.Handle(ctx, r)
}

func (h tap) WithAttrs(attrs []slog.Attr) slog.Handler {
	return tap{h.Handler.WithAttrs(attrs), h.stanzas}
}

func (s *stanzas) add(body string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[body] += n
}

// take gives what was counted since it was last called.
func (s *stanzas) take() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counted := s.sent
	s.sent = make(map[string]int)
	return counted
}

// TestLocationsCostLittle: what it costs a grove to know where contents are grows with the clones, not with their square, and
// not with the contents.
func TestLocationsCostLittle(t *testing.T) {
	t.Parallel()
	const clones = 5
	n := newNetwork(t)
	count := &stanzas{sent: make(map[string]int)}
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
				holders := make(map[string]map[string]bool) // by log
				for line := range strings.Lines(m.git("grep", " 1 ", "git-annex", "--", "*/*/*.log")) {
					log, said, _ := strings.Cut(strings.TrimSpace(line), ".log:")
					if holders[log] == nil {
						holders[log] = make(map[string]bool)
					}
					holders[log][strings.Fields(said)[2]] = true
				}
				for log, at := range holders {
					if len(at) != clones {
						return fmt.Errorf("%s is at %v", log, at)
					}
				}
				return nil
			})
		}
	}
	located()
	settled(t, ms...)
	for _, test := range []struct{ files, commits, stanzas int }{
		{1, clones, 8 * clones}, // one commit, or less, and some stanzas for each clone
		{50, 3 * clones, 30 * clones},
	} {
		before := a.git("rev-parse", "git-annex")
		count.take()
		more := make(map[string]string)
		for i := range test.files {
			more[fmt.Sprintf("%d/%02d.bin", test.files, i)] = noise(150_000)
		}
		a.saveAll(more)
		for _, m := range ms {
			for name, content := range more {
				m.has(name, content)
			}
		}
		settled(t, ms...)
		located()
		commits, err := strconv.Atoi(a.git("rev-list", "--count", before+"..git-annex"))
		if err != nil {
			t.Fatal(err)
		}
		sent, sum := count.take(), 0
		for _, n := range sent {
			sum += n
		}
		t.Logf("%d files to %d clones: %d commits on the git-annex branch, %d stanzas: %v", test.files, clones, commits, sum, sent)
		if commits > test.commits || sum > test.stanzas {
			t.Errorf("more than %d commits, or than %d stanzas", test.commits, test.stanzas)
		}
	}
}
