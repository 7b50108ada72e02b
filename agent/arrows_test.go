package agent_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows is who may import whom, of our own packages. It is DESIGN in ARCHITECTURE.md; a new arrow is a decision to be
// made there first.
var arrows = map[string][]string{
	"config":          nil,
	"agent/status":    nil,
	"agent/control":   {"agent/status"},
	"agent":           {"agent/control", "agent/status", "config", "sync/annex", "sync/gitrepo", "sync/grove", "sync/link", "sync/netmap", "sync/p2p", "sync/remote", "sync/transfer", "sync/wanted", "sync/watch", "xmpp", "xmpp/signal"},
	"cmd/git-arbor":   {"agent", "agent/control", "agent/status", "config", "sync/annex", "sync/gitrepo", "sync/netmap", "sync/shell", "sync/wanted", "xmpp", "xmpp/xmppserver"},
	"sync/annex":      {"sync/gitrepo", "sync/wanted"},
	"sync/gitrepo":    nil,
	"sync/grove":      nil,
	"sync/link":       {"sync/grove"},
	"sync/netmap":     nil,
	"sync/p2p":        {"sync/annex"},
	"sync/remote":     {"sync/annex", "sync/gitrepo", "sync/p2p"},
	"sync/shell":      {"sync/annex", "sync/gitrepo", "sync/p2p", "sync/watch"},
	"sync/transfer":   {"sync/annex", "sync/p2p", "sync/remote"},
	"sync/wanted":     nil,
	"sync/watch":      nil,
	"xmpp":            nil,
	"xmpp/signal":     nil,
	"xmpp/xmppserver": nil,
	"xmpp/xmpptest":   nil,

	"sync/annex/annextest": nil,
}

// owners is which of our packages alone may import a module.
var owners = map[string][]string{
	"mellium.im/":                  {"xmpp", "xmpp/xmppserver"},
	"github.com/fsnotify/fsnotify": {"sync/watch"},
	"github.com/spf13/cobra":       {"cmd/git-arbor"},
	"github.com/go-git/":           {"sync/annex", "sync/gitrepo"},
	"github.com/fxamacker/cbor":    {"sync/grove", "xmpp/signal"},
	"github.com/BurntSushi/toml":   {"config"},
}

func TestArrows(t *testing.T) {
	t.Parallel()
	const module = "github.com/git-arbor/arbor/"
	cmd := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		pkg := strings.TrimPrefix(words[0], module)
		allowed, known := arrows[pkg]
		if !known {
			t.Errorf("package %s is not in the table of arrows", pkg)
		}
		seen++
		for _, imp := range words[1:] {
			if ours, ok := strings.CutPrefix(imp, module); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s: not in the table of arrows", pkg, ours)
			}
			for prefix, who := range owners {
				if strings.HasPrefix(imp, prefix) && !slices.Contains(who, pkg) {
					t.Errorf("%s imports %s, which belongs to %v", pkg, imp, who)
				}
			}
		}
	}
	if seen != len(arrows) {
		t.Errorf("%d packages found, %d in the table of arrows", seen, len(arrows))
	}
}
