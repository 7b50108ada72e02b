package agent

import (
	"crypto/sha256"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/link"
	"github.com/git-arbor/arbor/sync/transfer"
	"github.com/git-arbor/arbor/xmpp/signal"
)

// TestWhoBringsParts: who has a content, over a line of the same kind as the plan's parent, may bring parts of it beside that.
func TestWhoBringsParts(t *testing.T) {
	t.Parallel()
	h := newHolders()
	lan, far := signal.Edge{Kind: link.KindLAN, Cost: 150, Rate: 100e6}, signal.Edge{Kind: link.KindStatic, Cost: 200, Rate: 1e6}
	from := func(e signal.Edge, clone string) signal.Edge {
		e.From = clone
		return e
	}
	n := drawMap(map[string][]signal.Edge{
		"me": {from(lan, "a"), from(lan, "b"), from(far, "z")}, "a": {from(lan, "b"), from(lan, "me"), from(far, "z")},
		"b": {from(lan, "a"), from(lan, "me"), from(far, "z")}, "z": nil,
	})
	if _, err := h.redrawn("me", n, nil); err != nil {
		t.Fatal(err)
	}
	h.reach = map[string]holder{"a": {name: "a", cost: 150}, "b": {name: "b", cost: 150}, "z": {name: "z", cost: 200}}
	key := annex.KeyFor(sha256.Sum256(nil), 64<<20, "", annex.DefaultMaxExtensionLength)
	beside := func(have ...string) (first transfer.Holder, who string) {
		h.said[key] = have
		all := h.of(key, nil)
		for _, other := range all[1:] {
			if other.Beside && !other.Partial {
				who += other.Clone
			}
		}
		return all[0], who
	}
	if first, who := beside("a", "b", "z"); first.Partial || first.Clone+who != "ab" && first.Clone+who != "ba" {
		t.Errorf("%+v, and beside it %q", first, who)
	}
	if first, who := beside("a", "z"); first.Clone == "z" || who == "z" {
		t.Errorf("%+v, and beside it %q", first, who)
	}
}
