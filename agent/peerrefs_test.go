package agent_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/control"
)

// TestPeerRefs: refs/remotes is where the others have their branches, though they have told so without a fetch, and git annex unused says of a
// version that nobody has any more that it is not used.
func TestPeerRefs(t *testing.T) {
	t.Parallel()
	eachAnnex(t, func(t *testing.T, n *network) {
		ms := n.grove(t, agent.InitOptions{}, "laptop", "desktop", "nas")
		a, b := ms[0], ms[1]
		want := map[string]string{"large.bin": noise(200_000)}
		a.saveAll(want)
		only(t, want, ms...)
		old := a.git("annex", "lookupkey", "large.bin")
		want["large.bin"] = noise(210_000)
		a.save("large.bin", want["large.bin"])
		only(t, want, ms...)
		for _, m := range ms {
			m.eventually("find that a version is not used", func() error {
				out, err := m.tryGit("annex", "unused")
				if err == nil && (!strings.Contains(out, old) || strings.Contains(out, m.git("annex", "lookupkey", "large.bin"))) {
					err = fmt.Errorf("git annex unused says %s", out)
				}
				return err
			})
		}
		// follow waits until refs/remotes of each is what the others have.
		follow := func(ms ...*machine) {
			t.Helper()
			const refs = "--format=%(objectname) %(refname:lstrip=-1)"
			for _, m := range ms {
				for _, other := range ms {
					if other == m {
						continue
					}
					m.eventually("follow the branches of "+other.name, func() error {
						theirs, is := other.git("for-each-ref", refs, "refs/heads"), m.git("for-each-ref", refs, "refs/remotes/"+other.name)
						if is != theirs {
							return fmt.Errorf("they are\n%s\nnot\n%s", is, theirs)
						}
						return nil
					})
				}
			}
			settled(t, ms...)
		}
		follow(ms...)
		a.git("branch", "topic")
		b.eventually("have the branch", func() error {
			_, err := b.tryGit("rev-parse", "refs/heads/topic")
			return err
		})
		follow(ms...)
		b.git("branch", "-D", "topic")
		a.eventually("have the branch no more", func() error {
			if out, err := a.tryGit("rev-parse", "refs/heads/topic"); err == nil {
				return fmt.Errorf("it is at %s", out)
			}
			return nil
		})
		follow(ms...)
		b.git("branch", "topic/below")
		a.eventually("have another branch", func() error {
			_, err := a.tryGit("rev-parse", "refs/heads/topic/below")
			return err
		})
		follow(ms...)

		if err := a.client().Forget(t.Context(), control.ForgetRequest{Clone: a.dir, Device: "nas"}); err != nil {
			t.Fatal(err)
		}
		for _, m := range ms[:2] {
			m.eventually("forget the branches of the nas", func() error {
				if out := m.git("for-each-ref", "refs/remotes/nas"); out != "" {
					return fmt.Errorf("there is %s", out)
				}
				return nil
			})
		}
		only(t, want, a, b)
		follow(a, b)
		for _, m := range ms[:2] {
			m.gitSound("--strict", "--connectivity-only")
			m.sound()
		}
	})
}
